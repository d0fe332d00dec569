"""Jobs that have not ended, and that nobody would ever run: how they are found, and put back.

A job is in one place at the end of each transaction of ours, so one that a statement sees in none
is stranded, and stays so: whoever moves jobs takes them out of a place. They come from outside:
from a row that somebody deleted, from a copy that lost some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from backroom.inspecting import Stranded
from backroom.ports import Wake
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.connecting import LONGEST
from backroom.storage.postgres.living import charge
from backroom.storage.postgres.looking import identity
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.ties import hold, look_and_loosen

__all__ = ["Rescuing"]

NEWEST: Final = UUID(int=2**128 - 1)


class Rescuing:
    """What `Inspection` says of stranded jobs, over `_base`."""

    _base: Base

    async def stranded(self, after: str | None, most: int) -> Stranded:
        """See the protocol. The newest first: what has not ended is seldom among the oldest."""
        before = NEWEST if after is None else UUID(int=UUID(after).int - 1)
        text = self._base.statements["stranded"]
        [row] = await self._base.links.run(
            lambda link: link.fetch(text, before, most), within=LONGEST
        )
        following = None if row["seen"] < most else str(row["last"])
        return Stranded(tuple(map(str, row["ids"])), following, row["seen"])

    async def requeue(self, ids: Sequence[str], now: int) -> int:
        """See the protocol."""
        keys = [key for key in map(identity, ids) if key is not None]
        text = self._base.statements

        async def requeue(link: Any) -> int:
            # What an unknown worker has comes back as a whole, as that of a dead one does.
            beside = [row[0] for row in await link.fetch(text["held_by_nobody"], keys)]
            wanted = list({*keys, *beside})
            await hold(link, text, wanted)
            # Of two who do this at once, one finds none.
            locked = [row[0] for row in await link.fetch(text["lock_jobs"], wanted)]
            rows = await link.fetch(text["stranded_among"], locked)
            if not rows:
                return 0
            lost = [row["id"] for row in rows]
            unknown = {row["worker"] for row in rows if row["worker"] is not None}
            await _charge(link, text, sorted(unknown), now)
            await link.execute(text["displace"], lost)
            await link.execute(text["new_queues"], sorted({row["queue"] for row in rows}))
            await link.fetch(text["release"], lost, now)
            await look_and_loosen(link, text, lost, now)
            return len(lost)

        count = await self._base.change(requeue, LONGEST)
        if count:
            self._base.ring(Wake.JOBS, Wake.FINISHED)
        return count


async def _charge(link: Any, text: Statements, workers: Sequence[int], now: int) -> None:
    """These workers have no row, and nothing more: of what they had, what may have begun is
    charged."""
    if workers:
        for worker, _, started in await link.fetch(text["seize"], workers):
            if started:
                name = f"{worker}, of which nothing else is known,"
                await charge(link, text, worker, name, started, now)
        await link.execute(text["dismiss"], workers)
