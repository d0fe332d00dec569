"""A Starlette application with background jobs.

uvicorn examples.starlette_app:app
curl -X POST localhost:8000/greetings/Ada   # {"id": "..."}
curl localhost:8000/jobs/ID                 # {"status": "completed"}
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from backroom import Job, JobNotFoundError, JobService, JobType
from backroom.contrib.starlette import configure_jobs, jobs


@dataclass
class Greeting:
    name: str


GREET = JobType("GREET", Greeting, result=str)
service = JobService(os.environ.get("JOBS", "file:./storage/jobs"))


@service.handler(GREET)
async def greet(job: Job[Greeting]) -> str:
    return f"Hello {job.data.name}"


async def schedule(request: Request) -> JSONResponse:
    greeting = Greeting(request.path_params["name"])
    return JSONResponse({"id": await jobs(request).schedule(GREET, greeting)}, 202)


async def status(request: Request) -> JSONResponse:
    try:
        return JSONResponse(
            {"status": await jobs(request).get_job_status(request.path_params["id"])}
        )
    except JobNotFoundError as error:
        return JSONResponse({"error": str(error)}, 404)


app = Starlette(
    routes=[
        Route("/greetings/{name}", schedule, methods=["POST"]),
        Route("/jobs/{id}", status),
    ]
)
configure_jobs(app, service)
