"""Streams of events: one look for all who listen, nothing piled up, and an end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from backroom import Job, JobService, StorageError
from backroom.web import Bounds, Dashboard, Identity, Role, dashboard
from backroom.web.feed import Watch
from backroom.web.streaming import Message
from tests.web.conftest import client_of


class Viewer:
    """Somebody who listens, until `leave`."""

    def __init__(self, app: Dashboard, path: str, last: str = "") -> None:
        headers = [(b"host", b"localhost")]
        if last:
            headers.append((b"last-event-id", last.encode()))
        self.status = 0
        self.text = ""
        self._left, self._news = asyncio.Event(), asyncio.Event()
        scope = {
            "type": "http", "method": "GET", "path": path, "scheme": "http", "query_string": b"",
            "client": ("127.0.0.1", 1), "http_version": "1.1", "headers": headers,
            "asgi": {"spec_version": "2.3"},
        }  # fmt: skip
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()
        self._news.set()

    @property
    def events(self) -> list[tuple[str, Any, str]]:
        """Kind, data and id of each."""
        found = []
        for block in self.text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"]), lines.get("id", "")))
        return found

    async def until(self, kind: str, count: int = 1) -> list[tuple[str, Any, str]]:
        """The events of a kind, once there are so many."""
        async with asyncio.timeout(20):
            while True:
                self._news.clear()
                found = [one for one in self.events if one[0] == kind]
                if len(found) >= count:
                    return found
                await self._news.wait()

    async def leave(self) -> None:
        self._left.set()
        await asyncio.wait_for(self.task, 10)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look each hundredth of a second, so that nobody waits for it."""
    monkeypatch.setattr(Watch.__init__, "__defaults__", (0.01,))


async def test_counts_are_told_whenever_they_are_others(service: JobService) -> None:
    viewer = Viewer(dashboard(service), "/api/v1/events")
    [(_, stats, first)] = await viewer.until("stats")
    assert stats["by_status"]["pending"] == 0
    await service.schedule("HELLO", {})
    told = await viewer.until("stats", 2)
    assert told[1][1]["by_status"]["pending"] == 1
    assert told[1][2] != first
    await viewer.leave()


async def test_one_look_serves_all_who_listen_and_none_is_taken_for_nobody(
    service: JobService,
) -> None:
    looks = 0
    look = service.get_stats

    async def counted() -> Any:
        nonlocal looks
        looks += 1
        return await look()

    service.get_stats = counted  # type: ignore[method-assign]
    app = dashboard(service, bounds=Bounds(streams_each=50))
    viewers = [Viewer(app, "/api/v1/events") for _ in range(50)]
    for viewer in viewers:
        await viewer.until("stats")
    assert looks < 25
    assert app.house.feed.viewers == 50
    for viewer in viewers:
        await viewer.leave()
    assert app.house.feed.viewers == 0
    before = looks
    await asyncio.sleep(0.1)
    assert looks == before


async def test_who_comes_again_is_told_only_what_is_news(service: JobService) -> None:
    app = dashboard(service)
    stays = Viewer(app, "/api/v1/events")
    [(_, _, last)] = await stays.until("stats")
    again = Viewer(app, "/api/v1/events", last)
    await service.schedule("HELLO", {})
    [(_, stats, _)] = await again.until("stats")
    assert stats["by_status"]["pending"] == 1
    await again.leave()
    await stays.leave()


async def test_a_job_is_followed_to_its_end(service: JobService) -> None:
    go_on = asyncio.Event()

    @service.handler("FOLLOWED")
    async def followed(job: Job[Any]) -> str:
        job.log.info("one")
        job.progress(0.5, "half")
        await go_on.wait()
        job.log.info("two")
        return "done"

    await service.start()
    job_id = await service.schedule("FOLLOWED", {})
    app = dashboard(service)
    viewer = Viewer(app, f"/api/v1/jobs/{job_id}/events")
    [(_, lines, last)] = await viewer.until("log")
    assert [line["message"] for line in lines] == ["one"]
    again = Viewer(app, f"/api/v1/jobs/{job_id}/events", last)
    go_on.set()
    await viewer.until("end")
    [(_, lines, _)] = await again.until("log")
    assert [line["message"] for line in lines] == ["two"]
    (_, job, _) = (await viewer.until("job"))[-1]
    assert (job["status"], job["result"], job["log"]) == ("completed", "done", [])
    await viewer.leave()
    await again.leave()


async def test_trouble_is_told_and_looked_after(service: JobService) -> None:
    broken = True
    look = service.get_stats

    async def fails() -> Any:
        if broken:
            raise StorageError("the storage is away")
        return await look()

    service.get_stats = fails  # type: ignore[method-assign]
    viewer = Viewer(dashboard(service), "/api/v1/events")
    [(_, problem, _), *_] = await viewer.until("trouble")
    assert (problem["status"], problem["detail"]) == (503, "the storage is away")
    broken = False
    await viewer.until("stats")
    await viewer.leave()


async def test_more_viewers_than_may_be_are_told_to_come_again(service: JobService) -> None:
    app = dashboard(service, bounds=Bounds(streams=2))
    viewers = [Viewer(app, "/api/v1/events") for _ in range(2)]
    for viewer in viewers:
        await viewer.until("stats")
    third = Viewer(app, "/api/v1/events")
    await asyncio.wait_for(third.task, 10)
    assert (third.status, "2 viewers listen" in third.text) == (503, True)
    await viewers[0].leave()
    fourth = Viewer(app, "/api/v1/events")
    await fourth.until("stats")
    await fourth.leave()
    await viewers[1].leave()


async def test_streams_end_when_the_server_does(service: JobService) -> None:
    app = dashboard(service)
    viewers = [Viewer(app, "/api/v1/events") for _ in range(3)]
    for viewer in viewers:
        await viewer.until("stats")
    app.close()
    await asyncio.wait_for(asyncio.gather(*(viewer.task for viewer in viewers)), 10)


async def test_a_viewer_shows_anew_who_it_is_after_a_while(service: JobService) -> None:
    viewer = Viewer(dashboard(service, bounds=Bounds(stream_seconds=0.05)), "/api/v1/events")
    await asyncio.wait_for(viewer.task, 10)
    assert "retry: 2000" in viewer.text


async def test_who_asks_for_the_head_of_a_stream_is_not_kept(service: JobService) -> None:
    async with client_of(dashboard(service)) as client:
        assert (await client.head("/api/v1/events")).status_code == 405
        assert (await client.head("/api/v1/stats")).status_code == 200


def test_no_data_ends_an_event_early() -> None:
    hostile = json.dumps("a\nevent: evil\n\ndata: x\r\n").encode()
    assert Message("log", hostile, "1").encode().count(b"\n") == 4


async def test_one_viewer_does_not_take_all_places(service: JobService) -> None:
    app = dashboard(
        service,
        authenticate=lambda request: Identity(request.headers.get("last-event-id", ""), Role.READ),
        bounds=Bounds(streams=5, streams_each=2),
    )
    held = [Viewer(app, "/api/v1/events", "ada") for _ in range(2)]
    for viewer in held:
        await viewer.until("stats")
    more = Viewer(app, "/api/v1/events", "ada")
    await asyncio.wait_for(more.task, 10)
    assert more.status == 429
    other = Viewer(app, "/api/v1/events", "bob")
    await other.until("stats")
    await held[0].leave()
    again = Viewer(app, "/api/v1/events", "ada")
    await again.until("stats")
    for viewer in (held[1], other, again):
        await viewer.leave()


@pytest.mark.parametrize("now", [None, Identity("ada", Role.READ), Identity("bob", Role.OPERATE)])
async def test_a_stream_ends_with_the_identity_of_who_listens(
    now: Identity | None, service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backroom.web.streaming.BEAT", 0.02)
    who: list[Identity | None] = [Identity("ada", Role.OPERATE)]
    app = dashboard(service, authenticate=lambda request: who[0])
    viewer = Viewer(app, "/api/v1/events")
    await viewer.until("stats")
    await service.schedule("HELLO", {})
    await viewer.until("stats", 2)
    assert not viewer.task.done()
    who[0] = now
    await asyncio.wait_for(viewer.task, 10)
    assert viewer.status == 200
