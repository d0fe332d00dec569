"""A process that fires one tick, as a worker does, and may be killed in the middle of it."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from backroom.schedule import Firing
from tests.postgres.parts import storage
from tests.servers.fixtures import PostgresPlace


async def _fire(url: str, schema: str, firing: str) -> None:
    store = storage(PostgresPlace(url, schema))
    await store.open()
    print(await store.fire([msgspec.json.decode(firing, type=Firing)], store.clock.now()))
    await store.close()


if __name__ == "__main__":
    asyncio.run(_fire(*sys.argv[1:]))
