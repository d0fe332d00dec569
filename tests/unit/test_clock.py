"""The machine's clock."""

from __future__ import annotations

import sys
import time

import pytest

from backroom.clock import SystemClock


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts a suspend")
def test_uptime_goes_on_while_the_machine_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is after a suspend of an hour, which the monotonic clock has slept through."""
    clocks = {time.CLOCK_MONOTONIC: 100.0, time.CLOCK_BOOTTIME: 3700.0}
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)
    assert SystemClock().uptime() == 3700.0


def test_the_wall_clock_is_told_in_microseconds() -> None:
    before = time.time()
    now = SystemClock().now() / 1_000_000
    assert before - 0.001 <= now <= time.time()
