"""History in partitions: what was made in one stretch of time goes as a whole.

The tables of jobs and of what ended have the same partitions, by the moment that ids carry.
`_rest` takes what falls in none: ids of clocks that are wrong, and all of a time in which nobody
kept house.
"""

from __future__ import annotations

import logging
import math
import re
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from backroom.job import SECOND
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.statements import Statements

__all__ = ["History", "Part", "edge"]

log = logging.getLogger("backroom.storage")

HOUR: Final = 3600 * SECOND
SHARE: Final = 4
"""Partitions that retention lasts: each more costs every claim and outcome a lock."""
AGES: Final = 6
"""The oldest partition is at most about so many widths old, whatever has to stay how long."""
FOR_EVER: Final = 180 * 24 * HOUR
"""Width where nothing ever goes."""
WHOLE: Final = 2**20
"""Bytes of what ended, from which on a partition goes as a whole; a smaller one row by row, each
to its time."""
FEW: Final = 1000
"""Rows that are moved while others wait, at most."""
PATIENCE: Final = "50ms"
"""How long anybody may wait behind us while we wait for a lock."""
LONGEST: Final = "2s"
"""The longest look through the rest, while others wait: only after days without a worker."""
AGAIN: Final = 30.0
"""Seconds until what somebody was in the way of is tried again."""
LATER: Final = 600.0
"""Seconds until a partition is looked at again in which too many had to stay."""
MARGIN: Final = 300 * SECOND
"""How far ahead a partition begins where the rest takes what comes now: a job that is on its way
into a range of the rest when that becomes a partition has to be sent once more."""

FIRST: Final = UUID(int=0)
LAST: Final = UUID(int=2**128 - 1)

_BOUNDS: Final = re.compile(r"FROM \('([0-9a-f-]{36})'\) TO \('([0-9a-f-]{36})'\)")


class Part(msgspec.Struct, frozen=True):
    """A partition: ids from `low` to before `high`."""

    name: str
    """What its tables are called behind the name of the store: its first second."""
    low: UUID
    high: UUID
    size: int
    """Bytes of what ended."""
    attached: bool
    """It is part of the tables; if not, only its end is missing."""


def edge(moment: int) -> UUID:
    """The first id of a moment."""
    return UUID(int=max(0, moment // 1000) << 80)


def _moment(id_: UUID) -> int:
    return (id_.int >> 80) * 1000


def width(retention: float | None, oldest: int) -> int:
    """Microseconds that a partition lasts, whole hours; 0: there are none. `oldest`: the age of
    the oldest one."""
    base = FOR_EVER if retention is None else round(retention * SECOND) // SHARE
    return 0 if base < HOUR else max(base, oldest // AGES) // HOUR * HOUR


def following(parts: list[Part], now: int, retention: float | None) -> tuple[int, int] | None:
    """The stretch of time that wants a partition: what comes in half a width, or soon."""
    parts = sorted((part for part in parts if part.attached), key=lambda part: part.low.int)
    oldest = next((now - _moment(part.low) for part in parts), 0)
    wide = width(retention, oldest)
    if not wide:
        return None
    low = soon = -(-(now + MARGIN) // SECOND) * SECOND
    for part in parts:
        if _moment(part.low) <= low < _moment(part.high):
            low = _moment(part.high)
    if low > soon + wide // 2:
        return None
    after = [_moment(part.low) for part in parts if _moment(part.low) > low]
    return low, min([low + wide, *after])


async def _make(link: Any, text: Statements, low: int, high: int) -> None:
    name = f"{datetime.fromtimestamp(low // SECOND, UTC):%Y%m%d_%H%M%S}"
    await link.execute(text.part("make", name))
    await link.fetch(text.part("move", name), edge(low), edge(high))
    bounds = {"low": str(edge(low)), "high": str(edge(high))}
    await link.execute(text.part("attach", name, **bounds))
    await link.fetch(text.part("fail_again", name))


class History:
    """Makes partitions ahead, and lets go those whose time has come."""

    def __init__(self, base: Base, retention: float | None) -> None:
        self._base = base
        self._retention = retention
        self._not_before: dict[str, float] = {}
        self._crowded: set[str] = set()
        self._swept = False

    def whole(self, part: Part) -> bool:
        """It goes as a whole; else row by row, also where more must stay than may be moved."""
        return part.size >= WHOLE and part.name not in self._crowded

    async def look(self, link: Any) -> list[Part]:
        """All partitions, the oldest first."""
        text = self._base.statements
        begins = f"{text.table}_ended_"
        parts = []
        for name, bounds, size in await link.fetch(text["parts"], rf"^{begins}\d{{8}}_\d{{6}}$"):
            found = _BOUNDS.search(bounds or "")
            low, high = map(UUID, found.groups()) if found else (FIRST, FIRST)
            parts.append(Part(name.removeprefix(begins), low, high, size or 0, found is not None))
        return sorted(parts, key=lambda part: part.name)

    # -- ahead -----------------------------------------------------------------------------------

    async def begin(self, link: Any, now: int) -> None:
        """The first partition, where no jobs are yet."""
        wide, low = width(self._retention, 0), now // HOUR * HOUR

        async def make() -> bool:
            text = self._base.statements
            [(count,)] = await link.fetch(text["in_the_way"], FIRST, LAST, 1)
            if count == 0 and not await self.look(link):
                await _make(link, text, low, low + wide)
            return True

        if wide:
            await self._alone(link, "ahead", make)

    async def ahead(self, link: Any, parts: list[Part], now: int) -> bool:
        """Makes a partition if one is wanted soon; whether it did. Who is in the way is let
        pass."""
        stretch = following(parts, now, self._retention)
        if stretch is None or not self._may("ahead"):
            return False
        text = self._base.statements

        async def make() -> bool:
            if following(await self.look(link), now, self._retention) != stretch:
                return False  # Somebody else has made it.
            [(count,)] = await link.fetch(text["in_the_way"], *map(edge, stretch), FEW + 1)
            if count > FEW:
                log.warning(
                    "the jobs of %s are kept in %s: more than %d have ids of a time to come; are"
                    " the clocks of all machines right?",
                    text.name("jobs"), text.name("jobs_rest"), FEW,
                )  # fmt: skip
                self._put_off("ahead", LATER)
                return False
            await link.execute(f"SET LOCAL statement_timeout = '{LONGEST}'")
            await _make(link, text, *stretch)
            return True

        return await self._alone(link, "ahead", make)

    # -- away ------------------------------------------------------------------------------------

    async def let_go(self, link: Any, parts: list[Part], cutoff: int) -> tuple[int, bool]:
        """Lets one partition go, of which nothing has to stay but a few, which move to the rest;
        returns how many jobs went, and whether there may be more to do."""
        for part in parts:
            if part.attached and part.high <= edge(cutoff) and self._may(part.name):
                if not await self._take_out(link, part, cutoff):
                    continue
                part = msgspec.structs.replace(part, attached=False)
            if not part.attached and self._may(part.name):
                self._swept = False
                return await self._end(link, part, cutoff), True
        return 0, False

    async def _take_out(self, link: Any, part: Part, cutoff: int) -> bool:
        """Takes it out of the tables, those that must stay with the rest."""
        text = self._base.statements

        async def take_out() -> bool:
            if not any(one.attached and one.name == part.name for one in await self.look(link)):
                return False  # Somebody else has done it.
            staying = await link.fetch(text.part("staying", part.name), cutoff, FEW + 1)
            if len(staying) > FEW:
                self._crowded.add(part.name)
                self._put_off(part.name, LATER)
                return False
            if not self.whole(part):
                [(some,)] = await link.fetch(text.part("any_past", part.name), cutoff)
                if some:
                    return False  # They go row by row, each to its time.
            await link.execute(text.part("detach", part.name))
            await link.fetch(text.part("bring_back", part.name), [row[0] for row in staying])
            return True

        return await self._alone(link, part.name, take_out)

    async def _end(self, link: Any, part: Part, cutoff: int) -> int:
        """Drops what was taken out. What was changed in the moment before has to stay, too: a
        retry of what had ended long ago, or a job of a clock that is that much behind."""
        text = self._base.statements
        gone = 0

        async def end() -> bool:
            nonlocal gone
            late = await link.fetch(text.part("staying", part.name), cutoff, None)
            if late:
                ids = [row[0] for row in late]
                await link.fetch(text.part("bring_back", part.name), ids)
                await link.fetch(text["place_again"], ids)
            [(gone,)] = await link.fetch(text.part("untell", part.name))
            await link.fetch(text.part("fail_no_more", part.name))
            await link.execute(text.part("drop", part.name))
            return True

        try:
            await self._alone(link, part.name, end)
        except asyncpg.UndefinedTableError:  # Somebody else has done it.
            return 0
        return gone

    async def sweep(self, link: Any, parts: list[Part], limit: int) -> bool:
        """Removes what was kept with jobs that went with their partition; whether there is
        more."""
        if self._swept or not parts or not all(part.attached for part in parts):
            return False
        oldest = min(part.low for part in parts)
        [(count,)] = await link.fetch(self._base.statements["sweep"], oldest, limit)
        self._swept = count < limit
        return not self._swept

    # -- how -------------------------------------------------------------------------------------

    async def _alone(self, link: Any, what: str, work: Any) -> bool:
        """Carries it out in a transaction, where nobody else does and nobody is in the way; if
        not, it is tried again later."""
        text = self._base.statements
        try:
            async with link.transaction():
                [(alone,)] = await link.fetch(text["alone"], f"history of {text.channel}")
                if not alone:
                    return False
                await link.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
                return bool(await work())
        except asyncpg.exceptions.LockNotAvailableError:
            self._put_off(what, AGAIN)
        except asyncpg.QueryCanceledError:
            log.warning(
                "no partition for the jobs of %s: to look through %s takes more than %s; what"
                " has ended goes row by row until there are fewer",
                text.name("jobs"), text.name("jobs_rest"), LONGEST,
            )  # fmt: skip
            self._put_off(what, LATER)
        except asyncpg.InsufficientPrivilegeError as error:
            log.warning(
                "no partitions for the jobs of %s: %s; what has ended goes row by row: let the"
                " owner of the tables run a worker",
                text.name("jobs"), error,
            )  # fmt: skip
            self._put_off(what, math.inf)
        return False

    def _may(self, what: str) -> bool:
        return self._base.clock.uptime() >= self._not_before.get(what, 0.0)

    def _put_off(self, what: str, seconds: float) -> None:
        self._not_before[what] = self._base.clock.uptime() + seconds
