"""Each example, served by a real server: a request schedules a job, whose end is then seen."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contrib.conftest import Site, of_this_test
from tests.process.parts import ROOT, Family, eventually

UVICORN = ("-m", "uvicorn", "--port", "0", "--no-access-log")


def completed(site: Site, path: str) -> bool:
    status: str = site.http.get(path).json()["status"]
    assert status in ("pending", "active", "completed")
    return status == "completed"


@pytest.mark.parametrize(
    "command",
    [
        (*UVICORN, "examples.starlette_app:app"),
        (*UVICORN, "examples.fastapi_app:app"),
        ("-m", "examples.flask_app"),
    ],
    ids=["starlette", "fastapi", "flask"],
)
def test_a_request_schedules_a_job_whose_end_is_seen(
    family: Family, site: Callable[..., Site], command: tuple[str, ...]
) -> None:
    here = site(*command)
    answer = here.http.post("/greetings/Ada")
    assert answer.status_code == 202
    job_id = answer.json()["id"]
    eventually(lambda: completed(here, f"/jobs/{job_id}"), "the job has ended")
    assert here.http.get("/jobs/none").status_code == 404
    if "fastapi_app" in command[-1]:
        greeting = here.http.get(f"/greetings/{job_id}")
        assert greeting.json() == {"greeting": "Hello Ada"}
    here.ends_cleanly(family)


def test_an_application_that_knows_no_lifespan_has_one(
    family: Family, site: Callable[..., Site]
) -> None:
    here = site(*UVICORN, "examples.asgi_app:app")
    job_id = here.http.post("/?Ada").json()["id"]
    eventually(lambda: completed(here, f"/?{job_id}"), "the job has ended")
    assert here.http.get("/?none").status_code == 404
    assert "Application startup complete" in here.process.text
    here.ends_cleanly(family)
    assert "Application shutdown complete" in here.process.text


def test_flask_commands_work_on_the_jobs_of_the_application(
    family: Family, site: Callable[..., Site]
) -> None:
    env = {"JOBS": f"file:{family.jobs}"}

    def flask(*words: str) -> str:
        child = family.start("-m", "flask", "--app", "examples.flask_app", *words, env=env)
        assert child.ends(30) == 0, child.text
        return child.text

    serving = ("-m", "flask", "--app", "examples.flask_app", "run", "--port", "0")
    here = site(*serving)
    job_id = here.http.post("/greetings/Ada").json()["id"]
    assert here.http.get(f"/jobs/{job_id}").json() == {"status": "pending"}
    [job] = json.loads(flask("jobs", "list", "--json"))["jobs"]
    assert (job["id"], job["status"]) == (job_id, "pending")
    assert "cancelled" in flask("jobs", "cancel", job_id)
    assert "retried" in flask("jobs", "retry", job_id)
    assert "1" in flask("jobs", "stats")

    worker = family.start("-m", "flask", "--app", "examples.flask_app", "jobs", "worker", env=env)
    worker.says("worker for Flask application examples.flask_app")
    eventually(lambda: completed(here, f"/jobs/{job_id}"), "the job has ended")
    assert "Hello Ada" in flask("jobs", "show", job_id)
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0, worker.text
    here.ends_cleanly(family)
    assert not of_this_test(family)


def test_examples_are_short() -> None:
    for name in ("asgi_app", "fastapi_app", "flask_app", "starlette_app"):
        assert len(Path(ROOT, "examples", f"{name}.py").read_text().splitlines()) < 60
