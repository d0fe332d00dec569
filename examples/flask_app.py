"""A Flask application with background jobs.

python -m examples.flask_app                # the site, and a worker beside it
flask --app examples.flask_app jobs worker  # or: a worker in a process of its own
flask --app examples.flask_app jobs list
curl -X POST localhost:8000/greetings/Ada   # {"id": "..."}
curl localhost:8000/jobs/ID                 # {"status": "completed"}
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app

from backroom import Job, JobNotFoundError, JobType
from backroom.blocking import JobService
from backroom.contrib.flask import configure_jobs


@dataclass
class Greeting:
    name: str


GREET = JobType("GREET", Greeting, result=str)
service = JobService(os.environ.get("JOBS", "file:./storage/jobs"))


@service.handler(GREET)
def greet(job: Job[Greeting]) -> str:
    return f"{current_app.config['GREETING']} {job.data.name}"


app = Flask(__name__)
app.config["GREETING"] = "Hello"
configure_jobs(app, service)


@app.post("/greetings/<name>")
def schedule(name: str) -> tuple[dict[str, Any], int]:
    return {"id": service.schedule(GREET, Greeting(name))}, 202


@app.get("/jobs/<job_id>")
def status(job_id: str) -> tuple[dict[str, Any], int]:
    try:
        return {"status": service.get_job_status(job_id)}, 200
    except JobNotFoundError as error:
        return {"error": str(error)}, 404


if __name__ == "__main__":
    with service:
        app.run(port=int(os.environ.get("PORT", "8000")))
