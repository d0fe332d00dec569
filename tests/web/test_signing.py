"""Signing in with a browser, and what a cookie is good for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import httpx
import pytest

from backroom import ConfigurationError, JobService
from backroom.web import BasicAuth, Token, dashboard
from backroom.web.sessions import COOKIE, LASTS, Sessions
from tests.web.conftest import client_of

SITE = "https://jobs.example.com"
SECRET, READ = Token.make("reader", "read")
ADA = BasicAuth.make("ada", "operate", "correct horse")
KEY = "a secret of at least thirty-two characters"


@pytest.fixture
async def browser(service: JobService) -> AsyncIterator[httpx.AsyncClient]:
    app = dashboard(service, auth=[READ, ADA], session_secret=KEY)
    async with client_of(app, "192.0.2.7", base_url=SITE, headers={"Origin": SITE}) as client:
        yield client


async def test_who_is_not_known_is_led_to_the_form_and_back(browser: httpx.AsyncClient) -> None:
    led = await browser.get("/api/v1/stats")
    assert led.status_code == 401  # A program is told, and led nowhere.
    led = await browser.get("/jobs?status=failed")
    assert (led.status_code, led.headers["location"]) == (
        303, "/sign-in?then=%2Fjobs%3Fstatus%3Dfailed"
    )  # fmt: skip
    form = await browser.get(led.headers["location"])
    assert (form.status_code, "/jobs?status=failed" in form.text) == (200, True)
    back = await browser.post("/sign-in", data={"secret": SECRET, "then": "/jobs?status=failed"})
    assert (back.status_code, back.headers["location"]) == (303, "/jobs?status=failed")
    assert (await browser.get("/api/v1/stats")).status_code == 200


async def test_the_cookie_is_for_us_alone(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/sign-in", data={"secret": SECRET})
    cookie = answer.headers["set-cookie"].lower()
    for word in ("httponly", "samesite=lax", "secure", "path=/", f"max-age={LASTS}"):
        assert word in cookie
    assert SECRET not in answer.headers["set-cookie"]


async def test_the_cookie_is_for_tls_alone_where_a_proxy_speaks_it(service: JobService) -> None:
    app = dashboard(service, auth=[READ])
    for site, secure in [(SITE, True), ("http://jobs.example.com", False)]:
        headers = {"Origin": site}
        async with client_of(app, base_url="http://jobs.example.com", headers=headers) as client:
            answer = await client.post("/sign-in", data={"secret": SECRET})
            assert ("secure" in answer.headers["set-cookie"].lower()) == secure


async def test_a_user_signs_in_with_a_name_and_a_password(browser: httpx.AsyncClient) -> None:
    wrong = await browser.post("/sign-in", data={"name": "ada", "secret": "wrong"})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    right = await browser.post("/sign-in", data={"name": "ada", "secret": "correct horse"})
    assert right.status_code == 303
    assert (await browser.post("/api/v1/queues/default/pause")).status_code == 204


async def test_a_cookie_has_the_role_of_its_credential(browser: httpx.AsyncClient) -> None:
    await browser.post("/sign-in", data={"secret": SECRET})
    assert (await browser.post("/api/v1/queues/default/pause")).status_code == 403


async def test_signing_out_takes_the_cookie_away(browser: httpx.AsyncClient) -> None:
    await browser.post("/sign-in", data={"secret": SECRET})
    out = await browser.post("/sign-out")
    assert (out.status_code, browser.cookies.get(COOKIE)) == (303, None)
    assert (await browser.get("/api/v1/stats")).status_code == 401


@pytest.mark.parametrize(
    "then",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example",
     "javascript:alert(1)", "/\t/evil.example", "evil", "///evil.example", "//[", "http://["],
)  # fmt: skip
async def test_nobody_is_led_to_another_site(then: str, browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/sign-in", data={"secret": SECRET, "then": then})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


@pytest.mark.parametrize("then", ["//[", "http://[/", "/jobs?path=x&self=y"])
async def test_an_address_that_makes_no_sense_harms_nothing(
    then: str, browser: httpx.AsyncClient
) -> None:
    assert (await browser.get("/sign-in", params={"then": then})).status_code == 200
    answer = await browser.post("/sign-in", data={"secret": SECRET, "then": then})
    wanted = then if then.startswith("/jobs") else "/"
    assert (answer.status_code, answer.headers["location"]) == (303, wanted)


def test_a_cookie_ends_with_its_time_or_with_its_credential() -> None:
    now = time.time()
    sessions = Sessions({"reader": READ, "ada": ADA}, KEY)
    value = sessions.make(READ, now)
    assert sessions.read(value, now) is READ
    assert sessions.read(value, now + LASTS) is None
    assert Sessions({"ada": ADA}, KEY).read(value, now) is None
    changed = Token.make("reader", "read").token
    assert Sessions({"reader": changed}, KEY).read(value, now) is None
    promoted = Token("reader", "admin", READ.sha256)
    assert Sessions({"reader": promoted}, KEY).read(value, now) is None
    assert Sessions({"reader": READ}, None).read(value, now) is None


@pytest.mark.parametrize(
    "forged", ["", ".", "x", "x.y", "e30.", "WyJyZWFkZXIiXQ.0", "\udcff.\udcff", "é.é"]
)
def test_a_forged_cookie_is_nobodys(forged: str) -> None:
    assert Sessions({"reader": READ}, KEY).read(forged, time.time()) is None


def test_a_cookie_that_was_changed_is_nobodys() -> None:
    sessions = Sessions({"reader": READ, "ada": ADA}, KEY)
    value = sessions.make(READ, time.time())
    for place in range(len(value)):
        other = "A" if value[place] != "A" else "B"
        changed = value[:place] + other + value[place + 1 :]
        found = sessions.read(changed, time.time())
        assert found is None, place


def test_a_short_secret_is_refused(service: JobService) -> None:
    with pytest.raises(ConfigurationError, match="at least 32 characters"):
        dashboard(service, session_secret="short")


async def test_a_secret_of_the_environment_is_taken_where_none_is_given(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two processes that answer for one name, the other knows who has signed in here."""
    monkeypatch.setenv("BACKROOM_WEB_SECRET", KEY)
    apps = [dashboard(service, auth=[READ]) for _ in range(2)]
    headers = {"Origin": SITE}
    async with client_of(apps[0], base_url=SITE, headers=headers) as client:
        await client.post("/sign-in", data={"secret": SECRET})
        cookies = client.cookies
    async with client_of(apps[1], base_url=SITE, headers=headers) as client:
        client.cookies = cookies
        assert (await client.get("/api/v1/stats")).status_code == 200
