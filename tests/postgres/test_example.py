"""The example that schedules within its transactions, as its clients see it."""

from __future__ import annotations

import importlib
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.process.parts import eventually_async
from tests.servers.postgres import Postgres


@pytest.fixture
def shop(postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The example, in a database of its own."""
    name = f"shop_{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("DATABASE_URL", postgres_server.create_database(name))
    yield importlib.import_module("examples.orders_app")
    del sys.modules["examples.orders_app"]
    postgres_server.drop_database(name)


async def test_no_order_without_its_job_and_no_job_without_its_order(shop: Any) -> None:
    transport = httpx.ASGITransport(app=shop.app)
    async with (
        shop.app.router.lifespan_context(shop.app),
        httpx.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        refused = await client.post("/orders/gold")
        assert (refused.status_code, refused.json()) == (402, {"detail": "no gold on credit"})
        bought = await client.post("/orders/tea")
        assert bought.status_code == 201
        await shop.service.result(bought.json()["job"], timeout=10)
        number = bought.json()["order"]

        async def billed() -> bool:
            found: bool = (await client.get("/orders")).json() == [
                {"id": number, "product": "tea", "bill": "tea: paid"}
            ]
            return found

        await eventually_async(billed, "the order is billed")
        jobs = list(await shop.service.get_jobs())
        assert [(job.status, job.data) for job in jobs] == [("completed", {"order": number})]
