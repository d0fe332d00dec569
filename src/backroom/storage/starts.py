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
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from backroom.transition import Claim

__all__ = ["StartBoard"]

_ENTRY: Final = struct.Struct("=qq")
_FIRST: Final = 1024


class StartBoard:
    """Slots of (key, token); a free one holds zeros. Used from one loop at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, _FIRST * _ENTRY.size)
        self._map = mmap.mmap(self._file, _FIRST * _ENTRY.size)
        self._free = list(range(_FIRST))
        self._slots: dict[int, int] = {}

    def note(self, claim: Claim) -> None:
        """This claim's user code begins now."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._slots[claim.key] = slot
        _ENTRY.pack_into(self._map, slot * _ENTRY.size, claim.key, claim.token)

    def clear(self, keys: Iterable[int]) -> None:
        """What became of these claims is durable now."""
        for key in keys:
            slot = self._slots.pop(key, None)
            if slot is not None:
                _ENTRY.pack_into(self._map, slot * _ENTRY.size, 0, 0)
                self._free.append(slot)

    def _grow(self) -> None:
        slots = len(self._slots)
        os.ftruncate(self._file, 2 * slots * _ENTRY.size)
        self._map.close()
        self._map = mmap.mmap(self._file, 2 * slots * _ENTRY.size)
        self._free = list(range(slots, 2 * slots))

    def close(self) -> None:
        """Lets the file go, and removes it."""
        self._map.close()
        os.close(self._file)
        self._path.unlink(missing_ok=True)

    @staticmethod
    def read(path: Path) -> set[tuple[int, int]] | None:
        """What a dead worker had noted; None if its board is gone."""
        try:
            data = path.read_bytes()
        except OSError:
            return None
        whole = len(data) - len(data) % _ENTRY.size
        return {(key, token) for key, token in _ENTRY.iter_unpack(data[:whole]) if token}
