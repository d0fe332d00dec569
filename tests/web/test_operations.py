"""What operators do: written down, one by one and in bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypedDict

import httpx
import pytest

from backroom import FailJob, Job, JobRequest, JobService, JobType, StorageError
from backroom.web import Bounds, Identity, Role, Token, dashboard
from tests.web.conftest import client_of

Web = Callable[..., httpx.AsyncClient]
OPERATOR, OPERATE = Token.make("operator", "operate")


async def operation(client: httpx.AsyncClient, location: str) -> dict[str, Any]:
    """As it is when it has ended."""
    for _ in range(500):
        found: dict[str, Any] = (await client.get(location)).json()
        if found["state"] != "running":
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(found)


async def some(service: JobService, count: int, **options: Any) -> list[str]:
    requests = [JobRequest("HELLO", {"n": number}, **options) for number in range(count)]
    return [str(job_id) for job_id in await service.schedule_many(requests)]


async def test_many_jobs_are_changed_by_a_filter_and_watched(service: JobService, web: Web) -> None:
    await some(service, 2500, queue="mail", delay=3600)
    await some(service, 10, queue="other")
    client = web()
    seen = (await client.get("/api/v1/jobs/count?queue=mail&status=scheduled")).json()
    assert seen == {"jobs": 2500, "exact": True}
    body = {"verb": "cancel", "queue": "mail"}
    begun = await client.post("/api/v1/operations", json=body)
    assert begun.status_code == 202
    ended = await operation(client, begun.headers["location"])
    assert (ended["state"], ended["changed"], ended["actor"]) == ("done", 2500, "local")
    assert (await service.get_stats()).by_status["cancelled"] == 2500
    assert [one["id"] for one in (await client.get("/api/v1/operations")).json()] == [ended["id"]]
    [action] = (await client.get("/api/v1/audit?verb=cancel all")).json()["actions"]
    assert (action["outcome"], action["changed"], action["target"]) == ("done", 2500, "jobs")
    assert action["detail"] == {"filter": {"queue": "mail"}}


async def test_jobs_are_changed_by_their_ids(service: JobService, web: Web) -> None:
    first, second, third = await some(service, 3)
    client = web()
    begun = await client.post("/api/v1/operations", json={"verb": "cancel", "ids": [first, second]})
    assert (await operation(client, begun.headers["location"]))["changed"] == 2
    assert [await service.get_job_status(one) for one in (first, second, third)] == [
        "cancelled", "cancelled", "pending",
    ]  # fmt: skip


async def test_of_ids_only_how_many_they_were_is_kept(service: JobService, web: Web) -> None:
    [job_id] = await some(service, 1)
    client = web()
    body = {"verb": "cancel", "ids": [job_id, "none-such"]}
    begun = await client.post("/api/v1/operations", json=body)
    ended = await operation(client, begun.headers["location"])
    assert (ended["which"], ended["changed"]) == ({"ids": 2}, 1)
    assert (await client.get(f"/operations/{ended['id']}")).status_code == 200
    body = {"verb": "cancel", "ids": ["x" * 65]}
    refused = await client.post("/api/v1/operations", json=body)
    assert (refused.status_code, refused.json()["at"]) == (422, "body.ids[0]")


async def test_failed_jobs_are_retried_where_no_status_is_said(web: Web) -> None:
    service = JobService("memory:", default_retry_limit=0)
    healthy = asyncio.Event()

    @service.handler("HELLO")
    async def hello(job: Job[Any]) -> None:
        if not healthy.is_set():
            raise FailJob("not yet")

    async with service, client_of(dashboard(service)) as client:
        ids = await some(service, 20)
        while (await service.get_stats()).by_status["failed"] < 20:
            await asyncio.sleep(0.01)
        [group] = (await client.get("/api/v1/failures")).json()
        assert (group["type"], group["kind"], group["jobs"]) == ("HELLO", "FailJob", 20)
        healthy.set()
        body = {"verb": "retry", "error": "FailJob"}
        begun = await client.post("/api/v1/operations", json=body)
        assert (await operation(client, begun.headers["location"]))["changed"] == 20
        for job_id in ids:
            await service.result(job_id, timeout=30)  # type: ignore[arg-type]


async def test_jobs_that_wait_get_another_moment_or_priority(service: JobService, web: Web) -> None:
    first, second = await some(service, 2, delay=3600)
    client = web()
    for body in (
        {"verb": "reschedule", "queue": "default", "run_at": "2040-01-01T00:00:00Z"},
        {"verb": "reprioritize", "ids": [first], "to_priority": "critical"},
    ):
        begun = await client.post("/api/v1/operations", json=body)
        assert begun.status_code == 202, begun.text
        assert (await operation(client, begun.headers["location"]))["state"] == "done"
    assert [(await service.get_job(one)).priority for one in (first, second)] == [
        "critical", "normal",
    ]  # fmt: skip
    assert {(await service.get_job(one)).run_at.year for one in (first, second)} == {2040}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"verb": "explode", "queue": "a"},
        {"verb": "cancel"},
        {"verb": "cancel", "queue": "a", "ids": ["x"]},
        {"verb": "cancel", "ids": []},
        {"verb": "cancel", "ids": ["x"] * 1001},
        {"verb": "cancel", "queue": "a", "colour": "red"},
        {"verb": "cancel", "queue": "\n"},
        {"verb": "cancel", "queue": "a", "delay": 1},
        {"verb": "retry", "status": "pending"},
        {"verb": "delete", "status": "active"},
        {"verb": "reschedule", "queue": "a"},
        {"verb": "reschedule", "queue": "a", "delay": -1},
        {"verb": "reschedule", "queue": "a", "to_priority": "high"},
        {"verb": "reprioritize", "queue": "a"},
        {"verb": "reprioritize", "queue": "a", "to_priority": "urgent"},
    ],
)
async def test_a_change_that_makes_no_sense_is_refused_at_once(
    body: dict[str, Any], service: JobService, web: Web
) -> None:
    await some(service, 3, queue="a")
    client = web()
    answer = await client.post("/api/v1/operations", json=body)
    assert answer.status_code == 422, answer.text
    assert (await client.get("/api/v1/operations")).json() == []
    assert (await service.get_stats()).by_status["pending"] == 3


async def test_a_change_of_many_jobs_is_stopped_and_what_was_done_stands(
    service: JobService, web: Web
) -> None:
    app = dashboard(service)
    client = web(app)
    held = asyncio.Event()

    async def slow(*, progress: Callable[[Any], None], **which: Any) -> int:
        from backroom.inspecting import BulkProgress

        progress(BulkProgress(1000, 7, 0))
        held.set()
        await asyncio.Event().wait()
        raise AssertionError

    # The storage's own verb, as slow as one over a million jobs.
    service.storage.cancel = lambda some, now, progress: slow(progress=progress)  # type: ignore[method-assign]
    begun = await client.post("/api/v1/operations", json={"verb": "cancel", "queue": "a"})
    await held.wait()
    location = begun.headers["location"]
    assert (await client.get(location)).json()["changed"] == 7
    stopped = await client.post(f"{location}/stop", json={})
    assert (stopped.json()["state"], stopped.json()["changed"]) == ("stopped", 7)
    actions = (await client.get("/api/v1/audit?verb=cancel all")).json()["actions"]
    assert [(one["outcome"], one["changed"]) for one in actions] == [("interrupted", 7)]
    assert actions[0]["reason"] == "stopped by local"
    assert app.house.bulk.all()[0].state == "stopped"


async def test_who_operates_does_not_delete_by_the_way_of_many(service: JobService) -> None:
    app = dashboard(service, auth=[OPERATE])
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    async with client_of(app, headers=headers) as client:
        body = {"verb": "delete", "queue": "a"}
        answer = await client.post("/api/v1/operations", json=body)
        assert answer.status_code == 403


# -- the record -----------------------------------------------------------------------------------


async def test_what_is_done_is_written_down_with_who_did_it(service: JobService) -> None:
    [job_id] = await some(service, 1)
    app = dashboard(service, auth=[OPERATE])
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    async with client_of(app, headers=headers) as client:
        await client.post("/api/v1/queues/default/pause", json={})
        await client.post(f"/api/v1/jobs/{job_id}/reprioritize", json={"priority": "high"})
        await client.post(f"/api/v1/jobs/{job_id}/reschedule", json={"delay": 60})
        await client.post(f"/api/v1/jobs/{job_id}/cancel", json={})
        await client.post("/api/v1/jobs/nothing/retry", json={})
        told = (await client.get("/api/v1/audit")).json()["actions"]
    assert [(one["verb"], one["target"], one["outcome"]) for one in told] == [
        ("retry", "nothing", "refused"),
        ("cancel", job_id, "done"),
        ("reschedule", job_id, "done"),
        ("reprioritize", job_id, "done"),
        ("pause", "queue default", "done"),
    ]
    assert {(one["actor"], one["role"]) for one in told} == {("operator", "operate")}
    assert told[2]["detail"] == {"delay": 60.0}


async def test_a_queue_is_limited_until_that_is_taken_away(service: JobService, web: Web) -> None:
    client = web()
    assert (await client.post("/api/v1/queues/mail/limit", json={"most": 3})).status_code == 204
    [limit] = (await client.get("/api/v1/limits")).json()
    assert limit["most"] == 3
    assert (await client.post("/api/v1/queues/mail/limit", json={})).status_code == 422
    assert (await client.post("/api/v1/queues/mail/limit", json={"most": None})).status_code == 204
    assert (await client.get("/api/v1/limits")).json() == []


async def test_what_cannot_be_written_down_is_not_done(service: JobService, web: Web) -> None:
    async def fails(action: object) -> int:
        raise StorageError("the record cannot be kept")

    service.storage.begin_action = fails  # type: ignore[method-assign]
    client = web(bounds=Bounds())
    answer = await client.post("/api/v1/queues/default/pause", json={})
    assert answer.status_code == 503
    assert not any(queue.paused for queue in (await service.get_stats()).queues)


# -- asked twice ----------------------------------------------------------------------------------


async def test_a_job_that_is_asked_for_twice_is_made_once(service: JobService, web: Web) -> None:
    client = web()
    body, headers = {"type": "HELLO", "data": {"n": 1}}, {"Idempotency-Key": "order 4711"}
    answers = [await client.post("/api/v1/jobs", json=body, headers=headers) for _ in range(3)]
    assert [one.status_code for one in answers] == [201, 200, 200]
    assert len({one.json()["id"] for one in answers}) == 1
    other = {**body, "data": {"n": 2}}
    refused = await client.post("/api/v1/jobs", json=other, headers=headers)
    assert (refused.status_code, "other data" in refused.json()["detail"]) == (422, True)
    assert sum((await service.get_stats()).by_status.values()) == 1


async def test_many_who_ask_for_the_same_at_once_get_one_job(service: JobService, web: Web) -> None:
    client = web()
    body, headers = {"type": "HELLO"}, {"Idempotency-Key": "order 4711"}
    asked = [client.post("/api/v1/jobs", json=body, headers=headers) for _ in range(20)]
    answers = await asyncio.gather(*asked)
    assert sorted(one.status_code for one in answers) == [200] * 19 + [201]
    assert len({one.json()["id"] for one in answers}) == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb"])
async def test_a_key_that_is_none_makes_no_job(service: JobService, web: Web, key: str) -> None:
    """An empty one, of a variable that is not set, would make one job of all."""
    headers = {"Idempotency-Key": key}
    refused = await web().post("/api/v1/jobs", json={"type": "HELLO"}, headers=headers)
    assert (refused.status_code, refused.json()["at"]) == (422, "header.idempotency-key")
    assert "1 to 255 printable characters" in refused.json()["detail"]
    assert sum((await service.get_stats()).by_status.values()) == 0


async def test_a_key_may_be_as_long_as_is_said_whatever_the_name(service: JobService) -> None:
    app = dashboard(service, authenticate=lambda request: Identity("a" * 200, Role.ADMIN))
    async with client_of(app) as client:
        headers = {"Idempotency-Key": "k" * 255, "X-Backroom-Request": "1"}
        made = await client.post("/api/v1/jobs", json={"type": "HELLO"}, headers=headers)
        assert made.status_code == 201, made.text


async def test_a_key_belongs_to_who_sent_it(service: JobService) -> None:
    one, first = Token.make("one", "admin")
    two, second = Token.make("two", "admin")
    ids = set()
    async with client_of(dashboard(service, auth=[first, second])) as client:
        for secret in (one, two):
            headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "1"}
            made = await client.post("/api/v1/jobs", json={"type": "HELLO"}, headers=headers)
            ids.add(made.json()["id"])
    assert len(ids) == 2


async def test_a_key_is_nobody_elses_whatever_blanks_are_in_a_name(service: JobService) -> None:
    names = iter([("ada", "lovelace 1"), ("ada lovelace", "1")])
    ids = set()
    for name, key in names:
        app = dashboard(service, authenticate=lambda request, name=name: Identity(name, Role.ADMIN))
        async with client_of(app) as client:
            headers = {"Idempotency-Key": key, "X-Backroom-Request": "1"}
            made = await client.post("/api/v1/jobs", json={"type": "HELLO"}, headers=headers)
            assert made.status_code == 201, made.text
            ids.add(made.json()["id"])
    assert len(ids) == 2


async def test_a_copy_is_of_the_version_of_its_job(service: JobService, web: Web) -> None:
    class Charge(TypedDict):
        cents: int

    def to_cents(data: dict[str, Any]) -> dict[str, Any]:
        return {"cents": data["euros"] * 100}

    service.declare("CHARGE")
    job_id = await service.schedule("CHARGE", {"euros": 5})
    newer = JobService(service.storage)
    newer.declare(JobType("CHARGE", Charge, version=2, upgrade={1: to_cents}))
    async with client_of(dashboard(newer)) as client:
        copied = await client.post(f"/api/v1/jobs/{job_id}/copy", json={})
        assert copied.status_code == 201
        copy = (await client.get(f"/api/v1/jobs/{copied.json()['id']}")).json()
    assert (copy["version"], copy["data"]) == (1, {"euros": 5})
    await newer.stop(0)
