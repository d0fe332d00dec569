"""Every zone of tzdata, every time that its clocks are set from 2020 to 2030: what `next` finds is
what one finds who looks at every minute, and at every second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from zoneinfo import ZoneInfo

import pytest

from backroom.cron import Cron
from tests.cron import zones
from tests.cron.oracle import HOUR, MINUTE, Walk, day_of, shown, ticks_of

AROUND = 25 * HOUR
"""How much is looked at before and after, by minutes."""
NEAR = 15 * MINUTE
"""The same, for expressions that tick every minute; besides what is skipped or twice."""
CLOSE = 2 * MINUTE
"""The same, by seconds; after it besides all that is shown again."""
QUIET = 1_742_860_800
"""A moment in 2025, for zones whose clocks are not set."""

CLASSES = zones.classes()


@pytest.mark.slow
@pytest.mark.parametrize("table", CLASSES, ids=lambda table: CLASSES[table][0])
def test_what_next_finds_is_what_is_there(
    table: zones.Table, record_property: Callable[[str, object], None]
) -> None:
    names = CLASSES[table]
    zone = ZoneInfo(names[0])
    turns = list(zones.turns(zone))
    _check_class(table, names, turns)
    compared = 0
    for first, last, found in _windows(turns or [QUIET], AROUND):
        walk = Walk(zone, first, last)
        for text in sorted(set(_around(zone, found))):
            compared += _compare(text, names[0], walk, first, last)
        for turn in found:
            near = abs(shown(zone, turn) - shown(zone, turn - 1)) + NEAR
            for text in ("* * * * *", "* 0-23 * * *", "*/3 */2 * * *", "*/4 0/2 * * *"):
                compared += _compare(text, names[0], walk, turn - near, turn + near)
    for turn in turns:
        again = max(0, shown(zone, turn - 1) + 1 - shown(zone, turn))
        first, last = turn - CLOSE, turn + again + CLOSE
        walk = Walk(zone, first, last, step=1)
        for text in sorted(set(_by_seconds(zone, turn))):
            compared += _compare(text, names[0], walk, first, last)
    assert compared
    record_property(
        "cron", {"zones": len(names), "turns": len(turns) * len(names), "ticks": compared}
    )


def _check_class(table: zones.Table, names: list[str], turns: list[int]) -> None:
    """All changes that are told in the file were found, and the clocks of all zones of a class
    show the same before and after each."""
    assert {at for at, _ in table.changes if zones.FIRST < at < zones.LAST} <= set(turns)
    moments = [zones.FIRST, *(at - 1 for at in turns), *turns, zones.LAST]
    for zone in map(ZoneInfo, names[1:]):
        assert [shown(zone, at) for at in moments] == [
            shown(ZoneInfo(names[0]), at) for at in moments
        ]


def _compare(text: str, tz: str, walk: Walk, first: int, last: int) -> int:
    wanted = walk.ticks(text, first, last)
    assert ticks_of(Cron(text, tz), first, last) == wanted, (text, tz)
    return len(wanted)


def _windows(turns: list[int], around: int) -> Iterator[tuple[int, int, list[int]]]:
    """Spans around the turns; where they overlap, one around several."""
    while turns:
        count = 1
        while count < len(turns) and turns[count] - turns[count - 1] <= 2 * around:
            count += 1
        found, turns = turns[:count], turns[count:]
        yield found[0] - around, found[-1] + around, found


def _around(zone: ZoneInfo, turns: list[int]) -> Iterator[str]:
    """Expressions for the times that are skipped or shown twice, and for those beside them."""
    for turn in turns:
        ends = sorted((shown(zone, turn - 1) + 1, shown(zone, turn)))
        low, high = ends
        middle = (low + high) // 2 // MINUTE * MINUTE
        for wall in (low, middle, high):
            for at in (wall - MINUTE, wall, wall + MINUTE):
                yield f"{_clock(at)} * * *"
            yield f"{_clock(wall)} {_date(wall)} *"
            yield f"{_clock(wall)} * * {day_of(wall):%a}"
        hour, minute = low // HOUR % 24, middle // MINUTE % 60
        following = (hour + 1) % 24
        # Hours that are said: one time each.
        yield f"*/30 {hour} * * *"
        yield f"*/7 {hour} {_date(low)} *"
        yield f"{minute},59 {hour},{following} * * *"
        yield f"*/20 {hour}-23 {_date(low)} *"
        yield f"{minute} {hour}/2 * * {day_of(low):%a}"
        yield f"10-50/5 0,{hour},12,23 {day_of(low).day} * {day_of(high):%a}"
        # Hours that are not said: whenever the clock shows it.
        yield f"{minute} * * * *"
        yield f"{minute} */2 * * *"
        yield f"59 */3 {_date(low)} *"
        yield f"*/10 * * * {day_of(low):%a}"
        yield f"0,{minute} */1 {_date(high)} *"
    yield from ("0 0 * * *", "30 0 * * *", "0,30 * * * *", "0 */6 * * *", "0 0 L * *")


def _by_seconds(zone: ZoneInfo, turn: int) -> Iterator[str]:
    low, high = sorted((shown(zone, turn - 1) + 1, shown(zone, turn)))
    for wall in (low, (low + high) // 2, high):
        for at in (wall - 1, wall, wall + 1):
            yield f"{at % MINUTE} {_clock(at)} * * *"
    hour = low // HOUR % 24
    yield f"*/20 */15 {hour} * * *"
    yield f"59 59 {(hour - 1) % 24},{hour} {_date(low)} *"
    yield "30 */10 * * * *"
    yield "0,59 0,59 */2 * * *"


def _clock(wall: int) -> str:
    return f"{wall // MINUTE % 60} {wall // HOUR % 24}"


def _date(wall: int) -> str:
    day: date = day_of(wall)
    return f"{day.day} {day.month}"


def test_no_zone_is_left_out() -> None:
    found = [name for names in CLASSES.values() for name in names]
    assert sorted(found) == sorted(zones.names())
    assert len(found) > 590
