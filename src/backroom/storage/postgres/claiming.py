"""Who is free takes what is due, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from backroom.ports import Claimed, Want
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.limits import Admitting
from backroom.storage.postgres.texts import from_text, to_text
from backroom.storage.postgres.ties import hold, look_and_loosen
from backroom.transition import Claim

__all__ = ["Claiming"]

FEW: Final = 240
"""Jobs whose ids fit into one row of those that are held."""
MOST_BYTES: Final = 32 * 2**20
"""Of data that one claim takes at most, where it takes more than one job."""
EVER: Final = -(2**63)
"""Before all moments."""
NOWHERE: Final[list[list[Any]]] = [[], [], [], []]
"""No marks."""
TRIES: Final = 5
"""How often a claim looks behind jobs that have no room, before it answers."""


class Claiming:
    """Claims."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._admitting = Admitting(base, hold, look_and_loosen)
        self._had_all: set[tuple[tuple[str, ...] | None, tuple[str, ...]]] = set()
        """Of which queues, all but which, the last claim took whatever was due."""
        self._had_none: set[tuple[tuple[str, ...] | None, tuple[str, ...]]] = set()
        """Of which the last claim found nothing due."""

    async def claim(self, worker: int, want: Want, now: int) -> Claimed:
        """See `JobStorage.claim`."""
        # Once: of what a claim took whose answer was lost, a second one tells nothing. Who hears
        # of that gives back what it does not know of.
        return await self._base.links.run(
            lambda link: self._admitted(link, worker, want, now), once=True
        )

    async def _admitted(self, link: Any, worker: int, want: Want, now: int) -> Claimed:
        """A claim of jobs that may run: those that their limits have no room for are put aside,
        and it goes on behind them."""
        claimed = await self._claim(link, worker, want, now)
        claims = await self._admitting.admitted(link, worker, claimed.claims, now)
        if claims is claimed.claims:
            return claimed
        started = _started(claimed, claims)
        for _ in range(TRIES):
            for queue, priority in {(one.queue, one.priority) for one in claimed.claims}:
                await self._admitting.sift(link, queue, priority, now)
            rest = less(want, claims, started)
            if not (claimed.more or claimed.claims) or not any(rest.rooms):
                return Claimed(claims, started, claimed.more, claimed.next_due)
            claimed = await self._claim(link, worker, rest, now)
            given = await self._admitting.admitted(link, worker, claimed.claims, now)
            started += _started(claimed, given)
            claims += given
            if given is claimed.claims:
                return Claimed(claims, started, claimed.more, claimed.next_due)
        return Claimed(claims, started, bool(claims), None if claims else now)

    async def _claim(self, link: Any, worker: int, want: Want, now: int) -> Claimed:
        parked = self._base.parked
        marks = self._base.marks.columns(claiming=True)
        but = [to_text(name) for name in want.but]
        queues = None if want.queues is None else [to_text(name) for name in want.queues]
        level = want.rooms[0] == want.rooms[3] <= FEW
        # Where all that was due was taken, none starves.
        which = want.queues, want.but
        calm = not want.starving or which in self._had_all
        few = level and calm and not (parked or marks[0])
        if few and which in self._had_none:
            # What comes now comes alone, most likely; if not, the next look takes the others.
            self._had_none.discard(which)
            rows = await link.fetch(
                self._base.statements["claim_one"], queues, now, worker, but, want.starts
            )
            if rows:
                claims = self._took(worker, want, now, rows, cut=True)
                return Claimed(claims, min(want.starts, 1), True, None)
        if few:
            rows = await link.fetch(
                self._base.statements["claim_few"], queues, want.rooms[0], now, worker, MOST_BYTES,
                but, want.starts,
            )  # fmt: skip
        else:
            rows = await link.fetch(
                self._base.statements["claim_parked" if parked else "claim"], queues,
                list(want.rooms), now, worker, want.starts, min(want.starving, want.rooms[3]),
                want.starving_since, MOST_BYTES, but, *marks,
                *([_kinds(want)] if parked else ()),
            )  # fmt: skip
        if not rows[0]["living"]:
            raise self._base.declared_dead(worker)
        self._base.parked = rows[0]["parked"]
        # Some were parked, and this claim passed them over.
        unseen = self._base.parked and not parked
        cut = rows[0]["due"] > (rows[0]["id"] is not None) * len(rows)
        claims = self._took(worker, want, now, rows, cut=cut)
        started = min(want.starts, len(claims))
        if not claims and not cut:
            self._had_none.add(which)
        full = len(claims) >= max(want.rooms) or cut
        if full:
            self._had_all.discard(which)
        else:
            self._had_all.add(which)
        if claims and (full or unseen):
            return Claimed(claims, started, True, None)
        if unseen:
            return await self._claim(link, worker, want, now)
        again = 0
        if few:
            following = rows[0]["following"]
        else:
            since, behind = EVER, self._base.marks.columns()
            again = 1 if behind[0] else 0
            if behind[0] and not cut and len(claims) < want.rooms[3]:
                # Each priority had room left: what is behind its mark and due is ours, or on its
                # way to another. Who looks for it again passes over all that was just taken.
                since, behind = now + 1, NOWHERE
            following = await link.fetchval(
                self._base.statements["next"], queues, but, *behind, since
            )
        # What came in front of a mark waits for nothing else; and where the moment of a look that
        # begins sooner came meanwhile, that look is next.
        again = max(again, self._base.marks.left)
        if again:
            following = min(now + again, now + again if following is None else following)
        more = following is not None and following <= now
        return Claimed(claims, started, more, None if more else following)

    def _took(
        self, worker: int, want: Want, now: int, rows: Sequence[Any], *, cut: bool
    ) -> list[Claim]:
        """The claims of these rows, where there are any, and what is to be remembered of them."""
        claims = [_claim(row) for row in rows] if rows[0]["id"] is not None else []
        self._base.of(worker).claimed.update((claim.key, claim.token) for claim in claims)
        self._base.marks.took(want, claims, rows[0]["took"], now, cut)
        return claims


def _started(claimed: Claimed, given: Sequence[Claim]) -> int:
    """How many of those that were given count as started: the first ones still."""
    keys = {claim.key for claim in claimed.claims[: claimed.started]}
    return sum(claim.key in keys for claim in given)


def less(want: Want, claims: Sequence[Claim], started: int) -> Want:
    """What is still wanted when some were given, of which the first so many count as started."""
    rooms = [
        max(0, room - sum(claim.priority <= priority for claim in claims))
        for priority, room in enumerate(want.rooms)
    ]
    return msgspec.structs.replace(
        want,
        rooms=(rooms[0], rooms[1], rooms[2], rooms[3]),
        starts=want.starts - started if started == len(claims) else 0,
        starving=0,
    )


def _kinds(want: Want) -> list[str]:
    """What parked jobs wait as that this worker may run, as the index has it."""
    return [
        f"{to_text(type_)} {version}"
        for type_, latest in want.types.items()
        for version in range(1, latest + 1)
    ]


def _claim(row: Any) -> Claim:
    """The first columns of all statements that claim."""
    id_, token, type_, queue, *others = row[:13]
    return Claim(id_.int, token, str(id_), from_text(type_), from_text(queue), *others)
