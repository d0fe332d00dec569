"""What every request passes: hosts, origins, lengths, and how much is answered at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from backroom import JobService, JobStateError, StorageError
from backroom.web import Bounds, Role, Token, dashboard
from backroom.web.app import Dashboard
from backroom.web.guard import CONTENT_SECURITY_POLICY
from tests.web.conftest import client_of

Web = Callable[..., httpx.AsyncClient]

SECRET, OPERATE = Token.make("operator", "operate")
SITE = "https://jobs.example.com"
PAUSE = "/api/v1/queues/default/pause"


@pytest.mark.parametrize("path", ["/", "/api/v1/stats", "/api/v1/nothing", "/health/live"])
async def test_every_answer_tells_browsers_to_trust_nothing_else(path: str, web: Web) -> None:
    headers = (await web().get(path)).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "no-store" in headers["cache-control"] or "no-cache" in headers["cache-control"]
    assert "server" not in headers


# -- where a change comes from --------------------------------------------------------------------

TOOL = {"Authorization": f"Bearer {SECRET}"}


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Origin": SITE}, True),
        ({"Origin": "http://jobs.example.com"}, True),  # A proxy in front speaks TLS, we do not.
        ({"Origin": SITE, "Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": SITE, "Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "https://jobs.example.com.evil.example"}, False),
        ({"Origin": "https://evil.jobs.example.com"}, False),
        ({"Origin": "https://jobs.example.com:8443"}, False),
        ({"Origin": "https://jobs.example.com@evil.example"}, False),
        ({"Origin": "file://jobs.example.com"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "https://jobs.example.com:no"}, False),
        ({}, True),
    ],
)
async def test_a_change_comes_from_a_page_of_ours_or_from_a_tool(
    headers: dict[str, str], allowed: bool, service: JobService
) -> None:
    app = dashboard(service, auth=[OPERATE])
    async with client_of(app, base_url=SITE) as client:
        answer = await client.post(PAUSE, headers={**TOOL, **headers})
        assert answer.status_code == (204 if allowed else 403), answer.text
        paused = {queue.name for queue in (await service.get_stats()).queues if queue.paused}
        assert paused == ({"default"} if allowed else set())


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, False),
        ({"Content-Type": "application/x-www-form-urlencoded"}, False),
        ({"Content-Type": "text/plain"}, False),
        ({"Content-Type": "multipart/form-data; boundary=x"}, False),
        ({"Content-Type": "application/json"}, True),
        ({"Origin": "http://127.0.0.1"}, True),
        ({"Origin": "http://127.0.0.1:8000"}, False),
        ({"Origin": "http://localhost"}, False),
        ({"Content-Type": "application/json", "Origin": "http://evil.example"}, False),
    ],
)
async def test_without_credentials_no_form_of_another_site_changes_anything(
    headers: dict[str, str], allowed: bool, web: Web
) -> None:
    answer = await web().post(PAUSE, headers=headers)
    assert answer.status_code == (204 if allowed else 403), answer.text


async def test_only_the_hosts_that_were_named_are_answered_to(service: JobService) -> None:
    app = dashboard(service, auth=[OPERATE], allowed_hosts=["Jobs.Example.com"])
    async with client_of(app) as client:
        for host, status in [
            ("jobs.example.com", 200),
            ("JOBS.example.com:8443", 200),
            ("jobs.example.com.", 200),
            ("evil.example", 400),
            ("jobs.example.com.evil.example", 400),
            ("localhost", 400),
            ("", 400),
        ]:
            answer = await client.get("/api/v1/stats", headers={**TOOL, "Host": host})
            assert answer.status_code == status, host


# -- how much is taken ----------------------------------------------------------------------------


async def test_what_is_too_long_is_refused_before_it_is_read(web: Web) -> None:
    client = web(bounds=Bounds(body=1000, query=100, header=2000))
    json = {"Content-Type": "application/json"}
    for path, headers, content, status, at in [
        ("/api/v1/jobs", json, b"x" * 1001, 413, "body"),
        (f"/api/v1/jobs?tag={'x' * 100}", json, b"", 414, "query"),
        ("/api/v1/jobs", {**json, "X-Long": "x" * 2000}, b"", 431, "header"),
        ("/api/v1/jobs", {**json, "Content-Length": "9" * 30}, b"", 413, "body"),
        ("/api/v1/jobs", {**json, "Content-Length": "-1"}, b"", 400, "header.content-length"),
    ]:
        answer = await client.post(path, headers=headers, content=content)
        assert (answer.status_code, answer.json()["at"]) == (status, at)


async def test_a_body_that_does_not_say_how_long_it_is_is_not_read_to_its_end(web: Web) -> None:
    sent = 0

    async def endless() -> object:
        nonlocal sent
        while True:
            sent += 100
            yield b"x" * 100

    client = web(bounds=Bounds(body=1000))
    answer = await client.post(
        "/api/v1/jobs", content=endless(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert sent <= 1200


async def test_a_body_that_never_comes_ends_in_time(service: JobService) -> None:
    app = dashboard(service, bounds=Bounds(seconds=0.05))
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/api/v1/jobs", "query_string": b"",
        "scheme": "http", "client": ("127.0.0.1", 1), "http_version": "1.1",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 5)
    assert sent[0]["status"] == 503


class HalfSent:
    """A form of which the rest does not come, from some address."""

    def __init__(self, app: Dashboard, address: str) -> None:
        self.status = 0
        self.gone = asyncio.Event()
        headers = [
            (b"host", b"jobs.example.com"), (b"origin", SITE.encode()),
            (b"content-type", b"application/x-www-form-urlencoded"), (b"content-length", b"9"),
        ]  # fmt: skip
        scope = {
            "type": "http", "method": "POST", "path": "/sign-in", "query_string": b"",
            "scheme": "https", "client": (address, 1), "http_version": "1.1", "headers": headers,
        }  # fmt: skip
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, object]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)


async def test_who_holds_forms_back_keeps_nobody_else_out(service: JobService) -> None:
    app = dashboard(service, auth=[OPERATE], bounds=Bounds(requests=8, unknown_bodies=4))
    held = [HalfSent(app, "192.0.2.7") for _ in range(8)]
    held += [HalfSent(app, f"198.51.100.{number}") for number in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [one.status for one in held] == [0] * 4 + [503] * 4 + [0] * 20
    async with client_of(app, "203.0.113.9", base_url=SITE, headers={"Origin": SITE}) as client:
        for path in ("/health/live", "/health/ready", "/sign-in", "/static/app.css"):
            assert (await client.get(path)).status_code == 200, path
        assert (await client.get("/api/v1/stats", headers=TOOL)).status_code == 200
        assert (await client.post("/sign-in", data={"secret": SECRET})).status_code == 303
    for one in held:
        one.gone.set()
    await asyncio.gather(*(one.task for one in held))
    again = HalfSent(app, "192.0.2.7")
    await asyncio.sleep(0)
    assert again.status == 0
    again.gone.set()
    await again.task


async def test_the_form_of_somebody_unknown_has_a_short_time_and_length(
    service: JobService,
) -> None:
    app = dashboard(service, auth=[OPERATE], bounds=Bounds(unknown_seconds=0.02))
    slow = HalfSent(app, "192.0.2.7")
    await asyncio.wait_for(slow.task, 5)
    assert slow.status == 503
    async with client_of(app, base_url=SITE, headers={"Origin": SITE}) as client:
        answer = await client.post("/sign-in", data={"secret": "x" * 9_000})
        assert (answer.status_code, "8,192" in answer.text) == (413, True)


async def test_health_is_told_while_all_places_are_taken(service: JobService, web: Web) -> None:
    app = dashboard(service, bounds=Bounds(requests=1))
    hold, inside = asyncio.Event(), asyncio.Event()

    async def slow(*args: object) -> object:
        inside.set()
        await hold.wait()
        return ()

    app.house.service.get_limits = slow  # type: ignore[method-assign,assignment]
    client = web(app)
    held = asyncio.create_task(client.get("/api/v1/limits"))
    await inside.wait()
    assert (await client.get("/api/v1/limits")).status_code == 503
    for path in ("/health/live", "/health/ready", "/static/app.css"):
        assert (await client.get(path)).status_code == 200, path
    hold.set()
    assert (await held).status_code == 200


@pytest.mark.parametrize(
    ("broken", "status"), [("late", 503), ("failing", 500), ("away", 503), ("refusing", 409)]
)
@pytest.mark.parametrize("page", [False, True])
async def test_what_may_have_been_changed_is_not_said_to_be_unchanged(
    broken: str, status: int, page: bool, service: JobService, web: Web
) -> None:
    app = dashboard(service, bounds=Bounds(seconds=0.2))
    pause = service.pause_queue

    async def paused(*args: Any, **kwargs: Any) -> None:
        if broken == "refusing":
            raise JobStateError("no")
        await pause(*args, **kwargs)
        if broken == "late":
            await asyncio.Event().wait()
        raise StorageError("no answer came") if broken == "away" else OSError

    service.pause_queue = paused  # type: ignore[method-assign]
    client = web(app)
    if page:
        form = {"Origin": "http://127.0.0.1"}
        answer = await client.post("/queues/default/pause", headers=form)
        said = ("Nothing was changed" in answer.text, "It may have been done" in answer.text)
        assert (answer.status_code, said) == (status, (status == 409, status != 409))
    else:
        answer = await client.post(PAUSE, headers={"Content-Type": "application/json"})
        wanted = None if status == 409 else "unknown"
        assert (answer.status_code, answer.json().get("changed")) == (status, wanted)


async def test_more_requests_than_can_be_answered_are_told_to_come_again(
    service: JobService, web: Web
) -> None:
    app = dashboard(service, bounds=Bounds(requests=2))
    hold, inside = asyncio.Event(), 0

    async def slow(*args: object) -> object:
        nonlocal inside
        inside += 1
        await hold.wait()
        return ()

    app.house.service.get_limits = slow  # type: ignore[method-assign,assignment]
    client = web(app)
    held = [asyncio.create_task(client.get("/api/v1/limits")) for _ in range(2)]
    while inside < 2:
        await asyncio.sleep(0)
    refused = await client.get("/api/v1/limits")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    hold.set()
    assert [(await one).status_code for one in held] == [200, 200]
    assert (await client.get("/api/v1/limits")).status_code == 200


async def test_a_client_changes_so_much_a_minute(web: Web) -> None:
    client = web(bounds=Bounds(mutations=3))
    json = {"Content-Type": "application/json"}
    statuses = [(await client.post(PAUSE, headers=json)).status_code for _ in range(5)]
    assert statuses == [204, 204, 204, 429, 429]
    assert (await client.get("/api/v1/stats")).status_code == 200


def test_a_bound_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Bounds: body must be a number over 0"):
        Bounds(body=0)


async def test_a_websocket_is_closed(service: JobService) -> None:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await Dashboard(dashboard(service).house, None)({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert Role.PUBLIC < Role.READ < Role.OPERATE < Role.ADMIN
