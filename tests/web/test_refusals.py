"""Each refusal says what, where and the mend, in the words of who asks over HTTP; and whether
anything was changed, as far as the error knows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from backroom import JobService, JobType
from backroom.errors import StorageError, StorageFullError

Web = Callable[..., httpx.AsyncClient]
JOBS = "/api/v1/jobs"
MANY = "/api/v1/operations"
LATER = "2030-01-02T00:00:00Z"
MOMENT = "say it as 2030-01-31T09:30:00Z"
PYTHON = ("datetime.datetime", "Page", "WorkerInfo", "get_workers", "service.", "None", "timedelta")


@dataclass
class Mail:
    to: str


@pytest.fixture
async def service() -> AsyncIterator[JobService]:
    service = JobService("memory:")
    service.declare("HELLO")
    service.declare(JobType("MAIL", Mail))
    await service.open()
    await service.every(3600, "HELLO", {}, name="hourly")
    await service.schedule("HELLO", {}, delay=60)
    yield service
    await service.stop(0)


@pytest.mark.parametrize(
    ("path", "body", "status", "at", "said"),
    [
        # -- what a query says
        (f"{JOBS}?cursor=odd", None, 422, "query.cursor", "'odd' is no cursor of this list"),
        ("/api/v1/audit?cursor=odd", None, 422, "query.cursor", "no cursor of this list"),
        ("/api/v1/workflows?cursor=odd", None, 422, "query.cursor", "no cursor of this list"),
        ("/api/v1/schedules/hourly/ticks?cursor=o", None, 422, "query.cursor", "no cursor"),
        (f"{JOBS}?tag=%0a", None, 422, "query.tag", "printable"),
        (f"{JOBS}?since={LATER}&until={LATER}", None, 422, "query.until", "2030-01-02T00:00:00+"),
        (f"{JOBS}?since=soon", None, 400, "query.since", MOMENT),
        (f"{JOBS}?since=2030-01-01T00:00:00", None, 400, "query.since", MOMENT),
        (f"{JOBS}?status=bogus", None, 400, "query.status", "there are: "),
        (f"{JOBS}?priority=bogus", None, 400, "query.priority", "critical, high, normal, low"),
        ("/?last=bogus", None, 400, None, "there are: 1h, 24h, 7d"),
        # -- what a body says
        (JOBS, {"type": "NOPE"}, 422, "body.type", "not declared"),
        (JOBS, {"type": "MAIL", "data": {"to": 1}}, 422, "body.data.to", "expected str"),
        (JOBS, {"type": "MAIL", "data": {}}, 422, "body.data", "missing required field"),
        (JOBS, {"type": "MAIL", "data": {"to": "a", "cc": 1}}, 422, "body.data.cc", "unknown key"),
        (JOBS, {"type": "HELLO", "tags": ["\n"]}, 422, "body.tags", "printable"),
        (JOBS, {"type": "HELLO", "retries": 5000}, 422, "body.retries", "0 to 1000"),
        (JOBS, {"type": "HELLO", "delay": 1, "run_at": LATER}, 422, "body.run_at", "not both"),
        (MANY, {"verb": "bogus", "queue": "a"}, 422, "body.verb", "there are: retry, cancel"),
        (MANY, {"verb": "cancel"}, 422, "body", "needs a filter"),
        (MANY, {"verb": "reprioritize", "queue": "a"}, 422, "body.to_priority", "to_priority"),
        (MANY, {"verb": "cancel", "queue": "a", "to_priority": "low"}, 422, "body.to_priority",
         "cancel takes no to_priority"),
        (MANY, {"verb": "retry", "status": "pending"}, 422, "body.status", "only ended jobs"),
        (MANY, {"verb": "reschedule", "delay": 1, "status": "failed"}, 422, "body.status",
         "only jobs that wait"),
        (f"{JOBS}/ID/reschedule", {}, 422, "body", "say run_at or delay"),
        (f"{JOBS}/ID/reschedule", {"delay": 1e300}, 422, "body.delay", "delay must be"),
        (f"{JOBS}/ID/signal", {"name": "\n"}, 422, "body.name", "printable"),
        ("/api/v1/schedules/hourly/change", {"cron": "61 * * * *"}, 422, "body.cron", "minute"),
        ("/api/v1/schedules/hourly/change", {"cron": "* * * * *", "tz": "Mars/X"}, 422, "body.tz",
         "Mars/X"),
        ("/api/v1/schedules/hourly/change", {}, 422, "body", "say what is to change"),
        # -- what a path names
        (f"{JOBS}/nothing/cancel", {}, 404, "path.id", "no job"),
        (f"{JOBS}/%00/cancel", {}, 404, "path.id", "no job"),
        (f"{JOBS}/%ff/cancel", {}, 404, "path.id", "no job"),
        ("/api/v1/queues/%00/pause", {}, 422, "path.name", "a queue needs a name"),
        ("/api/v1/workers/0/drain", {}, 404, "path.id", "no worker with the id '0'"),
        ("/api/v1/workers/abc/drain", {}, 404, "path.id", "no worker with the id 'abc'"),
        ("/api/v1/workers/77/drain", {}, 404, "path.id", "no worker with the id 77"),
        ("/api/v1/schedules/nothing/run", {}, 404, "path.name", "no schedule"),
        ("/api/v1/workflows/%00/cancel", {}, 404, "path.id", "no workflow"),
        ("/api/v1/operations/x", None, 404, "path.id", "may be one of another process"),
    ],
)  # fmt: skip
async def test_it_says_what_where_and_the_mend(
    path: str, body: Any, status: int, at: str | None, said: str, service: JobService, web: Web
) -> None:
    [job] = await service.get_jobs()
    method = "GET" if body is None else "POST"
    sent = {} if body is None else {"json": body}
    answer = await web().request(method, path.replace("ID", job.id), **sent)
    assert answer.status_code == status, answer.text
    if not path.startswith("/api"):
        assert said in answer.text
        return
    problem = answer.json()
    assert (problem.get("at"), said in problem["detail"]) == (at, True), problem
    assert not any(word in problem["detail"] for word in PYTHON), problem
    assert "changed" not in problem


async def test_a_key_that_makes_no_sense_is_told_of_in_its_header(web: Web) -> None:
    client = web()
    for key in ("a\tb", "k" * 300):
        headers = {"Idempotency-Key": key}
        answer = await client.post(JOBS, json={"type": "HELLO"}, headers=headers)
        problem = answer.json()
        assert (answer.status_code, problem["at"]) == (422, "header.idempotency-key")
        assert "local" not in problem["detail"]


# -- whether anything was changed -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (StorageFullError("no room: nothing of this call was kept", unchanged=True), None),
        (StorageError("no server; nothing was changed", unchanged=True), None),
        (StorageError("cut; whether it was carried out is not known"), "unknown"),
    ],
)
async def test_whether_it_was_changed_is_as_the_error_knows(
    error: StorageError, changed: str | None, service: JobService, web: Web
) -> None:
    async def fails(name: str, on: bool) -> None:
        raise error

    service.storage.pause = fails  # type: ignore[method-assign]
    client = web()
    answer = await client.post("/api/v1/queues/a/pause", json={})
    assert (answer.status_code, answer.json().get("changed")) == (503, changed)
    page = await client.post("/queues/a/pause", headers={"Origin": "http://127.0.0.1"})
    assert page.status_code == 503
    assert page.text.count(str(error)) == 1
    assert page.text.lower().count("nothing was changed") == str(error).count("was changed")


async def test_what_was_done_before_the_storage_went_is_not_denied(
    service: JobService, web: Web
) -> None:
    [job] = await service.get_jobs()

    async def fails(*args: Any) -> Any:
        raise StorageError("no server; nothing was changed", unchanged=True)

    service.storage.find = fails  # type: ignore[method-assign]
    answer = await web().post(f"{JOBS}/{job.id}/reprioritize", json={"priority": "high"})
    problem = answer.json()
    assert (answer.status_code, problem["changed"]) == (503, "unknown")
    assert problem["detail"].startswith("it was done, or a part of it")
