"""Every storage, one line each: what tests run over all of them, and none of them by name."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import asyncpg

from backroom.storage import FileJobStorage, MemoryJobStorage
from backroom.storage.postgres import DatabaseJobStorage
from tests.contract.parts import MakeStore

__all__ = ["STORAGES", "Prepare"]

Prepare = Callable[[Path], AbstractAsyncContextManager[MakeStore]]
"""Makes ready what a kind of storage needs for one test, and clears it away afterwards."""


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[MakeStore]:
    yield lambda clock, retention: MemoryJobStorage(retention=retention, clock=clock)


@asynccontextmanager
async def file(folder: Path) -> AsyncIterator[MakeStore]:
    yield lambda clock, retention: FileJobStorage(folder / "jobs", retention=retention, clock=clock)


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[MakeStore]:
    url, schema = os.environ["TEST_DATABASE_URL"], f"test_{uuid.uuid4().hex[:16]}"
    yield lambda clock, retention: DatabaseJobStorage(
        url, schema=schema, retention=retention, clock=clock
    )
    connection = await asyncpg.connect(url)
    await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    await connection.close()


STORAGES: dict[str, Prepare] = {"memory": memory, "file": file, "postgres": postgres}
