"""What is hidden is hidden everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import msgspec
import pytest

from backroom import Job, JobFailedError, JobInfo, JobService, JobType, Secret
from backroom.web import Token, dashboard
from tests.web.conftest import client_of

Web = Callable[..., httpx.AsyncClient]
READER, READ = Token.make("reader", "read")
OPERATOR, OPERATE = Token.make("operator", "operate")
HUSH = "hush-hush-4711"


@dataclass
class Login:
    user: str
    password: Annotated[str, Secret]


@dataclass
class Session:
    token: Annotated[str, Secret]
    lasts: int


SIGN_IN = JobType("SIGN_IN", Login, result=Session)


@pytest.fixture
async def done(service: JobService) -> str:
    """A job that has completed, with a secret in its data, its result and its log."""

    @service.handler(SIGN_IN)
    async def sign_in(job: Job[Login]) -> Session:
        assert job.data.password == HUSH  # What handlers get is whole.
        return Session(job.data.password, 60)

    await service.start()
    job_id = await service.schedule(SIGN_IN, Login("ada", HUSH))
    assert await service.result(job_id, timeout=30) == Session(HUSH, 60)
    return job_id


async def everything(client: httpx.AsyncClient, job_id: str, headers: dict[str, str]) -> str:
    """All that is told of a job, wherever."""
    texts = []
    for path in (
        f"/api/v1/jobs/{job_id}", "/api/v1/jobs", "/api/v1/jobs?status=completed",
        "/api/v1/schedules", "/api/v1/types", "/", "/jobs", f"/jobs/{job_id}", "/schedules",
        "/schedules/daily",
    ):  # fmt: skip
        answer = await client.get(path, headers=headers)
        assert answer.status_code == 200, (path, answer.text)
        texts.append(answer.text)
    return "\n".join(texts)


async def test_a_secret_field_is_shown_to_nobody(done: str, service: JobService, web: Web) -> None:
    await service.cron("0 4 * * *", SIGN_IN, Login("ada", HUSH), name="daily")
    client = web()
    told = await everything(client, done, {})
    assert HUSH not in told
    job = (await client.get(f"/api/v1/jobs/{done}")).json()
    assert job["data"] == {"user": "ada", "password": "(hidden)"}
    assert job["result"] == {"token": "(hidden)", "lasts": 60}
    [known] = [one for one in (await client.get("/api/v1/types")).json() if one["secret"]]
    assert known["secret"] == ["$.password"]


async def answers(client: httpx.AsyncClient, text: str) -> list[Any]:
    """All that says how many jobs have a text in them."""
    found: list[Any] = []
    for path in ("/api/v1/jobs?limit=1", "/api/v1/jobs/count", "/jobs", "/bulk?verb=cancel"):
        answer = await client.get(path, params={**httpx.URL(path).params, "text": text})
        assert answer.status_code == 200, (path, answer.text)
        page = answer.headers["content-type"].startswith("text/html")
        told = answer.text.replace(text, "TEXT") if page else answer.json()
        found.append(re.sub(r"\d+ (ms|s) ago|\d\d:\d\d:\d\d\S*", "", told) if page else told)
    body = {"verb": "cancel", "text": text}
    begun = (await client.post("/api/v1/operations", json=body)).json()
    while (ended := (await client.get(f"/api/v1/operations/{begun['id']}")).json())[
        "state"
    ] == "running":
        await asyncio.sleep(0.01)
    found.append([ended[name] for name in ("expected", "looked", "changed", "refused")])
    return found


async def test_who_looks_for_a_secret_is_not_told_of_finding_one(
    done: str, service: JobService, web: Web
) -> None:
    for user in ("bob", "eve"):  # There are more of them than a page has.
        await service.schedule(SIGN_IN, Login(user, HUSH), delay=3600)
    client = web()
    hit, missed = await answers(client, HUSH[:6]), await answers(client, "hushed")
    assert hit == missed
    assert (hit[0]["jobs"], hit[0]["cursor"], hit[1]["jobs"]) == ([], None, 0)
    for text, found in (("SIGN_IN", 3), (done, 1)):
        answer = await client.get("/api/v1/jobs", params={"text": text})
        assert (answer.status_code, len(answer.json()["jobs"])) == (200, found), text


async def test_data_of_types_without_secrets_is_searched(
    done: str, service: JobService, web: Web
) -> None:
    job_id = await service.schedule("HELLO", {"name": "ada"})
    [found] = (await web().get("/api/v1/jobs", params={"text": "ADA"})).json()["jobs"]
    assert found["id"] == job_id


async def test_who_redacts_lets_nobody_search_what_may_be_redacted(
    done: str, service: JobService, web: Web
) -> None:
    def redact(info: JobInfo) -> JobInfo:
        return msgspec.structs.replace(info, data=None, tags=(), error=None)

    await service.schedule("HELLO", {"card": HUSH}, tags=[HUSH], unique_key=HUSH, delay=3600)
    client = web(redact=redact)
    assert await answers(client, HUSH[:6]) == await answers(client, "hushed")
    assert (await client.get("/api/v1/jobs/count?text=hello")).json()["jobs"] == 1


async def test_who_is_not_shown_data_does_not_search_it(done: str, web: Web) -> None:
    client = web(auth=[READ], hide_data_from="read")
    headers = {"Authorization": f"Bearer {READER}"}
    for path in ("/api/v1/jobs", "/api/v1/jobs/count"):
        answer = await client.get(path, params={"text": "ada"}, headers=headers)
        assert (answer.status_code, answer.json()["at"]) == (403, "query.text")


async def test_a_copy_of_a_job_has_what_nobody_is_shown(
    done: str, service: JobService, web: Web
) -> None:
    made = (await web().post(f"/api/v1/jobs/{done}/copy", json={})).json()
    result = await service.result(made["id"], timeout=30)
    assert result == {"token": HUSH, "lasts": 60} or result == Session(HUSH, 60)


async def test_older_data_of_a_type_with_secrets_is_hidden_as_a_whole(
    service: JobService, web: Web
) -> None:
    service.declare("OLD")
    job_id = await service.schedule("OLD", {"passwort": HUSH})
    newer = JobService(service.storage)
    newer.declare(JobType("OLD", Login, version=2, upgrade={1: lambda data: data}))
    await newer.open()
    async with client_of(dashboard(newer)) as client:
        assert (await client.get(f"/api/v1/jobs/{job_id}")).json()["data"] == "(hidden)"
    await newer.stop(0)


async def test_data_may_be_hidden_from_a_role(done: str, service: JobService, web: Web) -> None:
    await service.schedule("HELLO", {"name": HUSH}, metadata={"note": HUSH})
    await service.cron("0 4 * * *", "HELLO", {"name": HUSH}, name="daily")
    client = web(auth=[READ, OPERATE], hide_data_from="read")
    reader = {"Authorization": f"Bearer {READER}"}
    assert HUSH not in await everything(client, done, reader)
    job = (await client.get(f"/api/v1/jobs/{done}", headers=reader)).json()
    assert (job["data"], job["result"]) == ("(hidden)", "(hidden)")
    operator = {"Authorization": f"Bearer {OPERATOR}"}
    assert HUSH in (await client.get("/api/v1/jobs", headers=operator)).text


async def test_what_others_searched_for_is_not_told_to_who_may_not(done: str, web: Web) -> None:
    client = web(auth=[READ, OPERATE], hide_data_from="read")
    reader = {"Authorization": f"Bearer {READER}"}
    operator = {"Authorization": f"Bearer {OPERATOR}"}
    body = {"verb": "cancel", "text": HUSH}
    begun = (await client.post("/api/v1/operations", json=body, headers=operator)).json()
    one = f"operations/{begun['id']}"
    for path in ("/api/v1/operations", f"/api/v1/{one}", f"/{one}", "/api/v1/audit", "/audit"):
        told = [(await client.get(path, headers=who)).text for who in (reader, operator)]
        assert [HUSH in one for one in told] == [False, True], path
        assert "(hidden)" in told[0]


async def test_a_long_value_of_a_signal_is_told_by_its_length(
    service: JobService, web: Web
) -> None:
    job_id = await service.schedule("HELLO", delay=3600)
    await service.signal(job_id, "short", "x" * 4000)
    for number in range(10):
        await service.signal(job_id, f"long-{number}", "x" * 1_000_000)
    answer = await web().get(f"/api/v1/jobs/{job_id}")
    values = [one["value"] for one in answer.json()["signals"]]
    assert values == ["x" * 4000, *["(1,000,002 bytes)"] * 10]
    assert len((await web().get(f"/jobs/{job_id}")).text) < 50_000


async def test_the_application_has_the_last_word(done: str, web: Web) -> None:
    def redact(info: JobInfo) -> JobInfo:
        return msgspec.structs.replace(info, data={"user": "somebody"}, error=None)

    job = (await web(redact=redact).get(f"/api/v1/jobs/{done}")).json()
    assert job["data"] == {"user": "somebody"}


async def test_what_the_application_redacts_stands_nowhere_else(web: Web) -> None:
    def redact(info: JobInfo) -> JobInfo:
        return msgspec.structs.replace(info, data="-", error="-", errors=())

    service = JobService("memory:", default_retry_limit=0)

    @service.handler("PAY")
    async def pay(job: Job[Any]) -> None:
        raise ValueError(f"card {HUSH} was refused")

    async with service, client_of(dashboard(service, redact=redact)) as client:
        async with service.workflow("order") as flow:
            job_id = flow.add("PAY", {"card": HUSH}).id
        await service.cron("0 4 * * *", "PAY", {"card": HUSH}, name="daily")
        with contextlib.suppress(JobFailedError):
            await service.result(job_id, timeout=30)
        for path in (
            "/api/v1/failures", "/failures", "/", "/jobs", f"/jobs/{job_id}", "/workflows",
            f"/workflows/{flow.id}", f"/api/v1/workflows/{flow.id}", "/api/v1/workflows",
            "/api/v1/schedules", "/api/v1/schedules/daily", "/schedules", "/schedules/daily",
            "/api/v1/jobs", f"/api/v1/jobs/{job_id}",
        ):  # fmt: skip
            answer = await client.get(path)
            assert (answer.status_code, HUSH in answer.text) == (200, False), path
        [group] = (await client.get("/api/v1/failures")).json()
        assert (group["kind"], group["jobs"], group["message"]) == ("ValueError", 1, "(hidden)")


async def test_an_older_result_of_a_type_with_secrets_is_hidden_as_a_whole(
    done: str, service: JobService, web: Web
) -> None:
    @dataclass
    class Newer:
        key: Annotated[str, Secret]

    newer = JobService(service.storage)
    up: Any = lambda data: data  # noqa: E731
    newer.declare(JobType("SIGN_IN", Login, result=Newer, version=2, upgrade={1: up}))
    async with client_of(dashboard(newer)) as client:
        job = (await client.get(f"/api/v1/jobs/{done}")).json()
    assert (job["version"], job["data"], job["result"]) == (1, "(hidden)", "(hidden)")
    await newer.stop(0)


async def test_a_redaction_that_fails_shows_nothing(done: str, web: Web) -> None:
    def raises(info: JobInfo) -> JobInfo:
        raise KeyError("user")

    for redact in (raises, lambda info: info.data):
        for path in (f"/api/v1/jobs/{done}", "/api/v1/jobs"):
            answer = await web(redact=redact).get(path)
            assert (answer.status_code, HUSH in answer.text) == (500, False)


async def test_a_stream_of_a_job_hides_the_same(done: str, service: JobService) -> None:
    app = dashboard(service)
    sent: list[Any] = []
    enough = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if b"event: job" in message.get("body", b""):
            enough.set()

    scope = {
        "type": "http", "method": "GET", "path": f"/api/v1/jobs/{done}/events", "scheme": "http",
        "query_string": b"", "client": ("127.0.0.1", 1), "http_version": "1.1",
        "headers": [(b"host", b"localhost")], "asgi": {"spec_version": "2.3"},
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 10)
    told = b"".join(message.get("body", b"") for message in sent)
    assert b"(hidden)" in told
    assert HUSH.encode() not in told
