"""Webhooks: how jobs end, told to a real server, by jobs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backroom import Cancel, ConfigurationError, Job, JobInfo, JobService
from backroom.signing import new_secret, verify
from tests.process.parts import eventually_async

SECRET = new_secret()


class Server:
    """Somebody else's. It answers what it is told to, and remembers all that came."""

    def __init__(self) -> None:
        self.came: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        """Statuses, in their order; then 200."""
        came, answers = self.came, self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                came.append((dict(self.headers), body))
                status = answers.pop(0) if answers else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(b"thank you" + b"!" * 10_000)

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[JobService]:
    service = JobService(f"file:{tmp_path / 'jobs'}", poll_interval=0.05)

    @service.handler("BAD", retries=0)
    async def bad(job: Job[Any]) -> None:
        raise ValueError("no such user")

    @service.handler("GOOD")
    async def good(job: Job[Any]) -> None: ...

    @service.handler("GIVES_UP")
    async def gives_up(job: Job[Any]) -> Cancel:
        return Cancel("not needed")

    yield service
    await service.stop(0)


async def deliveries(service: JobService, count: int, status: str) -> list[JobInfo]:
    """So many jobs of webhooks of that status, oldest first."""

    async def found() -> list[JobInfo]:
        page = await service.get_jobs(type="backroom.webhook", status=status)
        return list(page)[::-1] if len(page) == count else []

    return await eventually_async(found, f"{count} deliveries that are {status}")


async def test_a_failed_job_is_told_once_and_signed_by_the_secret(
    service: JobService, server: Server, tmp_path: Path
) -> None:
    service.webhook("ops", server.url, SECRET, allow_http=True, allow_private=True)
    await service.start()
    job_id = await service.schedule("BAD", queue="mail")
    await service.schedule("GOOD")
    [delivery] = await deliveries(service, 1, "completed")
    [(headers, body)] = server.came
    assert verify(SECRET, headers, body, time.time()) == f"msg_{delivery.id}"
    told = json.loads(body)
    assert told["type"] == "job.failed"
    assert told["data"].pop("duration") >= 0
    assert told["data"] == {
        "job_id": job_id, "type": "BAD", "queue": "mail", "attempt": 1,
        "kind": "ValueError", "message": "no such user",
    }  # fmt: skip
    assert delivery.queue == "webhooks"
    assert delivery.result["status"] == 200
    log = (await service.get_job(delivery.id)).log
    assert "ops answered 200 in" in log[0].message
    assert len(log[0].message) < 600  # Not all of what somebody answers.
    await service.stop()
    for file in (tmp_path / "jobs").iterdir():
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes()


async def test_a_server_that_fails_is_told_again_under_the_same_id(
    service: JobService, server: Server
) -> None:
    server.answers += [500, 302, 200]
    service.webhook("ops", server.url, SECRET, allow_http=True, allow_private=True)
    await service.start()
    await service.schedule("BAD")
    for attempt in (1, 2):
        [waiting] = await deliveries(service, 1, "scheduled")
        assert waiting.attempt == attempt
        await service.retry_job(waiting.id)

        async def more(attempt: int = attempt) -> bool:
            return len(server.came) > attempt

        await eventually_async(more, "another delivery")
    [delivery] = await deliveries(service, 1, "completed")
    assert len({headers["webhook-id"] for headers, _ in server.came}) == 1
    assert [error.message for error in (await service.get_job(delivery.id)).errors] == [
        "ops answered 500, which is no success",
        "ops answered 302, which is not followed",
    ]


async def test_a_webhook_hears_of_the_events_and_types_that_it_names(
    service: JobService, server: Server
) -> None:
    service.webhook("all", server.url, SECRET, allow_http=True, allow_private=True,
                    events=["job.completed", "job.failed", "job.cancelled"])  # fmt: skip
    service.webhook("some", server.url + "2", SECRET, allow_http=True, allow_private=True,
                    events=["job.failed"], types=["OTHER"])  # fmt: skip
    await service.start()
    for type_ in ("GOOD", "BAD", "GIVES_UP"):
        await service.schedule(type_)
    await deliveries(service, 3, "completed")
    told = sorted(json.loads(body)["type"] for _, body in server.came)
    assert told == ["job.cancelled", "job.completed", "job.failed"]


async def test_a_webhook_that_leads_inside_or_is_gone_tells_nobody_and_makes_no_more_of_them(
    service: JobService, server: Server
) -> None:
    server.answers.append(410)
    service.webhook("inside", server.url, SECRET, allow_http=True)
    service.webhook("gone", server.url, SECRET, allow_http=True, allow_private=True)
    await service.start()
    await service.schedule("BAD")
    [gone] = await deliveries(service, 1, "failed")
    assert gone.error is not None
    assert "410 Gone" in gone.error
    assert len(await service.get_jobs(type="backroom.webhook")) == 2
    [inside] = await deliveries(service, 1, "scheduled")
    assert inside.error is not None
    assert "not public" in inside.error
    assert len(server.came) == 1


async def test_a_delivery_that_is_none_is_not_tried_again(
    service: JobService, server: Server
) -> None:
    service.webhook("ops", server.url, SECRET, allow_http=True, allow_private=True)
    await service.start()
    record = msgspec.structs.replace(service._records.make("GOOD", {}, {}, service._clock.now()),
                                     type="backroom.webhook", data='{"webhook":7}')  # fmt: skip
    await service.storage.insert([record], record.created_at)
    [delivery] = await deliveries(service, 1, "failed")
    assert delivery.attempt == 1
    assert delivery.error is not None
    assert "webhook" in delivery.error
    assert server.came == []


async def test_an_event_waits_for_a_process_that_knows_its_webhook(
    service: JobService, server: Server, tmp_path: Path
) -> None:
    service.webhook("ops", server.url, SECRET, allow_http=True, allow_private=True)
    await service.start()
    await service.pause_queue("webhooks")
    await service.schedule("BAD")
    await deliveries(service, 1, "pending")
    await service.stop()
    assert server.came == []
    other = JobService(f"file:{tmp_path / 'jobs'}", poll_interval=0.05)
    other.webhook("ops", server.url, SECRET, allow_http=True, allow_private=True)
    async with other:
        await other.resume_queue("webhooks")
        await deliveries(other, 1, "completed")
    assert len(server.came) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [("", {}), ("a", {"events": ["job.exploded"]}), ("a", {"events": []}),
     ("a", {"events": "job.failed"}), ("a", {"types": "BAD"}), ("twice", {})],
)  # fmt: skip
def test_a_webhook_that_makes_no_sense_is_refused(name: str, said: dict[str, Any]) -> None:
    service = JobService("memory:")
    service.webhook("twice", "https://example.com/hook", SECRET)
    with pytest.raises(ConfigurationError) as refused:
        service.webhook(name, "https://example.com/hook", SECRET, **said)
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(service._webhooks and service._webhooks._known["twice"])
