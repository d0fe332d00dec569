"""What docs/transactions.md shows, done against a real server."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.postgres.django_project import django_connection
from tests.process.parts import eventually_async
from tests.servers.postgres import Postgres

PAGE = Path(__file__).parents[2] / "docs" / "transactions.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def url(postgres_server: Postgres) -> Iterator[str]:
    """A database of its own."""
    name = f"shop_{uuid.uuid4().hex[:12]}"
    url = postgres_server.create_database(name)
    postgres_server.execute(
        b"CREATE TABLE orders (product text PRIMARY KEY, confirmed boolean)", name
    )
    yield url
    postgres_server.drop_database(name)


async def test_what_the_page_shows(url: str) -> None:
    code = "\n".join(BLOCK.findall(PAGE.read_text()))
    place = url.removeprefix("postgresql:")
    code = code.replace("//localhost/shop", place)
    page: dict[str, Any] = {"__name__": "transactions_page"}
    exec(compile(code, PAGE.name, "exec"), page)

    connection = await asyncpg.connect(url)
    await page["order_by_sqlalchemy"]("tea")
    await page["order_by_asyncpg"](connection, "coffee")
    await page["order_to_pack"](connection, "honey")
    await asyncio.to_thread(page["order_by_psycopg"], "milk")
    await asyncio.to_thread(by_django, page["order_by_django"], url)
    for function in ("order_by_sqlalchemy",):  # The same order again is refused, and its job.
        with pytest.raises(Exception, match="duplicate key"):
            await page[function]("tea")
    service = page["service"]
    assert len(list(await service.get_jobs(type="CONFIRM"))) == 4

    async with service:

        async def confirmed() -> bool:
            rows = await connection.fetch("SELECT product FROM orders WHERE confirmed")
            return sorted(row[0] for row in rows) == ["coffee", "milk", "sugar", "tea"]

        await eventually_async(confirmed, "all orders are confirmed")
        assert len(list(await service.get_jobs(type="SHIP"))) == 4
        [packing] = await service.get_workflows()

        async def packed() -> bool:
            jobs = (await service.get_workflow(packing.id)).jobs
            return {job.type: str(job.status) for job in jobs} == {
                "PACK": "completed",
                "WEIGH": "pending",
                "LABEL": "blocked",
            }

        await eventually_async(packed, "the label waits for the weight")
    await asyncio.to_thread(page["jobs"].stop)
    await page["engine"].dispose()
    await connection.close()


def by_django(order: Any, url: str) -> None:
    with django_connection(urlsplit(url)):
        order("sugar")
