"""Every storage, one line each: what tests run over all of them, and none of them by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from backroom.storage import FileJobStorage, MemoryJobStorage
from backroom.storage.postgres import DatabaseJobStorage
from tests.contract.parts import START, MakeStore, SettableClock
from tests.servers.binaries import Binaries
from tests.servers.fixtures import (
    WEEK,
    PostgresPlace,
    made_place,
    other_version,
    shared_pgbouncer,
    shared_place,
)

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
    with ExitStack() as stack:
        places: list[PostgresPlace] = []

        def make(clock: SettableClock, retention: float | None) -> DatabaseJobStorage:
            if not places:
                # Most tests begin with a storage like any other: its tables are copied.
                ready = made_place(binaries, START) if retention == WEEK else shared_place(binaries)
                places.append(stack.enter_context(ready))
            [place] = places
            return DatabaseJobStorage(
                place.url, schema=place.schema, retention=retention, clock=clock
            )

        yield make


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
