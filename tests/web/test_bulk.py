"""Many jobs by a filter, changed behind the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

from backroom import JobService

Web = Callable[..., httpx.AsyncClient]


async def scheduled(service: JobService, jobs: int) -> None:
    for number in range(jobs):
        await service.schedule("HELLO", {"number": number}, delay=3600)


async def until_ended(client: httpx.AsyncClient, address: str) -> dict[str, object]:
    while True:
        operation: dict[str, object] = (await client.get(address)).json()
        if operation["state"] != "running":
            return operation
        await asyncio.sleep(0)


async def test_all_that_match_are_changed_and_counted(service: JobService, web: Web) -> None:
    client = web()
    await scheduled(service, 30)
    counted = await client.get("/api/v1/jobs/count?status=scheduled&type=HELLO")
    assert counted.json() == {"jobs": 30, "exact": True}
    begun = await client.post("/api/v1/operations", json={"verb": "cancel", "type": "HELLO"})
    assert begun.status_code == 202
    ended = await until_ended(client, begun.headers["location"])
    assert (ended["state"], ended["changed"], ended["expected"]) == ("done", 30, 30)
    assert (await service.get_stats()).by_status["cancelled"] == 30


async def test_without_a_filter_nothing_is_changed(service: JobService, web: Web) -> None:
    await scheduled(service, 3)
    refused = await web().post("/api/v1/operations", json={"verb": "cancel"})
    assert refused.status_code == 422
    assert "needs a filter" in refused.json()["detail"]
    assert (await service.get_stats()).by_status["scheduled"] == 3


async def test_a_filter_that_the_verb_refuses_is_refused_at_once(web: Web) -> None:
    refused = await web().post("/api/v1/operations", json={"verb": "retry", "status": "active"})
    assert refused.status_code == 422
    assert (await web().get("/api/v1/operations")).json() == []


async def test_an_operation_that_nobody_knows_is_not_found(web: Web) -> None:
    assert (await web().get("/api/v1/operations/none")).status_code == 404
    same = {"Sec-Fetch-Site": "same-origin"}
    assert (await web().post("/api/v1/operations/none/stop", headers=same)).status_code == 404


async def test_the_page_asks_before_it_changes_anything(service: JobService, web: Web) -> None:
    client = web()
    await scheduled(service, 5)
    page = await client.get("/bulk?verb=cancel&type=HELLO")
    assert '<b class="num">5</b> jobs' in page.text
    assert (await service.get_stats()).by_status["scheduled"] == 5
    form = {"verb": "cancel", "type": "HELLO"}
    begun = await client.post("/bulk", data=form, headers={"Sec-Fetch-Site": "same-origin"})
    assert begun.status_code == 303
    told = await client.get(begun.headers["location"])
    assert "Cancel all that match" in told.text
    await until_ended(client, f"/api/v1{begun.headers['location']}")
    assert (await service.get_stats()).by_status["cancelled"] == 5
