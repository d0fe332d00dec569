"""A worker's board of starts: which claims' user code has begun, where `kill -9` leaves it.

The worker's row in the database says, durably, which claims it *may* start: after a power cut
that is all there is to know, and each of them is charged an attempt. But when only the process
died, the kernel still holds what it wrote to a mapped file. Sixteen bytes written there right
before a handler's first line tell exactly which claims ran, so that a job that had been
cleared to start but had not begun comes back untouched.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from backroom.transition import Claim

__all__ = ["StartBoard"]

_ENTRY: Final = struct.Struct("=qq")
_FIRST: Final = 1024
"""Slots of a new board."""


class StartBoard:
    """Slots of (key, token); a free one holds no token. Used from the loop and from threads.

    The first slot tells whether the board is whole: where there is no room on the disk for more
    slots, it is not, and the worker's row in the database counts alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._closed = False
        self._slots: dict[int, int] = {}
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self._use(self._mapped(_FIRST))
        except BaseException:
            os.close(self._file)
            path.unlink(missing_ok=True)
            raise
        self._free = list(range(2, 2 * _FIRST, 2))
        """Of each free slot the first word."""

    def _mapped(self, slots: int) -> mmap.mmap:
        """The file, so large, on disk: touching a page without a block behind it would kill us."""
        os.posix_fallocate(self._file, 0, slots * _ENTRY.size)
        return mmap.mmap(self._file, slots * _ENTRY.size)

    def _use(self, map_: mmap.mmap) -> None:
        self._map = map_
        self._words = memoryview(map_).cast("q")

    def note(self, claim: Claim) -> None:
        """This claim's user code begins now."""
        with self._lock:
            if not self._free and not self._grow():
                return
            slot = self._free.pop()
            self._slots[claim.key] = slot
            self._words[slot] = claim.key
            self._words[slot + 1] = claim.token  # Until this is there the slot is free.

    def clear(self, keys: Iterable[int]) -> None:
        """What became of these claims is durable now."""
        with self._lock:
            for key in keys:
                slot = self._slots.pop(key, None)
                if slot is not None:
                    self._words[slot + 1] = 0
                    self._free.append(slot)

    def _grow(self) -> bool:
        if self._closed:
            return False
        words = len(self._words)
        try:
            larger = self._mapped(words)
        except OSError:
            self._words[0] = self._words[1] = -1
            return False
        self._let_go()
        self._use(larger)
        self._free = list(range(words, 2 * words, 2))
        return True

    def _let_go(self) -> None:
        self._words.release()
        self._map.close()

    def close(self) -> None:
        """Lets the file go, and removes it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._slots.clear()
            self._free.clear()
            self._let_go()
            os.close(self._file)
            self._path.unlink(missing_ok=True)

    @staticmethod
    def read(path: Path) -> set[tuple[int, int]] | None:
        """What a dead worker had noted; None if its board is gone, or not whole."""
        try:
            data = path.read_bytes()
        except OSError:
            return None
        whole = len(data) - len(data) % _ENTRY.size
        noted = {(key, token) for key, token in _ENTRY.iter_unpack(data[:whole]) if token}
        return None if (-1, -1) in noted else noted
