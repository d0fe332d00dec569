"""Jobs that wait for company: what a bulk handler is to be given together.

A crowd gathers the claims of one job type, which are not yet counted as started. When it is full,
or its first one has waited long enough, it takes its place in a lane as one job would, and one
slot when it runs. Until it is chosen to run it takes in whoever comes.

How many jobs of a type wait in the storage is not known, so a crowd grows by what it finds: while
claims bring more for it, the next one has room for some times as many as it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from backroom.options import Bulk
from backroom.transition import Claim

__all__ = ["Crowd", "Crowds", "Item", "claims_of"]

GROWTH: Final = 4
"""A claim has room for so many times what a crowd has already. More would fetch jobs of other
types in great numbers, where these are few among them."""
EARLY: Final = 0.001
"""Seconds that a timer may be early."""
LATE: Final = 1.0
"""Seconds that a crowd waits beyond its time for claims that are on their way."""


class Crowd:
    """Claims of one type, in the order in which they came."""

    __slots__ = ("claims", "due", "growing", "key", "placed", "priority", "run_at", "size")

    def __init__(self, claim: Claim, bulk: Bulk, uptime: float) -> None:
        self.key = claim.key
        """Of the first one: no other claim that is held here has it."""
        self.claims = [claim]
        self.size = bulk.batch
        self.due = uptime + bulk.within
        self.priority = claim.priority
        """Of the most urgent one."""
        self.run_at = claim.run_at
        """Of the oldest one."""
        self.growing = False
        """The last claim brought some of these, and there may be more."""
        self.placed = False
        """It has its place in a lane."""

    def add(self, claim: Claim) -> None:
        self.claims.append(claim)
        self.priority = min(self.priority, claim.priority)
        self.run_at = min(self.run_at, claim.run_at)

    @property
    def missing(self) -> int:
        return self.size - len(self.claims)

    @property
    def goes_at(self) -> float:
        """When it no longer waits; the clock's uptime."""
        return self.due + LATE if self.growing else self.due

    def part(self, which: Callable[[Claim], bool]) -> list[Claim]:
        """Takes out those that `which` says."""
        out = [claim for claim in self.claims if which(claim)]
        if out:
            self.claims = [claim for claim in self.claims if not which(claim)]
        return out


Item: TypeAlias = Claim | Crowd
"""What takes one slot."""


def claims_of(items: Iterable[Item]) -> list[Claim]:
    """All claims, also those in crowds."""
    claims: list[Claim] = []
    for item in items:
        if isinstance(item, Claim):
            claims.append(item)
        else:
            claims += item.claims
    return claims


class Crowds:
    """The crowds that are open: those that take in who comes. At most one of each type."""

    def __init__(
        self,
        bulk: Mapping[str, Bulk],
        lanes: Sequence[deque[Item]],
        uptime: Callable[[], float],
        *,
        patient: bool,
    ) -> None:
        """`bulk`: the types that have a bulk handler; more may come. `patient`: whether a crowd
        waits for its time; else it goes as soon as the storage has no more for it."""
        self.bulk = bulk
        self._lanes = lanes
        self._uptime = uptime
        self._patient = patient
        self._open: dict[str, Crowd] = {}
        self._each = 1.0
        """Jobs that a slot runs at once, lately."""

    # -- in --------------------------------------------------------------------------------------

    def accept(self, claims: Iterable[Claim], *, more: bool) -> None:
        """Takes what a claim gave: to its crowd, or to its lane."""
        for crowd in self._open.values():
            crowd.growing = False
        for claim in claims:
            self.add(claim, growing=more)

    def add(self, claim: Claim, *, growing: bool = False) -> None:
        """One claim."""
        bulk = self.bulk.get(claim.type)
        if bulk is None:
            self._lanes[claim.priority].append(claim)
            return
        crowd = self._open.get(claim.type)
        if crowd is None:
            crowd = self._open[claim.type] = Crowd(claim, bulk, self._uptime())
            if not self._patient:
                crowd.due = self._uptime()
        else:
            before = crowd.priority
            crowd.add(claim)
            if crowd.placed and crowd.priority < before:
                self._lanes[before].remove(crowd)
                self._lanes[crowd.priority].append(crowd)
        crowd.growing = growing
        if crowd.missing <= 0:
            self._place(crowd)
            del self._open[claim.type]

    # -- out -------------------------------------------------------------------------------------

    def depart(self) -> None:
        """Those that have waited long enough take their places."""
        now = self._uptime() + EARLY
        for crowd in self._open.values():
            if crowd.goes_at <= now:
                self._place(crowd)

    def _place(self, crowd: Crowd) -> None:
        if not crowd.placed:
            crowd.placed = True
            self._lanes[crowd.priority].append(crowd)

    def until(self) -> float | None:
        """Seconds until the next one has waited long enough; None: none waits."""
        moments = [crowd.goes_at for crowd in self._open.values() if not crowd.placed]
        return max(0.0, min(moments) - self._uptime()) if moments else None

    def close(self, items: Iterable[Item]) -> None:
        """These are chosen to run, or to go back: nobody joins them any more."""
        for item in items:
            if isinstance(item, Crowd):
                kind = item.claims[0].type
                if self._open.get(kind) is item:
                    del self._open[kind]

    def part(self, which: Callable[[Claim], bool]) -> list[Claim]:
        """Takes out of the open ones what `which` says; of those in a lane, that is done there."""
        out: list[Claim] = []
        for kind, crowd in list(self._open.items()):
            out += crowd.part(which)
            if not crowd.claims:
                del self._open[kind]
        return out

    # -- how many --------------------------------------------------------------------------------

    @property
    def gathering(self) -> list[Crowd]:
        """Those that have no place in a lane yet."""
        return [crowd for crowd in self._open.values() if not crowd.placed]

    def appetite(self) -> int:
        """How many jobs more they take, as far as is known."""
        return sum(
            min(crowd.missing, GROWTH * len(crowd.claims))
            for crowd in self._open.values()
            if crowd.growing
        )

    def ended(self, jobs: int) -> None:
        """A slot has run so many jobs at once."""
        self._each += (jobs - self._each) / 8

    def beyond(self, slots: int) -> int:
        """How many jobs more than one each the next so many slots run, at this rate."""
        return int(slots * (self._each - 1)) if self._each > 1 else 0
