"""Ten thousand schedules that are due at once are looked at in well under a second."""

from __future__ import annotations

import time

import pytest

from backroom.cron import Cron
from tests.cron.oracle import SECOND

SCHEDULES = 10_000
RARE = ("0 0 29 2 *", "0 0 31 * FRI#5", "0 0 29 2 */7", "0 0 31 12 *", "59 59 23 L FEB ?")
USUAL = ("*/5 * * * *", "0 9 * * MON-FRI", "30 2 * * *", "* * * * * *", "0,30 9-17 * * *")


@pytest.mark.parametrize("texts", [USUAL, RARE], ids=["usual", "rare"])
def test_all_that_are_due_at_once_are_looked_at_in_time(texts: tuple[str, ...]) -> None:
    zones = ("UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe")
    crons = [Cron(texts[n % 5], zones[n // 5 % 4]) for n in range(SCHEDULES)]
    began = time.process_time()
    ticks = [cron.next(1_760_000_000 * SECOND + n) for n, cron in enumerate(crons)]
    took = time.process_time() - began
    assert None not in ticks
    assert took < 1, f"{took:.2f} s for {SCHEDULES}"
