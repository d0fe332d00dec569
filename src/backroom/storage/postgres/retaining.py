"""What has ended goes when its time has come, and what waited too long ends."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from backroom.job import SECOND
from backroom.ports import Pruned, Wake
from backroom.storage.decided import MORE_TICKS, MOST_TICKS
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.connecting import LONGEST
from backroom.storage.postgres.history import FIRST, LAST, History, Part
from backroom.storage.postgres.series import count_cancelled, let_go_series
from backroom.storage.postgres.ties import hold_members, look_and_loosen
from backroom.storage.told import KEPT, earliest

__all__ = ["Retaining"]

LOOKS: Final = 20
"""Pages of jobs that one call of `prune` looks through at most."""
SCHEDULES: Final = 2000
"""Schedules of which one call of `prune` looks at the ticks."""
MENDED: Final = 1000
"""Jobs of flows that one call of `prune` looks at."""
FOLDED: Final = 100_000
"""Changes of the tally that one call of `prune` folds at most."""


class Retaining:
    """Retention and expiry."""

    def __init__(self, base: Base, retention: float | None) -> None:
        self._base = base
        self._retention = retention
        self._history = History(base, retention)
        self._pruned_to = FIRST
        self._keys_to = FIRST
        self._ticks_pruned_to = 0
        """The key of a schedule."""
        self._mended_to = FIRST

    async def begin(self) -> None:
        """The tables are new: the first jobs go into a partition, too."""
        await self._base.links.run(lambda link: self._history.begin(link, self._base.clock.now()))

    async def prune(self, now: int, limit: int) -> Pruned:
        text = self._base.statements

        async def expire(link: Any) -> int:
            ids = [row[0] for row in await link.fetch(text["expiring"], now, limit)]
            if not ids:
                return 0
            members = await hold_members(link, text, ids)
            ids = [id_ for id_ in ids if not members.get(id_)]
            gone = [row[0] for row in await link.fetch(text["expire"], now, ids)]
            await look_and_loosen(link, text, gone, now)
            await count_cancelled(link, text, gone, now)
            return len(gone)

        touched, more = await self._base.links.run(lambda link: self._keep_house(link, now, limit))
        if touched >= limit:
            return Pruned(touched, True)
        more = await self._forget_ticks(now, limit) or more
        await self._mend(now)
        expired = await self._base.change(expire, LONGEST)
        if expired:
            self._base.ring(Wake.FINISHED, Wake.JOBS)
        more = await self._let_go(now, limit) or more
        return Pruned(touched + expired, more or expired >= limit)

    async def _let_go(self, now: int, limit: int) -> bool:
        """Of keys that are not held until the end of a job; whether it has not seen all."""
        [(passed, looked, last)] = await self._base.fetch(
            "let_go_in_time", now, self._keys_to, limit
        )
        self._keys_to = last if looked >= limit else FIRST
        return bool(passed >= limit or looked >= limit)

    async def _mend(self, now: int) -> None:
        """A worker of an earlier version ends jobs and knows of no flows: what follows is done
        here, a page of jobs after the other. Where all are of this version, nothing is found."""
        text = self._base.statements
        rows = await self._base.fetch("not_told", self._mended_to, MENDED)
        self._mended_to = rows[-1]["job"] if len(rows) == MENDED else FIRST
        over = [row["job"] for row in rows if row["over"]]
        if over:
            await self._base.change(lambda link: look_and_loosen(link, text, over, now), LONGEST)
            self._base.ring(Wake.FINISHED, Wake.JOBS)

    async def _forget_ticks(self, now: int, limit: int) -> bool:
        """Removes up to `limit` ticks of some schedules; whether there is more to look at."""
        cutoff = -1 if self._retention is None else now - round(self._retention * SECOND)
        text, after = self._base.statements, self._ticks_pruned_to
        [(last, count)] = await self._base.fetch("schedules_after", after, SCHEDULES)
        if not count:
            self._ticks_pruned_to = 0
            return False

        async def forget(link: Any) -> int:
            most = MOST_TICKS, MORE_TICKS
            rows = await link.fetch(text["forget_ticks"], after, last, cutoff, *most, limit)
            if rows:
                await link.execute(text["fewer_ticks"], *map(list, zip(*rows, strict=True)))
            return sum(gone for _, gone in rows)

        if await self._base.change(forget) >= limit:
            return True  # There may be more of the same.
        self._ticks_pruned_to = last if count == SCHEDULES else 0
        return bool(count == SCHEDULES)

    async def _keep_house(self, link: Any, now: int, limit: int) -> tuple[int, bool]:
        await link.fetch(self._base.statements["fold"], FOLDED)
        steps = list(KEPT)
        await link.fetch(
            self._base.statements["forget_figures"], steps, [earliest(now, one) for one in steps],
            FOLDED,
        )  # fmt: skip
        await let_go_series(link, self._base.statements, now)
        parts = await self._history.look(link)
        if await self._history.ahead(link, parts, now):
            parts = await self._history.look(link)
        if self._retention is None:
            return 0, False
        cutoff = now - round(self._retention * SECOND)
        # A flow goes before its jobs: so nobody retries it when some of them have gone.
        flows = await link.fetch(self._base.statements["forget_flows"], cutoff, limit)
        if len(flows) >= limit:
            return 0, True
        touched, more = await self._prune(link, parts, cutoff, limit)
        if more:
            return touched, more
        gone, more = await self._history.let_go(link, parts, cutoff)
        if not more:
            more = await self._history.sweep(link, parts, limit)
        return touched + gone, more

    async def _prune(
        self, link: Any, parts: list[Part], cutoff: int, limit: int
    ) -> tuple[int, bool]:
        """Walks what ended in the order in which it was made, from where it last stopped."""
        text, removed = self._base.statements, 0
        for _ in range(LOOKS):
            after, until = self._stretch(parts)
            rows = await link.fetch(text["old"], after, until, limit)
            old = [row["id"] for row in rows if row["finished_at"] < cutoff]
            end = len(rows) < limit
            done = (end and until == LAST) or bool(rows and rows[-1]["created_at"] >= cutoff)
            last = FIRST if done else _before(until) if end else rows[-1]["id"]
            if len(old) > limit - removed:
                del old[limit - removed :]
                done, last = False, old[-1]
            if old:
                removed += len(await link.fetch(text["forget_ended"], old, cutoff))
            self._pruned_to = last
            if done or removed >= limit:
                return removed, not done
        return removed, True

    def _stretch(self, parts: list[Part]) -> tuple[UUID, UUID]:
        """From where the walk stopped to the next partition that goes as a whole."""
        after = self._pruned_to
        for part in parts:
            if part.attached and self._history.whole(part):
                if after < _before(part.low):
                    return after, part.low
                after = max(after, _before(part.high))
        return after, LAST


def _before(id_: UUID) -> UUID:
    return UUID(int=max(0, id_.int - 1))
