"""Any ASGI application with background jobs.

uvicorn examples.asgi_app:app
curl -X POST 'localhost:8000/?Ada'      # {"id": "..."}
curl 'localhost:8000/?ID'               # {"status": "completed"}
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from backroom import BackroomError, Job, JobService, JobType
from backroom.contrib.asgi import with_jobs


@dataclass
class Greeting:
    name: str


GREET = JobType("GREET", Greeting, result=str)
service = JobService(os.environ.get("JOBS", "file:./storage/jobs"))


@service.handler(GREET)
async def greet(job: Job[Greeting]) -> str:
    return f"Hello {job.data.name}"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"  # It knows of no lifespan: `with_jobs` speaks for it.
    word, code = scope["query_string"].decode(), 200
    body: dict[str, str]
    try:
        if scope["method"] == "POST":
            body = {"id": await service.schedule(GREET, Greeting(word or "you"))}
        else:
            body = {"status": await service.get_job_status(word)}
    except BackroomError as error:
        body, code = {"error": str(error)}, 404
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


app = with_jobs(answer, service)
