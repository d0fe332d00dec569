"""Handlers inside a Flask application."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, g, has_app_context

import backroom
from backroom import Cancel, FailJob, FileJobStorage, Job, JobFailedError
from backroom.blocking import JobService
from backroom.contrib.flask import Jobs, configure_jobs


@pytest.fixture
def service(tmp_path: Path) -> JobService:
    return JobService(FileJobStorage(tmp_path / "jobs"))


def made(name: str) -> tuple[Flask, list[Any]]:
    """An application, and the errors its teardown functions were called with."""
    app = Flask(name)
    torn: list[Any] = []

    @app.teardown_appcontext
    def tear(error: BaseException | None) -> None:
        torn.append(None if error is None else str(error))

    return app, torn


def test_every_handler_has_the_context_of_the_application(service: JobService) -> None:
    def name(job: Job[Any]) -> str:
        g.job = job.id  # Of this job alone.
        return current_app.name

    async def name_async(job: Job[Any]) -> str:
        assert "job" not in g
        g.job = job.id
        await asyncio.sleep(0)
        assert g.job == job.id
        return current_app.name

    class Named:
        async def __call__(self, job: Job[Any]) -> str:
            return current_app.name

    app, torn = made("shop")
    service.register_handler("BEFORE", name)
    jobs = configure_jobs(app, service)
    service.register_handler("AFTER", name)
    service.register_handler("ASYNC", name_async)
    service.register_handler("PARTIAL", functools.partial(name))
    service.register_handler("OBJECT", Named())
    types = ["BEFORE", "AFTER", "ASYNC", "PARTIAL", "OBJECT"]
    with service:
        for type_ in types * 2:
            assert service.result(service.schedule(type_), timeout=10) == "shop"
    assert not has_app_context()
    assert torn == [None] * 10
    assert app.extensions["backroom"] is jobs
    assert jobs.service is service


def test_teardown_functions_hear_how_a_handler_ended(service: JobService) -> None:
    app, torn = made("shop")
    Jobs(app, service)

    @service.handler("FAIL")
    def fail(job: Job[Any]) -> None:
        raise FailJob("on purpose")

    @service.handler("UNWILLING")
    async def unwilling(job: Job[Any]) -> Cancel:
        return Cancel("not now")

    with service:
        with pytest.raises(JobFailedError, match="on purpose"):
            service.result(service.schedule("FAIL"), timeout=10)
        with pytest.raises(backroom.JobCancelledError, match="not now"):
            service.result(service.schedule("UNWILLING"), timeout=10)
    assert torn == ["on purpose", None]


def test_of_several_applications_the_last_counts(service: JobService) -> None:
    @service.handler("NAME")
    def name(job: Job[Any]) -> str:
        return current_app.name

    jobs = [configure_jobs(made(name)[0], service) for name in ("first", "second")]
    assert jobs[0] is jobs[1]
    with service:
        assert service.result(service.schedule("NAME"), timeout=10) == "second"


def test_a_job_that_comes_before_its_application_fails_clearly(service: JobService) -> None:
    Jobs(service=service)
    service.register_handler("ANY", lambda job: None, retries=0)
    with service, pytest.raises(JobFailedError, match="init_app"):
        service.result(service.schedule("ANY"), timeout=10)


def test_an_async_service_is_taken_too(tmp_path: Path) -> None:
    owner = backroom.JobService(FileJobStorage(tmp_path))
    owner.register_handler("NAME", lambda job: current_app.name)
    jobs = Jobs(made("shop")[0], owner)
    assert jobs.service.service is owner
    with jobs.service as service:
        assert service.result(service.schedule("NAME"), timeout=10) == "shop"


def test_commands_work_though_the_application_used_its_service(service: JobService) -> None:
    app, _ = made("shop")
    service.register_handler("NAME", lambda job: current_app.name)
    configure_jobs(app, service)
    job_id = service.schedule("NAME")
    run = app.test_cli_runner().invoke
    listed = run(args=["jobs", "list"])
    assert (listed.exit_code, str(job_id) in listed.output) == (0, True), listed.output
    missing = run(args=["jobs", "show", "none"])
    assert missing.exit_code == 1
    assert "no job has the id" in missing.output
    assert run(args=["jobs", "cancel", job_id]).exit_code == 0
    service.open()
    assert service.get_job_status(job_id) == "cancelled"
    service.stop()
