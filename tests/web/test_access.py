"""Who may what: every route times every role, and what each kind of credential is good for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from backroom import ConfigurationError, JobService
from backroom.web import BasicAuth, Bounds, Identity, Role, Token, dashboard, read_credentials
from backroom.web.passwords import MOST_WAITING
from backroom.web.route import Route
from tests.web.conftest import client_of

Web = Callable[..., httpx.AsyncClient]

READER, READ = Token.make("reader", "read")
OPERATOR, OPERATE = Token.make("operator", "operate")
OWNER, ADMIN = Token.make("owner", "admin")
AUTH = [READ, OPERATE, ADMIN]
WHO = {
    Role.PUBLIC: {},
    Role.READ: {"Authorization": f"Bearer {READER}"},
    Role.OPERATE: {"Authorization": f"Bearer {OPERATOR}"},
    Role.ADMIN: {"Authorization": f"Bearer {OWNER}"},
}
TABLE = list(dashboard(JobService("memory:")).table)


def path_of(route: Route) -> str:
    """With parameters that nothing has."""
    path = route.path
    for name in route.parameters:
        path = path.replace(f"{{{name}:path}}", "nothing").replace(f"{{{name}}}", "nothing")
    return path


@pytest.fixture
async def closed(service: JobService) -> AsyncIterator[httpx.AsyncClient]:
    """Asks from elsewhere, where three tokens are known."""
    app = dashboard(service, auth=AUTH, bounds=Bounds(mutations=10_000, failures=10_000))
    site = "https://jobs.example.com"
    async with client_of(app, "192.0.2.7", base_url=site, headers={"Origin": site}) as client:
        yield client
    app.close()


@pytest.mark.parametrize("route", TABLE, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_is_open_to_its_role_and_to_none_below(
    route: Route, closed: httpx.AsyncClient
) -> None:
    for role, headers in WHO.items():
        if route.media_type == "text/event-stream" and role >= route.role:
            continue  # It answers for as long as one listens; see test_events.py.
        if route.path == "/sign-in" and route.changes:
            continue  # Says no to whoever types nothing; see test_signing.py.
        # An answer that is wrong for any reason but who asks shows that the gate was passed.
        answer = await closed.request(route.method, path_of(route), headers=headers)
        if role >= route.role:
            assert answer.status_code not in (401, 403), (role, answer.text)
        elif role is Role.PUBLIC:
            signs_in = answer.status_code == 303 and "/sign-in" in answer.headers["location"]
            assert answer.status_code == 401 or signs_in, answer.text
        else:
            assert answer.status_code == 403, (role, answer.text)


def test_what_changes_something_is_never_for_readers_or_anybody() -> None:
    for route in TABLE:
        if route.changes and route.path not in ("/sign-in", "/sign-out"):
            assert route.role >= Role.OPERATE, route


def test_a_route_without_a_role_cannot_be_made() -> None:
    async def handler(call: object) -> None: ...

    with pytest.raises(TypeError):
        Route("GET", "/open", handler=handler)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="say which role may"):
        Route("GET", "/open", None, handler)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/nothing", "/api/v1/jobs/x/retry"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"])
async def test_who_is_not_known_does_not_learn_which_paths_there_are(
    path: str, method: str, closed: httpx.AsyncClient
) -> None:
    answer = await closed.request(method, path)
    assert answer.status_code == 401
    assert "allow" not in answer.headers
    assert "jobs" not in answer.json()["detail"]


async def test_a_known_one_is_told_what_a_path_takes(closed: httpx.AsyncClient) -> None:
    answer = await closed.request("PUT", "/api/v1/jobs", headers=WHO[Role.READ])
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    answer = await closed.get("/api/v1/nothing", headers=WHO[Role.READ])
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


# -- nobody is asked who they are -----------------------------------------------------------------


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.0.1", "::1"])
@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
async def test_without_credentials_this_machine_gets_in(
    client: str, host: str, service: JobService
) -> None:
    async with client_of(dashboard(service), client) as asking:
        answer = await asking.get("/api/v1/stats", headers={"Host": host})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("192.0.2.7", {}, 403),
        ("0.0.0.0", {}, 403),
        ("testclient", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, 403),
        ("127.0.0.1", {"X-Real-IP": "127.0.0.1"}, 403),
        ("127.0.0.1", {"Via": "1.1 proxy"}, 403),
        ("127.0.0.1", {"X-Forwarded-Server": "proxy"}, 403),
        ("127.0.0.1", {"X-Forwarded-Port": "443"}, 403),
        ("127.0.0.1", {"X-Original-Host": "jobs.example.com"}, 403),
        ("127.0.0.1", {"CF-Connecting-IP": "192.0.2.7"}, 403),
        ("127.0.0.1", {"True-Client-IP": "192.0.2.7"}, 403),
        ("127.0.0.1", {"X-Client-IP": "192.0.2.7"}, 403),
        ("127.0.0.1", {"Origin": "https://jobs.example.com"}, 403),
        ("127.0.0.1", {"Origin": "null"}, 403),
        ("127.0.0.1", {"Referer": "https://jobs.example.com/"}, 403),
        ("127.0.0.1", {"Referer": "http://[/"}, 403),
        ("127.0.0.1", {"Host": "jobs.example.com"}, 400),
        ("127.0.0.1", {"Host": "127.0.0.1.evil.example"}, 400),
        ("127.0.0.1", {"Host": "localhost.evil.example"}, 400),
        ("127.0.0.1", {"Host": ""}, 400),
    ],
)
async def test_without_credentials_nobody_else_does(
    client: str, headers: dict[str, str], status: int, service: JobService
) -> None:
    async with client_of(dashboard(service), client) as asking:
        answer = await asking.get("/api/v1/stats", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert "backroom web token" in answer.json()["detail"]


async def test_without_credentials_a_proxy_that_only_speaks_as_proxies_do_is_refused(
    service: JobService,
) -> None:
    """nginx with `proxy_pass http://127.0.0.1:8000;` and nothing else."""
    app = dashboard(service)

    async def as_proxy(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "http_version": "1.0"}, receive, send)

    async with client_of(as_proxy) as asking:
        headers = {"Host": "127.0.0.1:8000", "Connection": "close"}
        answer = await asking.get("/api/v1/stats", headers=headers)
    assert answer.status_code == 403


# -- credentials ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer br_wrong",
        f"Bearer {READER}x",
        f"Bearer {READ.sha256}",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"reader:wrong").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        "Digest reader",
        "\udcff",
    ],
    ids=range(11),  # A token is another one in each process.
)
async def test_a_wrong_credential_is_no_credential(header: str, closed: httpx.AsyncClient) -> None:
    raw = header.encode("utf-8", "surrogateescape")
    answer = await closed.get("/api/v1/stats", headers={b"Authorization": raw})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_token_may_stand_for_the_password_that_a_browser_asks_for(
    closed: httpx.AsyncClient,
) -> None:
    answer = await closed.get("/api/v1/stats", auth=("anything", READER))
    assert answer.status_code == 200


async def test_a_user_has_a_password(service: JobService, web: Web) -> None:
    ada = BasicAuth.make("ada", "operate", "correct horse")
    client = web(auth=[ada])
    assert (await client.get("/api/v1/stats", auth=("ada", "correct horse"))).status_code == 200
    assert (await client.get("/api/v1/stats", auth=("ada", "correct house"))).status_code == 401
    assert (await client.get("/api/v1/stats", auth=("bob", "correct horse"))).status_code == 401
    wrong = await client.get("/api/v1/stats")
    assert "Basic" in wrong.headers["www-authenticate"]
    from_page = await client.get("/api/v1/stats", headers={"Sec-Fetch-Mode": "cors"})
    assert "Basic" not in from_page.headers["www-authenticate"]


async def test_wrong_passwords_are_counted_and_right_ones_are_not_refused_for_them(
    service: JobService, web: Web
) -> None:
    client = web(auth=[READ], bounds=Bounds(failures=3))
    statuses = [
        (await client.get("/api/v1/stats", headers={"Authorization": "Bearer no"})).status_code
        for _ in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]
    answer = await client.get("/api/v1/stats", headers=WHO[Role.READ])
    assert answer.status_code == 200


async def test_passwords_that_come_at_once_are_not_all_tried(
    service: JobService, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = BasicAuth.make("ada", "operate", "correct horse")
    tried: list[str] = []
    fits = BasicAuth.fits

    def counted(self: BasicAuth, password: str) -> bool:
        tried.append(password)
        return fits(self, password)

    monkeypatch.setattr(BasicAuth, "fits", counted)
    client = web(auth=[ada], bounds=Bounds(failures=4))
    guesses = [client.get("/api/v1/stats", auth=("ada", f"guess {n}")) for n in range(30)]
    statuses = [answer.status_code for answer in await asyncio.gather(*guesses)]
    assert (statuses.count(401), statuses.count(429)) == (4, 26)
    assert len(tried) == 4


async def test_no_more_passwords_wait_than_can_be_hashed_soon(service: JobService) -> None:
    ada = BasicAuth.make("ada", "operate", "correct horse")
    app = dashboard(service, auth=[ada])

    async def guess(number: int) -> int:
        async with client_of(app, f"192.0.2.{number}") as client:
            return (await client.get("/api/v1/stats", auth=("ada", f"no {number}"))).status_code

    statuses = await asyncio.gather(*(guess(number) for number in range(30)))
    assert (statuses.count(401), statuses.count(503)) == (MOST_WAITING, 30 - MOST_WAITING)


async def test_a_right_password_that_comes_often_at_once_is_hashed_once(
    service: JobService, web: Web
) -> None:
    client = web(auth=[BasicAuth.make("ada", "read", "correct horse")], bounds=Bounds(failures=2))
    for _ in range(2):
        asked = [client.get("/api/v1/stats", auth=("ada", "correct horse")) for _ in range(20)]
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_who_was_let_in_is_not_refused_for_the_nonsense_of_others(
    service: JobService, web: Web
) -> None:
    client = web(auth=[BasicAuth.make("ada", "read", "correct horse")], bounds=Bounds(failures=3))
    assert (await client.get("/api/v1/stats", auth=("ada", "correct horse"))).status_code == 200
    for _ in range(5):
        await client.get("/api/v1/stats", headers={"Authorization": "Nonsense"})
    assert (await client.get("/api/v1/stats", auth=("ada", "wrong"))).status_code == 429
    assert (await client.get("/api/v1/stats", auth=("ada", "correct horse"))).status_code == 200


async def test_all_addresses_of_one_network_are_counted_together(service: JobService) -> None:
    app = dashboard(service, auth=[READ], bounds=Bounds(failures=3))
    statuses = []
    for number in range(5):
        async with client_of(app, f"2001:db8:0:1::{number}") as client:
            answer = await client.get("/api/v1/stats", headers={"Authorization": "Bearer no"})
            statuses.append(answer.status_code)
    assert statuses == [401, 401, 401, 429, 429]
    async with client_of(app, "2001:db8:0:2::1") as client:
        answer = await client.get("/api/v1/stats", headers={"Authorization": "Bearer no"})
        assert answer.status_code == 401


async def test_a_wrong_credential_is_logged_without_what_was_said(
    service: JobService, web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    client = web(auth=[BasicAuth.make("ada", "read", "correct horse")])
    await client.get("/api/v1/stats", auth=("ada", "a wrong one"))
    await client.get("/api/v1/stats", auth=("my-password", ""))
    assert "from 127.0.0.1, for 'ada'" in caplog.text
    assert "for a name that is not known" in caplog.text
    assert "a wrong one" not in caplog.text
    assert "my-password" not in caplog.text


def test_a_credential_survives_being_written_down() -> None:
    ada = BasicAuth.make("ada", "admin", "correct horse")
    lines = ["# who may", "", READ.line, ada.line]
    first, second = read_credentials(lines, "tokens.txt")
    assert isinstance(first, Token)
    assert isinstance(second, BasicAuth)
    assert first.fits(READER)
    assert not first.fits(OPERATOR)
    assert second.fits("correct horse")
    assert not second.fits("correct horsE")
    assert READER not in repr(first) + first.line


@pytest.mark.parametrize(
    "line",
    [
        "reader",
        "reader:read:md5:abc",
        "reader:read:sha256:abc",
        f"reader:root:sha256:{READ.sha256}",
        f"read er:read:sha256:{READ.sha256}",
        "ada:read:scrypt:1:1:1:AAAA:AAAA",
        "ada:read:scrypt:16384:8:5:AAAAAAAAAAAAAAAAAAAAAA==:AAAA",
    ],
    ids=range(7),
)
def test_a_line_that_is_no_credential_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(ConfigurationError, match=r"tokens\.txt, line 2: "):
        read_credentials(["", line], "tokens.txt")


def test_two_credentials_of_one_name_are_refused(service: JobService) -> None:
    with pytest.raises(ConfigurationError, match="two credentials"):
        dashboard(service, auth=[READ, READ])


# -- the host application's own -------------------------------------------------------------------


async def test_the_host_application_may_say_who_asks(service: JobService, web: Web) -> None:
    async def authenticate(request: Request) -> Identity | None:
        user = request.headers.get("x-user")
        return None if user is None else Identity(user, Role.READ)

    client = web(authenticate=authenticate)
    assert (await client.get("/api/v1/stats")).status_code == 401
    assert (await client.get("/api/v1/stats", headers={"X-User": "ada"})).status_code == 200
    paused = await client.post("/api/v1/queues/default/pause", headers={"X-User": "ada"}, json=None)
    assert paused.status_code == 403


async def test_an_answer_that_is_no_identity_lets_nobody_in(service: JobService, web: Web) -> None:
    client = web(authenticate=lambda request: "ada")
    assert (await client.get("/api/v1/stats")).status_code == 500
