"""Every storage, one line each: the tests of the contract know none of them by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from backroom.storage import FileJobStorage, MemoryJobStorage
from tests.contract.parts import Bench, MakeStore, Place, SettableClock

Prepare = Callable[[Path], AbstractAsyncContextManager[MakeStore]]
"""Makes ready what a kind of storage needs for one test, and clears it away afterwards."""


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[MakeStore]:
    yield lambda clock, retention: MemoryJobStorage(retention=retention, clock=clock)


@asynccontextmanager
async def file(folder: Path) -> AsyncIterator[MakeStore]:
    yield lambda clock, retention: FileJobStorage(folder / "jobs", retention=retention, clock=clock)


STORAGES: dict[str, Prepare] = {"memory": memory, "file": file}


@pytest.fixture(params=STORAGES.values(), ids=STORAGES.keys())
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, clock: SettableClock
) -> AsyncIterator[Place]:
    prepare: Prepare = request.param
    async with prepare(tmp_path) as make:
        place = Place(make, clock)
        yield place
        await place.close()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
async def bench(place: Place) -> Bench:
    return await place.open()
