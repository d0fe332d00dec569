"""Fixtures of the contract: a place for jobs in every kind of storage, and a clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.parts import Bench, Place, SettableClock
from tests.contract.storages import STORAGES, WAYS, Prepare, other_server

CORE = ("test_bad_items", "test_direct_claims", "test_fences")
"""What also runs on a PostgreSQL of another version, the newest beside the oldest: these use most
of what the statements use of a server, and take some seconds."""
ANY_WAY = (
    "test_claims", "test_fences", "test_giving_back", "test_leases", "test_schedules",
    "test_unique_keys", "test_versions",
)  # fmt: skip
"""What is tried on every way to a storage."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        core = metafunc.module.__name__.rpartition(".")[2] in CORE
        storages = STORAGES | (other_server() if core else {})
        if metafunc.module.__name__.rpartition(".")[2] in ANY_WAY:
            storages |= WAYS
        metafunc.parametrize("place", list(storages.values()), ids=list(storages), indirect=True)


@pytest.fixture
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
