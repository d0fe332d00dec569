"""What has ended goes when its time has come, and what waited too long ends."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from backroom.job import SECOND
from backroom.ports import Pruned, Wake
from backroom.storage.postgres.base import Base

__all__ = ["Retaining"]

LOOKS: Final = 20
"""Pages of jobs that one call of `prune` looks through at most."""


class Retaining:
    """Retention and expiry."""

    def __init__(self, base: Base, retention: float | None) -> None:
        self._base = base
        self._retention = retention
        self._pruned_to = UUID(int=0)

    async def prune(self, now: int, limit: int) -> Pruned:
        text = self._base.statements

        async def expire(link: Any) -> int:
            [(expired,)] = await link.fetch(text["expire"], now, limit)
            return int(expired)

        touched, more = 0, False
        if self._retention is not None:
            cutoff = now - round(self._retention * SECOND)
            touched, more = await self._base.links.run(
                lambda link: self._prune(link, cutoff, limit)
            )
        if touched >= limit:
            return Pruned(touched, True)
        expired = await self._base.change(expire)
        if expired:
            self._base.ring(Wake.FINISHED)
        return Pruned(touched + expired, more or expired >= limit)

    async def _prune(self, link: Any, cutoff: int, limit: int) -> tuple[int, bool]:
        """Walks what ended in the order in which it was made, from where it last stopped."""
        text, removed = self._base.statements, 0
        for _ in range(LOOKS):
            rows = await link.fetch(text["old"], self._pruned_to, limit)
            old = [row["id"] for row in rows if row["finished_at"] < cutoff]
            done = len(rows) < limit or rows[-1]["created_at"] >= cutoff
            last = UUID(int=0) if done else rows[-1]["id"]
            if len(old) > limit - removed:
                del old[limit - removed :]
                done, last = False, old[-1]
            if old:
                removed += len(await link.fetch(text["forget_ended"], old, cutoff))
            self._pruned_to = last
            if done or removed >= limit:
                return removed, not done
        return removed, True
