"""What happened over time, and what workers tell of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from backroom.crew import WorkerInfo, WorkerReport
from backroom.figure import Figures
from backroom.history import FINE, depths_of
from backroom.job import to_datetime
from backroom.ports import Wake
from backroom.storage.postgres.people import People
from backroom.storage.postgres.series import add, read
from backroom.storage.postgres.texts import from_text, to_text
from backroom.storage.told import (
    ALL,
    KEPT,
    due_samples,
    read_sample,
    rows_of,
    unchanged,
    write_sample,
)
from backroom.watching import Past

__all__ = ["Watching"]


class Watching(People):
    """`Watching`, over `_base`."""

    _series: frozenset[tuple[str, str]] = frozenset()
    """Queues and job types of which we know that they have figures."""

    async def tell(
        self,
        worker: int | None,
        number: int,
        report: WorkerReport | None,
        figures: Sequence[Figures],
    ) -> None:
        """See `Watching.tell`."""
        text = self._base.statements
        if not {(one.queue, one.type) for one in figures} <= self._series:
            rows = await self._base.fetch("series")
            self._series = frozenset((from_text(queue), from_text(type_)) for queue, type_ in rows)
        known = self._series
        said = None if report is None else msgspec.json.encode(report).decode()

        async def tell(link: Any) -> None:
            if worker is not None:
                fresh = await link.fetchval(text["tell_report"], worker, number, said)
                if not fresh:
                    return
            if figures:
                await add(link, text, rows_of(figures, known))

        await self._base.change(tell)

    async def sample(self, now: int) -> bool:
        """See `Watching.sample`."""
        last = {row["step"]: row for row in await self._base.fetch("last_samples", list(KEPT))}
        due = due_samples(now, {step: row["at"] for step, row in last.items()})
        if not due:
            return False
        depths = depths_of(await self.stats(now), now)
        if FINE in last:
            _, before = read_sample(0, from_text(last[FINE]["queues"]))
            if unchanged(before, last[FINE]["seen_at"], depths, now):
                return False
        queues = to_text(write_sample(depths))
        steps, begins = map(list, zip(*due, strict=True))
        return bool(await self._base.fetch("add_samples", steps, begins, now, queues))

    async def past(
        self, step: int, since: int, until: int, queue: str | None, type: str | None
    ) -> Past:
        """See `Watching.past`."""
        text, stretch = self._base.statements, (step, since, until)
        which = (to_text(queue), to_text(type))

        async def look(link: Any) -> Past:
            async with link.transaction(isolation="repeatable_read", readonly=True):
                if queue is None and type is not None:
                    rows = await link.fetch(text["past_of_type"], *stretch, which[1])
                else:
                    exactly = (which[0] or ALL, which[1] or ALL)
                    rows = await link.fetch(text["past"], *stretch, *exactly)
                errors = await link.fetch(text["past_errors"], *stretch, *which)
                samples = await link.fetch(text["past_samples"], *stretch)
            return Past(
                [read(row) for row in rows],
                [(kind, from_text(name), number) for kind, name, number in errors],
                [read_sample(at, from_text(queues)) for at, queues in samples],
            )

        return await self._base.links.run(look)

    async def totals(self) -> list[Figures]:
        """See `Watching.totals`."""
        figures = [read(row) for row in await self._base.fetch("totals")]
        return sorted(figures, key=lambda one: (one.queue, one.type))

    async def crew(self) -> list[WorkerInfo]:
        """See `Watching.crew`."""
        rows = await self._base.fetch("crew", self._base.presence.key, self._base.lease_now())
        return [
            WorkerInfo(
                id_, from_text(name), to_datetime(started_at), int(claimed), draining, not gone,
                None if report is None else msgspec.json.decode(report, type=WorkerReport),
            )
            for id_, name, started_at, draining, report, claimed, gone in rows
        ]  # fmt: skip

    async def drain(self, worker: int, on: bool) -> bool:
        """See `Watching.drain`."""
        told = (self._base.presence.key, self._base.lease_now())
        found = bool(await self._base.fetch("drain", *told, worker, on))
        if found:
            self._base.ring(Wake.CONTROL)
        return found
