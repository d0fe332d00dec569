"""The in-memory queue: what this worker holds and may run next.

A claim passes through two places. In a *lane* (one deque a priority) it waits, not yet counted
as started. In *ready* it has been counted as started, durably, and runs as soon as a slot is
free. How far ahead jobs are claimed and cleared follows the pace at which jobs end: a worker of
slow jobs holds nothing beyond its slots, so that others get the work; one that runs thousands
a second never waits for the storage.

A *crowd* is what a bulk handler is given at once (`crowds.py`). It passes through the same places
as one job does, and takes one slot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from backroom.crowds import Crowd, Crowds, Item, claims_of
from backroom.job import SECOND
from backroom.options import Bulk
from backroom.ports import Want
from backroom.transition import Claim

__all__ = ["EVERY", "Lanes"]

EVERY: Final = 8
"""Every so many claims, the oldest starving job goes first."""
ROUNDS: Final = 8
"""Work is claimed ahead for so many round trips to the storage, at most half of it cleared."""
LEAST_AHEAD: Final = 0.05
LONGEST_AHEAD: Final = 0.5
"""Seconds of work claimed ahead, at least and at most."""
FALLEN: Final = 0.5
"""Seconds after which a lower pace is more than a pause."""
MOST_AHEAD: Final = 3000


class Lanes:
    """The jobs of some queues that share `slots`."""

    def __init__(
        self,
        name: str,
        queues: tuple[str, ...] | None,
        but: tuple[str, ...],
        slots: int,
        starvation_after: float,
        uptime: Callable[[], float],
        bulk: Mapping[str, Bulk] = MappingProxyType({}),
        *,
        patient: bool = True,
    ) -> None:
        """`bulk`, `patient`: see `Crowds`."""
        self.name = name
        self.queues = queues
        self.but = but
        self.slots = slots
        self.busy = 0
        self._starvation = round(starvation_after * SECOND)
        self._uptime = uptime
        self._ready: deque[Item] = deque()
        self._lanes: tuple[deque[Item], ...] = tuple(deque() for _ in range(4))
        self._clearing: dict[int, Item] = {}
        self._bulk = bulk
        self._crowds = Crowds(bulk, self._lanes, uptime, patient=patient)
        self._coming = 0
        self.closed = 0
        """Above 0, no insert passes straight into these lanes."""
        self.drained = False
        """They are to stay empty: people asked the worker to claim nothing."""
        self._ended = 0
        self._since = uptime()
        self._rate = 0.0
        self._round = 0.0
        self._count_round = 0.0
        self._ahead = 0
        self._cleared_ahead = 0
        self._fallen_since: float | None = None
        self._turn = 0
        self._claimed = 0

    # -- pace ----------------------------------------------------------------------------------

    def pace(self) -> None:
        """Looks how fast jobs end lately, and how far ahead that lets us claim. To be called
        now and then."""
        now = self._uptime()
        passed = now - self._since
        if passed >= 0.01:
            latest = self._ended / passed
            self._rate += (latest - self._rate) * min(1.0, passed / 0.05)
            self._ended = 0
            self._since = now
            seconds = min(LONGEST_AHEAD, max(LEAST_AHEAD, self._round * ROUNDS))
            self._ahead = min(MOST_AHEAD, int(self._rate * seconds))
            self._cleared_ahead = min(self._ahead // 2, self._end_while_counted())

    def took(self, seconds: float) -> None:
        """A claim took so long."""
        self._round += (seconds - self._round) / 4

    def counted(self, seconds: float) -> None:
        """It took so long until starts were counted."""
        self._count_round += (seconds - self._count_round) / 4

    def _end_while_counted(self) -> int:
        """How many jobs end at this pace while starts are counted; more, where all slots are free
        again several times by then. No more is cleared ahead: where a worker dies, what was
        cleared may have begun, for all that others can know."""
        ends = self._rate * self._count_round
        return 1 + int(ends * (1 + ends / self.slots))

    def _to_clear(self) -> int:
        """How many more claims may be counted as started now."""
        ahead = self._cleared_ahead - len(self._ready) - len(self._clearing)
        return self.slots - self.busy + ahead

    # -- from the storage ------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """What has not begun, in slots that it will take."""
        gathering = len(self._crowds.gathering) if self._bulk else 0
        return self._waiting + len(self._ready) + len(self._clearing) + gathering

    @property
    def _waiting(self) -> int:
        first, second, third, fourth = self._lanes
        return len(first) + len(second) + len(third) + len(fourth)

    def want(self, now: int, types: Mapping[str, int] | None = None) -> Want | None:
        """What to claim at this moment, where these types have a handler, for data up to
        that version; None while that is not worth a look."""
        self.pace()
        # What may come by inserts is not subtracted: it may come back unclaimed, just because
        # older jobs wait, and these are what a claim is for. So twice the room may be held.
        room = self.slots - self.busy + self._ahead
        better = len(self._ready) + len(self._clearing)
        rooms: list[int] = []
        for lane in self._lanes:
            better += len(lane)
            rooms.append(max(0, room - better))
        total = rooms[3]
        empty = better == 0
        appetite = self._crowds.appetite() if self._bulk else 0
        # Under load, refill in halves; a critical job has its own room however full the rest is.
        if not appetite and (
            rooms[0] == 0 or (not empty and total < room // 2 and rooms[0] < room)
        ):
            return None
        if self._bulk:
            # What will wait for company must not count as started by its claim.
            starts = 0
            beyond = min(MOST_AHEAD, self._crowds.beyond(min(total, self._ahead)) + appetite)
            rooms = [one + beyond for one in rooms]
        else:
            starts = 0 if self._waiting else max(0, min(rooms[0], self._to_clear()))
        starving = (self._claimed + rooms[3]) // EVERY - self._claimed // EVERY
        return Want(
            self.queues, self.but, (rooms[0], rooms[1], rooms[2], rooms[3]), starts,
            starving, now - self._starvation, types or {},
        )  # fmt: skip

    def accept(self, claims: list[Claim], started: int, *, more: bool = False) -> None:
        """Takes what a claim gave; the first `started` are cleared already. `more`: there may be
        more where they came from."""
        self._claimed += len(claims)
        self._ready.extend(claims[:started])
        if self._bulk:
            self._crowds.accept(claims[started:], more=more)
            return
        for claim in claims[started:]:
            self._lanes[claim.priority].append(claim)

    # -- straight from an insert -------------------------------------------------------------------

    def expect(self) -> bool | None:
        """Makes a place for a job that is about to be inserted: True if it may start at once,
        False if it will wait in its lane, None if there is no place. Each place is `arrived`."""
        if self.closed or self.drained:
            return None
        waiting = self._waiting
        held = waiting + len(self._ready) + len(self._clearing) + self._coming
        # Claims fill one half of what may be held, inserts both: once nothing waits in the
        # storage any more, what this process schedules need not pass through a claim.
        if held >= self.slots - self.busy + 2 * self._ahead:
            return None
        self._coming += 1
        return not waiting and self._to_clear() >= self._coming

    def arrived(self, claim: Claim | None, start: bool) -> None:
        """The insert was answered: with a claim, which counts as started or not, or without."""
        self._coming -= 1
        if claim is None:
            return
        if start:
            self._ready.append(claim)
        elif self._bulk:
            self._crowds.add(claim)
        else:
            self._lanes[claim.priority].append(claim)

    @property
    def coming(self) -> int:
        """Inserts on their way that may come back as claims."""
        return self._coming

    def trim(self) -> list[Claim]:
        """What was claimed for a pace that has fallen since: returned, the least urgent first,
        to be given back, for other workers may be free. What had been cleared for that pace
        waits in its lane again, so that a more urgent job can overtake it."""
        cleared = len(self._ready) - max(0, self.slots - self.busy) - 2 * self._cleared_ahead
        spare = len(self._ready) + self._waiting - 2 * (self.slots + self._ahead)
        now = self._uptime()
        if cleared <= 0 and spare <= 0:
            self._fallen_since = None
            return []
        if self._fallen_since is None:
            self._fallen_since = now
        if now - self._fallen_since < FALLEN:
            return []
        for _ in range(cleared):
            item = self._ready.pop()
            self._lanes[item.priority].appendleft(item)
        returned: list[Item] = []
        for lane in reversed(self._lanes):
            while lane and len(returned) < spare:
                returned.append(lane.pop())
        self._crowds.close(returned)
        return claims_of(returned)

    def claims(self) -> list[Claim]:
        """All that are held here."""
        places = (self._ready, *self._lanes, self._clearing.values(), self._crowds.gathering)
        return [claim for place in places for claim in claims_of(place)]

    # -- to the runner -----------------------------------------------------------------------------

    def clear(self, now: int) -> list[Item]:
        """What is to be counted as started next; each is `cleared`, or its claims `returned`."""
        if self._bulk:
            self._crowds.depart()
        wanted = min(self._to_clear(), self._waiting) if any(self._lanes) else 0
        if self._clearing and self._ready and 2 * wanted < self._cleared_ahead:
            return []  # Some run, and others come: these are counted with those that follow.
        picked = [self._next(now) for _ in range(wanted)]
        if self._bulk:
            self._crowds.close(picked)
        self._clearing.update((item.key, item) for item in picked)
        return picked

    def until_crowded(self) -> float | None:
        """Seconds until jobs that wait for company have waited long enough, and are to be
        cleared; None: none waits."""
        return self._crowds.until() if self._bulk else None

    def _next(self, now: int) -> Item:
        self._turn += 1
        if self._turn % EVERY == 0:
            starving = [
                lane for lane in self._lanes if lane and lane[0].run_at <= now - self._starvation
            ]
            if starving:
                return min(starving, key=lambda lane: lane[0].run_at).popleft()
        for lane in self._lanes:
            if lane:
                return lane.popleft()
        raise IndexError("no lane holds a job")

    def cleared(self, items: Iterable[Item]) -> None:
        """They may run, but for what was `returned` meanwhile."""
        for item in items:
            if self._clearing.pop(item.key, None) is not None:
                self._ready.append(item)

    def returned(self, claims: Iterable[Claim]) -> None:
        """They could not be cleared: the lease is gone, and they with it."""
        gone = {claim.key for claim in claims}
        _, left = _parted(self._clearing.values(), lambda claim: claim.key in gone)
        self._clearing = {item.key: item for item in left}

    def ready(self) -> bool:
        """Whether a job and a slot for it are there."""
        return bool(self._ready) and self.busy < self.slots

    def take(self) -> Item:
        """What is to run next; its slot is then taken. Only while `ready`."""
        self.busy += 1
        return self._ready.popleft()

    def ended(self, jobs: int = 1) -> None:
        """A slot is free again, which has run so many jobs at once."""
        self.busy -= 1
        self._ended += 1
        if self._bulk:
            self._crowds.ended(jobs)

    def empty(self, which: Callable[[Claim], bool] = lambda _: True) -> list[Claim]:
        """Takes out what has not begun: all of it, or what `which` says."""
        taken: list[Claim] = []
        for place in (self._ready, *self._lanes):
            out, keep = _parted(place, which)
            if out:
                place.clear()
                place.extend(keep)
                taken += out
        return taken + self._crowds.part(which)


def _parted(
    items: Iterable[Item], which: Callable[[Claim], bool]
) -> tuple[list[Claim], list[Item]]:
    """The claims that `which` says, and what is left of these."""
    out: list[Claim] = []
    keep: list[Item] = []
    for item in items:
        if isinstance(item, Crowd):
            out += item.part(which)
            if item.claims:
                keep.append(item)
        elif which(item):
            out.append(item)
        else:
            keep.append(item)
    return out, keep
