"""What happened over time, and workers, for code without asyncio: a part of `backroom.blocking`."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from backroom.crew import WorkerInfo
from backroom.history import History, Totals
from backroom.registry import JobType
from backroom.service import JobService

__all__ = ["BlockingObserving"]

T = TypeVar("T")


class BlockingObserving:
    """Each verb is handed to the service, and waited for."""

    _service: JobService

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError

    def get_history(
        self,
        last: float | timedelta = 3600,
        *,
        queue: str | None = None,
        type: str | JobType[Any, Any] | None = None,
    ) -> History:
        """Like `JobService.get_history`."""
        return self._call(self._service.get_history(last, queue=queue, type=type))

    def get_totals(self) -> list[Totals]:
        """Like `JobService.get_totals`."""
        return self._call(self._service.get_totals())

    def get_workers(self) -> list[WorkerInfo]:
        """Like `JobService.get_workers`."""
        return self._call(self._service.get_workers())

    def drain_worker(self, worker: int, on: bool = True) -> None:
        """Like `JobService.drain_worker`."""
        self._call(self._service.drain_worker(worker, on))
