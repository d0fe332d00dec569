"""How many workers a backlog needs."""

from __future__ import annotations

from typing import Any

import pytest

from backroom.scaling import Demand, wanted_workers
from backroom.sizes import BOUNDS, Sizes


@pytest.mark.parametrize(
    ("backlog", "active", "duration", "wanted"),
    [
        (0, 0, None, 0),  # nothing to do
        (0, 11, 1.0, 3),  # what runs keeps its slots
        (1, 0, 0.001, 1),  # one job, however short
        (100, 0, None, 20),  # each takes a slot of its own, as far as is known
        (100, 0, 1.0, 2),  # a slot does ten of them in ten seconds
        (100, 5, 1.0, 3),  # beside what runs
        (3, 0, 3600.0, 1),  # three long jobs need three slots, not a thousand
    ],
)
def test_as_many_workers_are_wanted_as_clear_the_backlog_in_time(
    backlog: int, active: int, duration: float | None, wanted: int
) -> None:
    demand = Demand(backlog=backlog, active=active, duration=duration)
    assert wanted_workers(demand, slots=5, target=10) == wanted


def test_a_backlog_that_grows_old_wants_one_more_than_there_are() -> None:
    demand = Demand(backlog=10, active=0, oldest=11, workers=7, duration=0.01)
    assert wanted_workers(demand, slots=5, target=10) == 8
    demand = Demand(backlog=10, active=0, oldest=9, workers=7, duration=0.01)
    assert wanted_workers(demand, slots=5, target=10) == 1


def test_the_answer_keeps_to_its_bounds() -> None:
    some: dict[str, Any] = {"slots": 1, "target": 1, "least": 2, "most": 4}
    assert wanted_workers(Demand(backlog=0, active=0), **some) == 2
    assert wanted_workers(Demand(backlog=1000, active=0), **some) == 4


def test_sizes_are_counted_by_the_smallest_bound_that_holds_them() -> None:
    sizes = Sizes()
    for size in (0, 1, 2, 3, 4, 5, 4096, 4097):
        sizes.add(size)
    counted = dict(zip((*BOUNDS, None), sizes.counts, strict=True))
    assert {bound: count for bound, count in counted.items() if count} == {
        1: 2, 2: 1, 4: 2, 8: 1, 4096: 1, None: 1,
    }  # fmt: skip
    assert sizes.total == 8208
