"""Years of schedules in virtual time, and each tick is accounted for exactly once (promise 7). See
`tests/simulation/years.py`; more of them by `python3 dev.py simulate --years 3 --minutes 10`."""

from __future__ import annotations

import pytest

from tests.simulation.test_simulation import (
    Plant,
    skipped_without_a_word,
    tick_doubled,
    tick_lost,
    ticks_unfenced,
)
from tests.simulation.years import DAY, HOURLY_AND_DAILY, MANY, OFTEN, Years

BEFALLS = ("deaths", "answers lost", "clocks set", "clocks wrong", "pauses", "changes")
BECOMES = ("fired", "missed", "overlap", "paused")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_over_a_year_each_tick_is_decided_exactly_once(seed: int) -> None:
    year = Years(seed, MANY)
    await year.run(1)
    assert not await year.wrong()
    assert all(year.counts[what] > OFTEN for what in (*BEFALLS, *BECOMES)), year.counts
    await year.service.stop()


async def test_over_three_years_no_hour_and_no_day_is_lost_or_doubled() -> None:
    """In zones where clocks are set, on machines whose clocks are set as well."""
    years = Years(0, HOURLY_AND_DAILY, (3600.0, DAY, 3 * DAY))
    await years.run(3)
    assert not await years.wrong()
    assert all(years.counts[what] > OFTEN for what in (*BEFALLS, *BECOMES)), years.counts
    await years.service.stop()


@pytest.mark.parametrize(
    "plant",
    [ticks_unfenced, skipped_without_a_word, tick_lost, tick_doubled],
    ids=lambda plant: plant.__name__,
)
async def test_it_would_be_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    year = Years(0, HOURLY_AND_DAILY)
    await year.run(0.1)
    assert await year.wrong()
    await year.service.stop()
