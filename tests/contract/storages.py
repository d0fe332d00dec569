"""Every storage, one line each: what tests run over all of them, and none of them by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from backroom.storage import FileJobStorage, MemoryJobStorage
from backroom.storage.postgres import DatabaseJobStorage
from tests.contract.parts import MakeStore
from tests.servers.binaries import Binaries
from tests.servers.fixtures import other_version, shared_pgbouncer, shared_place

__all__ = ["STORAGES", "WAYS", "Prepare", "other_server"]

Prepare = Callable[[Path], AbstractAsyncContextManager[MakeStore]]
"""Makes ready what a kind of storage needs for one test, and clears it away afterwards."""


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[MakeStore]:
    yield lambda clock, retention: MemoryJobStorage(retention=retention, clock=clock)


@asynccontextmanager
async def file(folder: Path) -> AsyncIterator[MakeStore]:
    yield lambda clock, retention: FileJobStorage(folder / "jobs", retention=retention, clock=clock)


@asynccontextmanager
async def postgres(folder: Path, binaries: Binaries | None = None) -> AsyncIterator[MakeStore]:
    with shared_place(binaries) as place:
        yield lambda clock, retention: DatabaseJobStorage(
            place.url, schema=place.schema, retention=retention, clock=clock
        )


@asynccontextmanager
async def postgres_behind_a_proxy(folder: Path) -> AsyncIterator[MakeStore]:
    """Which gives each transaction another session."""
    bouncer = shared_pgbouncer()
    with shared_place() as place:
        yield lambda clock, retention: DatabaseJobStorage(
            bouncer.of(place.url), schema=place.schema, retention=retention, clock=clock,
            pooled=True, listen_url=place.url,
        )  # fmt: skip


STORAGES: dict[str, Prepare] = {"memory": memory, "file": file, "postgres": postgres}
WAYS: dict[str, Prepare] = {"postgres-behind-a-proxy": postgres_behind_a_proxy}
"""Other ways to them, which change nothing of what they are."""


def other_server() -> dict[str, Prepare]:
    """A PostgreSQL of another version, if there is one here."""
    other = other_version()
    return {} if other is None else {f"postgres{other.version}": partial(postgres, binaries=other)}
