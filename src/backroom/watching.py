"""The seam of watching: what workers tell of themselves, and what happened over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from backroom.crew import WorkerInfo, WorkerReport
from backroom.figure import Figures
from backroom.history import Depth

__all__ = ["Past", "Watching"]


class Past(msgspec.Struct, frozen=True):
    """What a storage has kept of a stretch of time."""

    figures: list[Figures]
    """In any order; several of one moment are to be added."""
    errors: list[tuple[str, str, int]]
    """Kind, job type, and how many attempts."""
    samples: list[tuple[int, Mapping[str, Depth]]]
    """When somebody looked, and the depth of each queue then, in order. One that was taken before
    the stretch began may be the first."""


class Watching(Protocol):
    """A storage that keeps figures over time. Every verb may raise `StorageError`.

    Figures are kept for stretches of `FINE` and of `COARSE` seconds, each for so long that what can
    be asked for is there, and as a sum since the store was made. They are no part of what a store
    promises to keep: who moves its jobs to another one leaves them behind.
    """

    async def tell(
        self,
        worker: int | None,
        number: int,
        report: WorkerReport | None,
        figures: Sequence[Figures],
    ) -> None:
        """Keeps what a worker tells of itself in the place of what it told before, and adds what it
        has counted, in one change.

        Args:
            worker: None: it is no worker that tells, and there is no report.
            number: grows with each new telling of this worker. What came with a number that
                was taken is not added again, so a telling with an unknown reply is told
                anew as it was. Without a worker each one is added.
            figures: of moments that need not be the beginning of a stretch.
        """
        ...

    async def sample(self, now: int) -> bool:
        """Keeps how deep the queues are now, if nobody has done so in this stretch; and where
        nothing has changed since, not more often than once a minute. Returns whether it did."""
        ...

    async def past(
        self, step: int, since: int, until: int, queue: str | None, type: str | None
    ) -> Past:
        """What is kept of stretches of `step` seconds, `FINE` or `COARSE`, that begin at `since`
        or after it and before `until`; of one queue or job type, or of all."""
        ...

    async def totals(self) -> list[Figures]:
        """All that was ever told, by queue and job type, in their order."""
        ...

    async def crew(self) -> list[WorkerInfo]:
        """Every worker that is enlisted, in the order in which they came."""
        ...

    async def drain(self, worker: int, on: bool) -> bool:
        """A worker is to claim nothing, or to claim again; it is told with its next heartbeat
        (`Heartbeat.draining`), and woken for it. False: no such worker lives."""
        ...
