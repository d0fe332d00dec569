"""Jobs in memory: the same tables and rules as on disk, gone with the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Concatenate, ParamSpec, TypeVar

import apsw

from backroom.errors import StorageClosedError
from backroom.ports import Capabilities, Clock
from backroom.storage.embedded import DEFAULT_RETENTION
from backroom.storage.sqlite import workers
from backroom.storage.sqlite.connect import steady_plans
from backroom.storage.sqlite.inspect import Inspector
from backroom.storage.sqlite.ledger import Ledger
from backroom.storage.watched import WatchedStorage

__all__ = ["MemoryJobStorage"]

P = ParamSpec("P")
T = TypeVar("T")


class MemoryJobStorage(WatchedStorage):
    """For tests, and for work that may be lost. One process only.

    Who closes it last forgets everything. Nothing here waits: a verb is done when its coroutine is
    first run, so a test under a virtual clock is deterministic.
    """

    capabilities = Capabilities(durable=False, shared=False, planning=True, flowing=True)

    def __init__(
        self,
        *,
        retention: float | timedelta | None = DEFAULT_RETENTION,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(retention, clock)
        self._ledger: Ledger | None = None
        self._users = 0
        # The lease is extended from a thread of its own.
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return "memory:"

    async def open(self) -> None:
        with self._lock:
            if self._ledger is None:
                connection = apsw.Connection(":memory:")
                steady_plans(connection)
                self._ledger = Ledger(connection)
                self._ledger.create()
                self._users = 0
            self._users += 1

    async def close(self) -> None:
        with self._lock:
            self._users -= 1
            if self._ledger is not None and self._users <= 0:
                self._ledger.connection.close()
                self._ledger = None

    def _opened(self) -> Ledger:
        if self._ledger is None:
            raise StorageClosedError("this memory storage is not open")
        return self._ledger

    async def _write(
        self, change: Callable[Concatenate[Ledger, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with self._lock:
            ledger = self._opened()
            before = ledger.snapshot()
            try:
                with ledger.connection:
                    ledger.begin()
                    result = change(ledger, *args, **kwargs)
                    ledger.flush()
                ledger.settle()
                wakes, ledger.wakes = ledger.wakes, set()
            except BaseException:
                ledger.rollback(before)
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

    def _dead(self, ledger: Ledger) -> dict[int, Collection[tuple[int, int]] | None]:
        now = self.clock.uptime()
        return {one.worker: None for one in workers.workers(ledger) if one.until <= now}
