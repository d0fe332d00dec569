"""A disk that fails now and then, under the SQLite of one process."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import apsw

from tests.process.parts import Journal

__all__ = ["BadDisk"]


class BadDisk(apsw.VFS):
    """The system's files, on which writes and syncs fail while a file "faulty" stands in the
    folder of the test; each time leaves a note.

    A write that fails has been carried out in part, or not at all. After a sync that failed,
    what was written since the last one is on the disk, or, as often, is gone.
    """

    def __init__(self, folder: Path, journal: Journal, write: float, sync: float) -> None:
        """`write`, `sync`: how likely each is to fail."""
        super().__init__("bad-disk", "unix", makedefault=True)
        self._gate = folder / "faulty"
        self._journal = journal
        self._likely = {"write": write, "sync": sync}
        self.chance = random.Random(os.getpid())

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return BadFile(self, name, flags)

    def fails(self, act: str) -> bool:
        failing = self._gate.exists() and self.chance.random() < self._likely[act]
        if failing:
            self._journal.write(f"injected-{act}")
        return failing


class BadFile(apsw.VFSFile):
    def __init__(self, disk: BadDisk, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self._unsynced: list[tuple[int, bytes]] = []
        """Places written since the last sync, with what stood there."""

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._disk.fails("write"):
            part = self._disk.chance.randrange(len(data))
            if part:
                super().xWrite(data[:part], offset)
            raise apsw.IOError(f"injected: {part} of {len(data)} bytes were written")
        there = max(0, min(len(data), self.xFileSize() - offset))
        before = self.xRead(there, offset) if there else b""
        self._unsynced.append((offset, bytes(before).ljust(len(data), b"\0")))
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if self._disk.fails("sync"):
            if self._disk.chance.random() < 0.5:
                for offset, before in reversed(self._unsynced):
                    super().xWrite(before, offset)
            self._unsynced.clear()
            raise apsw.IOError("injected: not synced")
        super().xSync(flags)
        self._unsynced.clear()
