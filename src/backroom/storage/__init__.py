"""Where jobs live."""

from __future__ import annotations

from backroom.storage.file import FileJobStorage
from backroom.storage.memory import MemoryJobStorage

__all__ = ["FileJobStorage", "MemoryJobStorage"]
