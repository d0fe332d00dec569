"""What the record of what people did says, and where its page leads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from backroom import JobService
from backroom.web import Role, dashboard
from backroom.web.access import Identity
from tests.web.conftest import client_of
from tests.web.test_operations import operation, some

Web = Callable[..., httpx.AsyncClient]


async def newest(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/api/v1/audit?limit=1")).json()["actions"][0]
    return found


async def test_a_filter_stands_apart_from_what_is_said_to_the_verb(
    service: JobService, web: Web
) -> None:
    await some(service, 2)
    client = web()
    body = {"verb": "reprioritize", "priority": "normal", "to_priority": "high"}
    begun = await client.post("/api/v1/operations", json=body)
    await operation(client, begun.headers["location"])
    told = await newest(client)
    assert told["detail"] == {"filter": {"priority": "normal"}, "priority": "high"}


async def test_a_text_in_a_filter_is_hidden_from_who_does_not_see_the_data(
    service: JobService,
) -> None:
    roles = {"one": Role.ADMIN, "two": Role.READ}
    for name, role in roles.items():
        app = dashboard(
            service, hide_data_from="read",
            authenticate=lambda request, name=name, role=role: Identity(name, role),
        )  # fmt: skip
        async with client_of(app, headers={"X-Backroom-Request": "1"}) as client:
            if name == "one":
                body = {"verb": "cancel", "text": "open sesame"}
                begun = await client.post("/api/v1/operations", json=body)
                await operation(client, begun.headers["location"])
            shown = "open sesame" in (await client.get("/api/v1/audit")).text
            assert shown == (name == "one")


async def test_what_was_made_is_named_and_led_to(service: JobService, web: Web) -> None:
    [job_id] = await some(service, 1)
    await service.every(3600, "HELLO", {}, name="hourly")
    client, jobs = web(), [job_id]
    for path in (f"/api/v1/jobs/{job_id}/copy", "/api/v1/schedules/hourly/run"):
        made = (await client.post(path, json={})).json()["id"]
        told = await newest(client)
        assert (told["outcome"], told["reason"]) == ("done", f"job {made}")
        jobs.append(made)
    await client.post("/api/v1/queues/a%20b/pause", json={})
    page = (await client.get("/audit")).text
    for there in (*(f"/jobs/{one}" for one in jobs), "/schedules/hourly", "/jobs?queue=a+b"):
        assert f'href="{there}"' in page, there


async def test_a_worker_is_named_by_what_is_shown_of_it(web: Web) -> None:
    service = JobService("memory:")
    async with service:
        [worker] = await service.get_workers()
        async with client_of(dashboard(service)) as client:
            await client.post(f"/api/v1/workers/{worker.id}/drain", json={})
            told = await newest(client)
    assert (told["target"], told["detail"]) == (f"worker {worker.name}", {"id": worker.id})


@pytest.mark.parametrize("path", ["/api/v1/jobs/%00/cancel", "/api/v1/jobs/%ff/cancel"])
async def test_what_no_record_can_hold_is_written_down_as_far_as_it_can(
    path: str, web: Web
) -> None:
    client = web()
    await client.post(path, json={})
    told = await newest(client)
    assert (told["verb"], told["target"], told["outcome"]) == ("cancel", "�", "refused")
