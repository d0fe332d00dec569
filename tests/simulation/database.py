"""PostgreSQL under a world: one storage for all processes, as the server is far away from each.

Lease time is the world's. What a connection that breaks does to a process is not tried here: the
network of the world loses calls and answers in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

from backroom.ports import Store
from backroom.storage.postgres import DatabaseJobStorage
from tests.servers.fixtures import shared_place
from tests.simulation.loop import SimLoop
from tests.simulation.server import on_loop
from tests.simulation.world import SimClock

__all__ = ["Database"]


class Database:
    """See `Backends`."""

    clock = None
    precise = False

    def __init__(self, loop: SimLoop) -> None:
        self.own = SimClock(loop)
        self._loop = asyncio.new_event_loop()
        self._stack = ExitStack()
        self._place = self._stack.enter_context(shared_place())
        self._storage: DatabaseJobStorage | None = None

    def make(self, clock: SimClock, retention: float | None) -> Store:
        if self._storage is None:
            self._storage = DatabaseJobStorage(
                self._place.url, schema=self._place.schema, retention=retention, clock=self.own
            )
            self.run(self._storage.open)
        return self._storage

    def crashed(self, backend: Store) -> None:
        """It learns that from nobody."""

    def run(self, call: Callable[[], Awaitable[Any]]) -> Any:
        return on_loop(self._loop, call)

    def close(self) -> None:
        if self._storage is not None:
            self.run(self._storage.close)
        self._loop.close()
        self._stack.close()
