"""What a worker sets of its process."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.engine.world import World


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(("before", "after"), [(700, 10_000), (50_000, 50_000), (0, 0)])
async def test_garbage_is_collected_less_often_unless_the_application_says_so(
    world: World, before: int, after: int
) -> None:
    gc.set_threshold(before, 10, 10)
    await world.service().start()
    assert gc.get_threshold()[0] == after
