"""A FastAPI application with background jobs.

uvicorn examples.fastapi_app:app
curl -X POST localhost:8000/greetings/Ada   # {"id": "..."}
curl localhost:8000/jobs/ID                 # {"status": "completed"}
"""

from __future__ import annotations

import os

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from backroom import Job, JobId, JobNotFoundError, JobService, JobType
from backroom.contrib.fastapi import BlockingJobs, Jobs, configure_jobs


class Greeting(BaseModel):
    name: str


GREET = JobType("GREET", Greeting, result=str)
service = JobService(os.environ.get("JOBS", "file:./storage/jobs"))


@service.handler(GREET)
async def greet(job: Job[Greeting]) -> str:
    return f"Hello {job.data.name}"


app = FastAPI()
configure_jobs(app, service)


@app.post("/greetings/{name}", status_code=202)
async def schedule(name: str, jobs: Jobs) -> dict[str, str]:
    return {"id": await jobs.schedule(GREET, Greeting(name=name))}


@app.get("/jobs/{job_id}")
async def status(job_id: str, jobs: Jobs) -> dict[str, str]:
    try:
        return {"status": await jobs.get_job_status(job_id)}
    except JobNotFoundError as error:
        raise HTTPException(404, str(error)) from None


@app.get("/greetings/{job_id}")
def greeting(job_id: str, jobs: BlockingJobs) -> dict[str, str]:
    """A `def` path operation, which FastAPI runs in a thread."""
    known: JobId[str] = JobId(job_id)
    return {"greeting": jobs.result(known, timeout=5)}
