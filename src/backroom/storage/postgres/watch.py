"""Who of the others lives, as one process sees it: no clock but its own uptime is asked."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

__all__ = ["ALONE", "APART", "EVERY", "GRACE", "Doomed", "Seen", "Verdict", "Watch"]

GRACE: Final = 0.5
"""Seconds for which a process must have had no session: so long it has to come back where all of
them were cut at once."""
EVERY: Final = 0.1
"""Seconds between two looks of all workers together: the more there are, the more seldom each
looks."""
ALONE: Final = 1.0
"""Seconds between two looks of each, where no session tells anything."""
LEAST: Final = 4
"""Looks of each in a lease, however many there are: as many as it has heartbeats."""
JITTER: Final = 0.2
"""The part by which a wait is longer or shorter, so that they do not all look at once."""
APART: Final = 0.5
"""The part of a lease that may lie between two looks: who looked away for longer (it was stopped,
or its machine was asleep) knows nothing of the time between, and begins anew."""


class Seen(msgspec.Struct, frozen=True):
    """One worker in one look."""

    worker: int
    lease: float
    beat: int
    until: float | None
    """Where lease time is told by the clock of a test."""
    gone: bool | None
    """Its process has no session. None: its sessions cannot tell, or it is our own."""


class Doomed(msgspec.Struct, frozen=True):
    """One to be declared dead, if it has had no other beat since."""

    worker: int
    beat: int
    silent: bool
    """For a whole lease. Else it must be without a session once more."""


class Verdict(msgspec.Struct, frozen=True):
    """What a look tells."""

    dead: list[Doomed]
    doubted: bool
    """Somebody seems to be gone: it is too soon to say."""
    again: float
    """Seconds until the next look."""


class _Known(msgspec.Struct):
    """What was seen of one worker so far."""

    beat: int
    since: float
    """Then the beat was there."""
    looked: float
    gone: float | None = None
    """Then it had no session, and none since."""


class Watch:
    """What one process has seen of the workers of a store.

    A worker extends its lease with a beat, and stops itself a lease after it *asked* for that. We
    see the beat later, and count a lease from when we *had* it to when we *ask* whether there is
    still no other one. That ends later, whatever any wall clock says, so nobody is declared dead
    who may still run. Where our own uptime stands still, we are only later.
    """

    def __init__(self, told: bool, chance: Callable[[], float] = random.random) -> None:
        """`told`: lease time is told by the clock of a test, to all."""
        self._told = told
        self._chance = chance
        self._known: dict[int, _Known] = {}

    def look(self, workers: Sequence[Seen], asked: float, answered: float) -> Verdict:
        """Judges all workers there are; `asked` and `answered` are our uptime before and after
        that was looked up."""
        self._known = {one.worker: self._follow(one, asked, answered) for one in workers}
        dead: list[Doomed] = []
        doubts: list[float] = []
        for one in workers:
            known = self._known[one.worker]
            silent = self._is_silent(one, known, asked)
            if silent or (known.gone is not None and asked - known.gone >= GRACE):
                dead.append(Doomed(one.worker, one.beat, silent))
            elif known.gone is not None:
                doubts.append(max(known.gone + GRACE - answered, 0.0))
        return Verdict(dead, bool(doubts), min([self._pace(workers), *doubts]))

    def _follow(self, one: Seen, asked: float, answered: float) -> _Known:
        known = self._known.get(one.worker)
        if known is None or asked - known.looked > one.lease * APART:
            known = _Known(one.beat, answered, answered)
        elif known.beat != one.beat:
            known.beat, known.since = one.beat, answered
        known.looked = answered
        if not one.gone:
            known.gone = None
        elif known.gone is None:
            known.gone = answered
        return known

    def _is_silent(self, one: Seen, known: _Known, asked: float) -> bool:
        if self._told and one.until is not None:
            return one.until <= asked
        return asked - known.since >= one.lease

    def _pace(self, workers: Sequence[Seen]) -> float:
        told = any(one.gone is not None for one in workers)
        pace = EVERY * len(workers) if told else ALONE
        pace = min([pace, *(one.lease / LEAST for one in workers)])
        return pace * (1 - JITTER + 2 * JITTER * self._chance())
