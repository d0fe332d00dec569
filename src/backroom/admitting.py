"""Who may run, of those that a worker has claimed, and whose limits have no room: pure.

A storage says how its limits stand, while nobody else can change that, and carries out what is
decided here. What has no room waits in the line of the first limit that lacks it, in the order of
claims. Who has more slots than are free waits at its head, and nobody passes: those behind wait
for it, so that a large job is not passed by small ones for ever.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from backroom.job import SECOND
from backroom.limit import LimitRecord, Need
from backroom.transition import Claim

__all__ = [
    "AHEAD",
    "APART",
    "Admission",
    "Asking",
    "Gate",
    "Line",
    "Place",
    "admit",
    "called",
    "moments",
]

AHEAD: Final = 2 * SECOND
"""Microseconds for which those who wait for a rate are told when they may start."""
APART: Final = 30 * SECOND
"""Microseconds by which the clocks of those who ask may differ, or a word be late on its way."""
MOST_AHEAD: Final = 1000
"""How many of them at once."""

Place: TypeAlias = tuple[str, str]
"""The name of a limit and a key: what is counted by itself."""
Line: TypeAlias = tuple[int, int, int]
"""Where a job stands among those that wait: priority, moment, key."""


class Gate(msgspec.Struct):
    """How a limit stands for one key."""

    most: int
    used: int = 0
    """Slots of those that run."""
    called: list[tuple[Line, int]] = []
    """Those that room is kept for, and how many slots of it."""
    front: Line | None = None
    """The first that waits here, of a queue that is not paused."""
    per: int = 0
    """Of a rate, the microseconds in which it allows so many starts."""
    burst: int = 1
    free_at: int = 0
    """Of a rate: when the next start would be on time if all of them were evenly spread. It may
    come sooner by what a burst allows."""
    step: int = 0
    """Of a rate, the microseconds from one start to the next."""
    slack: int = 0
    """Of a rate, the microseconds by which a start may come sooner."""

    def __post_init__(self) -> None:
        if self.per:
            rate = LimitRecord("", self.most, self.per, self.burst)
            self.step, self.slack = rate.step, rate.slack

    @property
    def untold(self) -> int:
        """Of a rate: how many more of its line may be told when they start, one at least."""
        ahead = (AHEAD + self.slack) // self.step + 1
        return max(1, min(ahead, MOST_AHEAD) - len(self.called))

    def lacks(self, need: Need, line: Line, now: int) -> bool:
        """Whether a job must wait here."""
        if self.front is not None and line > self.front:
            return True
        if self.per:
            # Those that were told before it have their starts, whenever they come for them.
            before = sum(whose < line for whose, _ in self.called)
            return self.moment(before, now) > now
        # What is kept for those behind is not kept from it. So the first of all that wait, which
        # may need several limits, waits for none but those that run.
        ahead = sum(self.taken(slots) for whose, slots in self.called if whose < line)
        return self.used + ahead + self.taken(need.slots) > self.most

    def moment(self, before: int, now: int) -> int:
        """Of a rate: when the one may start that so many start before."""
        free_at = max(self.free_at, now) + before * self.step if before else self.free_at
        return max(now, free_at - self.slack)

    def set_right(self, now: int) -> bool:
        """Whether `free_at` was later than any start makes it, and is not any more: the clock was
        set back since. Not where it may be that of another machine, or one of a while ago: who asks
        late, or of a clock that is behind, would let others start too soon."""
        latest = now + self.slack + self.step
        wrong = bool(self.per) and self.free_at > latest + APART
        if wrong:
            self.free_at = latest
        return wrong

    def take(self, need: Need, now: int) -> None:
        """A job starts."""
        if self.per:
            self.free_at = max(self.free_at, now) + self.step
        else:
            self.used += self.taken(need.slots)

    @property
    def room(self) -> int:
        """What is left for others to be called."""
        return self.most - self.used - sum(self.taken(slots) for _, slots in self.called)

    def taken(self, slots: int) -> int:
        """The slots that a job counts for: one that needs more than there are runs alone."""
        return min(slots, self.most)


class Asking(NamedTuple):
    """A claim that is to be admitted."""

    claim: Claim
    needs: Sequence[Need]
    line: Line
    """Where it stands, or stood when it waited first."""


class Admission(msgspec.Struct):
    """What becomes of claims."""

    granted: list[Asking] = []
    permits: list[tuple[Claim, Need]] = []
    """What is held from now on. What a limit is, is told by its gate: a job may have been made when
    it was another one."""
    blocked: list[tuple[Asking, Need]] = []
    """Those that wait, and for what."""
    vacant: set[Place] = set()
    """Where others may be called: who might have taken the room waits elsewhere; or one has
    started whose turn it was by a rate, and the next one may be told when it is its."""


def admit(asking: Iterable[Asking], gates: Mapping[Place, Gate], now: int) -> Admission:
    """All that each needs, or nothing. The gates are as they stand afterwards."""
    admission = Admission([], [], [], set())
    for one in sorted(asking, key=lambda one: one.line):
        lacking = next((n for n in one.needs if gates[n.place].lacks(n, one.line, now)), None)
        if lacking is None:
            admission.granted.append(one)
            for need in one.needs:
                gates[need.place].take(need, now)
                if gates[need.place].per:
                    admission.vacant.add(need.place)
                else:
                    admission.permits.append((one.claim, need))
            continue
        admission.blocked.append((one, lacking))
        gate = gates[lacking.place]
        if gate.front is None or one.line < gate.front:
            gate.front = one.line
        admission.vacant.update(need.place for need in one.needs)
    return admission


def called(waiting: Sequence[tuple[int, int]], gate: Gate) -> list[int]:
    """Which of those at the head of a line, by key and slots, are to be claimed again: as many as
    fit. Room is kept for them until they are."""
    keys: list[int] = []
    upto, room = 0, gate.room
    for key, slots in waiting:
        slots = gate.taken(slots)
        if upto + slots > room:
            break
        upto += slots
        keys.append(key)
    return keys


def moments(gate: Gate, heads: Sequence[Line], now: int) -> list[int]:
    """When those at the head of a line may start by a rate, in its order: as many as may within
    `AHEAD`, but one at least that is told. Those that were told before keep their turn: who stands
    in front of them, because it came a little early and was sent back, is before them again."""
    told = sorted(line for line, _ in gate.called)
    ats: list[int] = []
    for head in heads:
        before = bisect_left(told, head) + len(ats)
        at = gate.moment(before, now)
        if at > now + AHEAD and before:
            break
        ats.append(at)
    return ats
