"""Jobs in memory: the same tables and rules as on disk, gone with the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Concatenate, ParamSpec, TypeVar

import apsw

from backroom.errors import StorageClosedError
from backroom.ports import Capabilities, Clock
from backroom.storage.embedded import DEFAULT_RETENTION, EmbeddedStorage
from backroom.storage.inspect import Inspector
from backroom.storage.sqlite import JobTables

__all__ = ["MemoryJobStorage"]

P = ParamSpec("P")
T = TypeVar("T")


class MemoryJobStorage(EmbeddedStorage):
    """For tests, and for work that may be lost. One process only.

    Closing it forgets everything. Nothing here waits: a verb is done when its coroutine is
    first run, so a test under a virtual clock is deterministic.
    """

    capabilities = Capabilities(durable=False, shared=False)

    def __init__(
        self,
        *,
        retention: float | timedelta | None = DEFAULT_RETENTION,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(retention, clock)
        self._tables: JobTables | None = None
        # The lease is extended from a thread of its own.
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return "memory:"

    async def open(self) -> None:
        if self._tables is None:
            self._tables = JobTables(apsw.Connection(":memory:"))
            self._tables.create()

    async def close(self) -> None:
        with self._lock:
            if self._tables is not None:
                self._tables.connection.close()
                self._tables = None

    def _opened(self) -> JobTables:
        if self._tables is None:
            raise StorageClosedError("this memory storage is not open")
        return self._tables

    async def _write(
        self, change: Callable[Concatenate[JobTables, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with self._lock:
            tables = self._opened()
            before = tables.snapshot()
            try:
                with tables.connection:
                    tables.begin()
                    result = change(tables, *args, **kwargs)
                    tables.flush()
                wakes, tables.wakes = tables.wakes, set()
            except BaseException:
                tables.rollback(before)
                raise
        self._wake(wakes)
        return result

    async def _read(
        self, look: Callable[Concatenate[Inspector, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with self._lock:
            return look(Inspector(self._opened().connection), *args, **kwargs)

    def _boot(self) -> str:
        return "memory"

    def _dead(self, tables: JobTables) -> dict[int, Collection[tuple[int, int]] | None]:
        now = self.clock.uptime()
        return {worker: None for worker, _, _, until in tables.workers() if until <= now}
