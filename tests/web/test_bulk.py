"""Many jobs by a filter, changed behind the answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from backroom import JobService
from backroom.stats import Count
from backroom.web import dashboard
from backroom.web.bulk import Operation, _Running

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


@pytest.mark.parametrize(
    ("state", "changed", "expected", "exact", "words", "share"),
    [
        ("running", 0, 1933, False, "0 of at least 1,933 changed", "0.0"),
        ("running", 1933, 1933, False, "1,933 changed", None),
        ("running", 12_000, 1933, False, "12,000 changed", None),
        ("done", 12_000, 1933, False, "12,000 changed", "1.0"),
        ("done", 1000, 1933, False, "1,000 of at least 1,933 changed", "1.0"),
        ("running", 3, 12, True, "3 of 12 changed", "0.25"),
        ("done", 12, 12, True, "12 of 12 changed", "1.0"),
        ("done", 13, 12, True, "13 changed", "1.0"),
        ("stopped", 12_000, 1933, False, "12,000 changed", "none"),
    ],
)
async def test_how_far_it_is_is_told_in_numbers_that_make_sense(
    service: JobService, web: Web, state: str, changed: int, expected: int, exact: bool,
    words: str, share: str | None,
) -> None:  # fmt: skip
    app = dashboard(service)
    one = Operation(
        id="x", verb="reschedule", which={"status": "scheduled"}, actor="ada",
        state=state, expected=expected, exact=exact, changed=changed,  # type: ignore[arg-type]
        begun_at=datetime.now(UTC),
    )  # fmt: skip
    app.house.bulk._known["x"] = _Running(one)
    page = (await web(app).get("/operations/x")).text
    [said] = re.findall(r'<div class="progress"[^>]*><span>(.*?)</span>\n', page)
    assert re.sub(r"<[^>]+>", "", said) == words
    bar = re.findall(r'<progress max="1"(?: value="([^"]*)")? aria', page)
    assert bar == ([] if share == "none" else [share or ""])
    # What runs is looked at each second, what does not as any page.
    assert ("data-moving" in page) == (state == "running")
    told = (await web(app).get("/api/v1/operations/x")).json()
    assert (told["expected"], told["exact"]) == (expected, exact)


async def test_what_could_not_be_counted_to_its_end_says_for_how_long_it_was(
    service: JobService, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scheduled(service, 3)

    async def cut_short(**which: object) -> Count:
        return Count(3630, False)

    client = web()
    page = (await client.get("/bulk?verb=cancel&status=scheduled&queue=default")).text
    assert "Cancel <b" in page
    assert "at least" not in page
    monkeypatch.setattr(service, "count_jobs", cut_short)
    page = (await client.get("/bulk?verb=cancel&type=HELLO")).text
    assert 'at least <b class="num">3,630</b> jobs (it was counted for 50\xa0ms) with' in page
