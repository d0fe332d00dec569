"""An embedded storage that keeps figures over time, beside schedules and workflows."""

from __future__ import annotations

from collections.abc import Sequence

from backroom.crew import WorkerInfo, WorkerReport
from backroom.figure import Figures
from backroom.storage.planned import PlannedStorage
from backroom.storage.sqlite import figures as kept
from backroom.storage.sqlite.inspect import Inspector
from backroom.storage.sqlite.ledger import Ledger
from backroom.watching import Past

__all__ = ["WatchedStorage"]


class WatchedStorage(PlannedStorage):
    """`Watching`."""

    async def tell(
        self,
        worker: int | None,
        number: int,
        report: WorkerReport | None,
        figures: Sequence[Figures],
    ) -> None:
        await self._write(kept.tell, worker, number, report, figures)

    async def sample(self, now: int) -> bool:
        if await self._ask(kept.needless, now):
            return False
        stats = await self._read(Inspector.stats, now)
        if await self._ask(kept.needless, now, stats):
            return False
        return await self._write(kept.keep_sample, stats, now)

    async def past(
        self, step: int, since: int, until: int, queue: str | None, type: str | None
    ) -> Past:
        return await self._ask(kept.past, step, since, until, queue, type)

    async def totals(self) -> list[Figures]:
        return await self._ask(kept.totals)

    async def crew(self) -> list[WorkerInfo]:
        dead = await self._write(self._dead)
        return await self._ask(kept.crew, dead)

    async def drain(self, worker: int, on: bool) -> bool:
        def drain(ledger: Ledger) -> bool:
            return worker not in self._dead(ledger) and kept.drain(ledger, worker, on)

        return await self._write(drain)
