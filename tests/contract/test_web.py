"""The REST API over every storage: what it tells, and what it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from backroom import JobService
from backroom.web import dashboard
from tests.contract.parts import Bench

HOSTILE = (
    "<script>alert(1)</script>", "'; DROP TABLE job; --", "\x1b[31mred\x1b[0m\r\nforged",
    "\u202egpj", "%_\\", "a\x00b", "🦊" * 20, "{{7*7}}", "&amp;<b>", "\ufeff",
)  # fmt: skip


@pytest.fixture
async def client(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    service = JobService(bench.storage)
    service.declare("PAY")
    transport = httpx.ASGITransport(app=dashboard(service), client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client
    await service.stop(0)


async def made(client: httpx.AsyncClient, **said: Any) -> str:
    answer = await client.post("/api/v1/jobs", json={"type": "PAY", **said})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_a_job_is_made_found_and_steered(client: httpx.AsyncClient) -> None:
    job_id = await made(
        client, data={"cents": 2**70, "rate": 0.1}, tags=["vip"], delay=60, metadata={"k": [1]}
    )
    job = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (job["data"], job["tags"], job["status"]) == (
        {"cents": 2**70, "rate": 0.1}, ["vip"], "scheduled",
    )  # fmt: skip
    for path in ("jobs?tag=vip", f"jobs?text={job_id}", "jobs?status=scheduled&type=PAY"):
        assert [one["id"] for one in (await client.get(f"/api/v1/{path}")).json()["jobs"]] == [
            job_id
        ], path
    changed = await client.post(f"/api/v1/jobs/{job_id}/reprioritize", json={"priority": "high"})
    assert changed.json()["priority"] == "high"
    changed = await client.post(f"/api/v1/jobs/{job_id}/reschedule", json={"delay": 0})
    assert changed.json()["status"] == "pending"
    changed = await client.post(f"/api/v1/jobs/{job_id}/cancel", json={})
    assert changed.json()["status"] == "cancelled"
    stats = (await client.get("/api/v1/stats")).json()
    assert stats["by_status"]["cancelled"] == 1
    assert len((await client.get("/api/v1/audit")).json()["actions"]) == 4


async def test_pages_follow_one_another_to_the_end(client: httpx.AsyncClient) -> None:
    ids = [await made(client) for _ in range(7)]
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": 3, **({} if cursor is None else {"cursor": cursor})}
        page = (await client.get("/api/v1/jobs", params=query)).json()
        found += [one["id"] for one in page["jobs"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert found == ids[::-1]


async def test_all_that_match_are_changed(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await made(client, tags=["even" if number % 2 == 0 else "odd"], delay=60)
    begun = await client.post("/api/v1/operations", json={"verb": "cancel", "tag": "even"})
    location = begun.headers["location"]
    while (operation := (await client.get(location)).json())["state"] == "running":
        pass
    assert (operation["state"], operation["changed"], operation["expected"]) == ("done", 3, 3)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_text_that_wants_to_be_more_than_text_comes_back_as_it_was(
    text: str, client: httpx.AsyncClient
) -> None:
    job_id = await made(client, data={"text": text, text: [text]}, metadata={text: text})
    answer = await client.get(f"/api/v1/jobs/{job_id}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["data"] == {"text": text, text: [text]}
    assert answer.json()["metadata"] == {text: text}
    found = await client.get("/api/v1/jobs", params={"text": text[:200]})
    assert found.status_code == (422 if "\x00" in text else 200)
    # In all that takes a name it is that name, or refused; and nothing else happens.
    for path in ("jobs", "queues", "schedules", "workflows", "workers"):
        answer = await client.get(f"/api/v1/{path}/{quote(text, safe='')}")
        assert answer.status_code in (400, 404, 422), path
    for name in ("queue", "tag", "type", "error", "worker", "cursor"):
        status = (await client.get("/api/v1/jobs", params={name: text})).status_code
        assert status in (200, 400, 422), name
    key = {"Idempotency-Key": text.encode()}
    kept = await client.post("/api/v1/jobs", json={"type": "PAY"}, headers=key)
    assert kept.status_code in (201, 422)
    assert (await client.get("/api/v1/stats")).json()["by_status"]["pending"] <= 2
