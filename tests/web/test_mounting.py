"""Under a prefix, in other applications, and behind proxies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import backroom.blocking
from backroom import ConfigurationError, JobService
from backroom.web import Bounds, Token, dashboard, openapi
from backroom.web.openapi import described
from tests.web.conftest import client_of

Web = Callable[..., httpx.AsyncClient]
SECRET, ADMIN = Token.make("owner", "admin")


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
@pytest.mark.parametrize("prefix", ["/jobs", "/a/b"])
async def test_a_dashboard_is_mounted_under_any_path(
    kind: Callable[[], Any], prefix: str, service: JobService
) -> None:
    host = kind()
    host.mount(prefix, dashboard(service))
    async with client_of(host) as client:
        assert (await client.get(f"{prefix}/api/v1/stats")).status_code == 200
        made = await client.post(f"{prefix}/api/v1/jobs", json={"type": "HELLO"})
        assert made.headers["location"].startswith(f"{prefix}/api/v1/jobs/")
        assert (await client.get(made.headers["location"])).status_code == 200
        document = (await client.get(f"{prefix}/api/v1/openapi.json")).json()
        assert document["servers"] == [{"url": prefix}]
        assert (await client.get(f"{prefix}/nothing")).status_code == 404
        assert (await client.get("/api/v1/stats")).status_code == 404


async def test_the_document_of_the_api_is_made_once_for_all_paths_that_lead_to_it(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def describe(*args: Any) -> dict[str, Any]:
        made.append("document")
        return described(*args)

    monkeypatch.setattr(openapi, "described", describe)
    app, host = dashboard(service), Starlette()
    for prefix in ("/one", "/two"):
        host.mount(prefix, app)
    async with client_of(host) as client:
        documents = [
            (await client.get(f"{prefix}/api/v1/openapi.json")).json()
            for prefix in ("/one", "/two", "/one")
        ]
    assert made == ["document"]
    assert [one["servers"] for one in documents] == [
        [{"url": "/one"}], [{"url": "/two"}], [{"url": "/one"}],
    ]  # fmt: skip
    assert {**documents[0], "servers": documents[1]["servers"]} == documents[1]
    assert set(documents[0]) == set(described(app.table, "/one", "Backroom"))


async def test_one_mounted_within_another_finds_its_path(service: JobService) -> None:
    inner, outer = Starlette(), Starlette()
    inner.mount("/jobs", dashboard(service))
    outer.mount("/admin", inner)
    async with client_of(outer) as client:
        assert (await client.get("/admin/jobs/api/v1/stats")).status_code == 200


async def test_signing_in_under_a_prefix_stays_there(service: JobService) -> None:
    host = Starlette()
    host.mount("/jobs", dashboard(service, auth=[ADMIN]))
    async with client_of(host, headers={"Origin": "http://127.0.0.1"}) as client:
        led = await client.get("/jobs/")
        assert led.headers["location"] == "/jobs/sign-in?then=%2F"
        back = await client.post("/jobs/sign-in", data={"secret": SECRET, "then": "/"})
        assert back.headers["location"] == "/jobs/"
        assert "path=/jobs/" in back.headers["set-cookie"].lower()
        assert (await client.get("/jobs/api/v1/stats")).status_code == 200


async def test_a_page_is_never_led_out_of_the_prefix(service: JobService) -> None:
    host = Starlette()
    host.mount("/jobs", dashboard(service))
    async with client_of(host) as client:
        page = await client.get("/jobs/", headers={"Accept": "text/html"})
        assert page.status_code == 200
        for link in ('href="/', 'src="/', 'action="/'):
            for part in page.text.split(link)[1:]:
                assert part.startswith("jobs/"), part[:60]


async def test_a_service_that_is_not_open_is_opened_by_the_first_look() -> None:
    service = JobService("memory:")
    try:
        async with client_of(dashboard(service)) as client:
            assert (await client.get("/api/v1/stats")).status_code == 200
    finally:
        await service.stop(0)


async def test_behind_a_proxy_that_is_believed_the_client_and_the_scheme_are_its_word(
    service: JobService,
) -> None:
    """As `backroom web --proxy 10.0.0.1` does it."""
    app = ProxyHeadersMiddleware(
        dashboard(service, auth=[ADMIN], bounds=Bounds(failures=1)),  # type: ignore[arg-type]
        trusted_hosts="10.0.0.1",
    )

    def passed_on(client: str) -> dict[str, str]:
        return {"X-Forwarded-For": client, "X-Forwarded-Proto": "https",
                "Origin": "https://jobs.example.com"}  # fmt: skip

    async with client_of(app, "10.0.0.1", base_url="http://jobs.example.com") as client:
        answer = await client.post(
            "/sign-in", data={"secret": SECRET}, headers=passed_on("192.0.2.1")
        )
        assert "secure" in answer.headers["set-cookie"].lower()
        client.cookies.clear()
        wrong = {"Authorization": "Bearer wrong"}
        statuses = [
            (await client.get("/api/v1/stats", headers={**wrong, **passed_on(who)})).status_code
            for who in ("192.0.2.1", "192.0.2.1", "192.0.2.2")
        ]
        assert statuses == [401, 429, 401]


def test_what_is_no_service_with_asyncio_is_refused() -> None:
    blocking = backroom.blocking.JobService("memory:")
    with pytest.raises(ConfigurationError, match=r"give its \.service"):
        dashboard(blocking)  # type: ignore[arg-type]


async def test_a_service_that_was_stopped_says_so(service: JobService) -> None:
    await service.stop(0)
    async with client_of(dashboard(service)) as client:
        answer = await client.get("/api/v1/stats")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "was stopped" in answer.json()["detail"]
