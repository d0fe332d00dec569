"""Fixtures of the contract: a place for jobs in every kind of storage, and a clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.parts import Bench, Place, SettableClock
from tests.contract.storages import STORAGES, Prepare


@pytest.fixture(params=list(STORAGES.values()), ids=list(STORAGES))
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
