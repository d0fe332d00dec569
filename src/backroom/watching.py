"""The seam of watching: what workers tell of themselves, and what happened over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backroom.figure import Figures, WorkerReport

__all__ = ["Watching"]


class Watching(Protocol):
    """A storage that keeps figures over time. Every verb may raise `StorageError`."""

    async def tell(
        self, worker: int, report: WorkerReport, figures: Sequence[Figures], now: int
    ) -> None:
        """Keeps what a worker tells of itself in the place of what it told before, and adds what it
        counted since then."""
        ...
