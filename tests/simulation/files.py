"""The file storage under a world: for each process one of its own, all on one folder.

The processes of a world are all in one process of the system, whose locks therefore do not tell
them apart. What the system does for one that dies, `crashed` does: its locks fall, and nobody
writes through its connection any more; its board of starts stays where it is.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from backroom import FileJobStorage
from backroom.ports import Store
from backroom.storage.starts import StartBoard
from tests.simulation.loop import SimLoop
from tests.simulation.server import on_loop
from tests.simulation.world import SimClock

__all__ = ["Files"]

QUICK = Path("/dev/shm")
"""Where writing and syncing cost nothing, where there is such a place."""


class Files:
    """See `Backends`."""

    precise = True

    def __init__(self, loop: SimLoop) -> None:
        self.clock = self.own = SimClock(loop)
        self._loop = asyncio.new_event_loop()
        place = str(QUICK) if QUICK.is_dir() else None
        self._folder = tempfile.TemporaryDirectory(prefix="backroom-world-", dir=place)
        self._storages: list[FileJobStorage] = []
        self._left: list[StartBoard] = []
        """Of processes that have crashed."""

    def make(self, clock: SimClock, retention: float | None) -> Store:
        storage = FileJobStorage(
            Path(self._folder.name) / "jobs", retention=retention, clock=self.clock
        )
        self.run(storage.open)
        self._storages.append(storage)
        return storage

    def crashed(self, backend: Store) -> None:
        storage = cast("FileJobStorage", backend)
        folder, _ = storage._opened()
        for worker in list(storage._boards):
            self._left.append(storage._boards.pop(worker))
            folder.drop(worker)

    def run(self, call: Callable[[], Awaitable[Any]]) -> Any:
        return on_loop(self._loop, call)

    def close(self) -> None:
        for storage in self._storages:
            self.crashed(storage)
            self.run(storage.close)
        for board in self._left:
            board.close()
        self._loop.close()
        self._folder.cleanup()
