"""The pytest plugin: `jobs`, and what it stands on. Imports nothing before a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from backroom.service import JobService
    from backroom.testing import Jobs, TestStorage


@pytest.fixture
def backroom_storage() -> Iterator[TestStorage]:
    """A fresh storage in memory, with a clock that a test can move."""
    from backroom.testing.storage import TestStorage

    storage = TestStorage()
    storage.at_once(storage.open())
    yield storage
    storage.forget()


@pytest.fixture
def backroom_service() -> JobService:
    """Your service: override this fixture."""
    raise pytest.UsageError(
        "the fixture `jobs` needs your JobService: define, in conftest.py,\n\n"
        "    @pytest.fixture\n"
        "    def backroom_service():\n"
        "        return service  # the JobService of your application\n"
    )


@pytest.fixture
def jobs(backroom_service: JobService, backroom_storage: TestStorage) -> Iterator[Jobs]:
    """Your service on a fresh storage in memory: its jobs run when the test says so."""
    from backroom.testing.jobs import kit

    with kit(backroom_service, storage=backroom_storage) as jobs:
        yield jobs
