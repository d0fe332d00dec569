"""Who is told when it may start by a rate, and comes then."""

from __future__ import annotations

import random

from backroom.admitting import AHEAD, Gate, Line, moments
from backroom.job import SECOND
from backroom.limit import UNSAID, Need

NEED = Need("rate", "", 1, 10, SECOND)


def lines(*keys: int) -> list[Line]:
    return [(2, 0, key) for key in keys]


def test_who_is_told_to_come_now_starts_whoever_has_not_come_before_it() -> None:
    """Those before it wait in a queue that is paused, say. Else it would be told the same moment
    again, and come again at once, for as long as room is kept for them."""
    chance = random.Random(5)
    for _ in range(500):
        most, burst = chance.randint(1, 50), chance.choice((UNSAID, 1, 3))
        now = chance.randint(0, 3 * SECOND)
        gate = Gate(most, per=SECOND, burst=burst, free_at=chance.randint(0, 3 * SECOND))
        told = lines(*chance.sample(range(20), chance.randint(0, 5)))
        gate.called = [(line, 1) for line in told]
        heads = sorted(set(lines(*chance.sample(range(20), 5))) - set(told))
        ats = moments(gate, heads, now)
        assert ats == sorted(ats)
        assert all(at <= now + AHEAD for at in ats[1:])
        for head, at in zip(heads, ats, strict=False):
            assert gate.lacks(NEED, head, now) == (at > now)
            gate.called.append((head, 1))


def test_what_was_told_is_kept_for_who_has_not_come_yet() -> None:
    gate = Gate(10, per=SECOND, burst=1, free_at=0)
    gate.called = [(line, 1) for line in lines(1, 2)]
    assert gate.lacks(NEED, (2, 0, 3), 150_000)
    assert not gate.lacks(NEED, (2, 0, 1), 0)
    assert moments(gate, lines(3, 4), 0) == [200_000, 300_000]
    assert moments(gate, lines(0), 0) == [0]
