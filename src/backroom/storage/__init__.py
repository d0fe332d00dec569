"""Where jobs live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backroom.storage.file import FileJobStorage
from backroom.storage.memory import MemoryJobStorage

if TYPE_CHECKING:
    from backroom.storage.postgres import DatabaseJobStorage

__all__ = ["DatabaseJobStorage", "FileJobStorage", "MemoryJobStorage"]

if not TYPE_CHECKING:  # A program that keeps its jobs in a folder needs no driver.

    def __getattr__(name):
        if name != "DatabaseJobStorage":
            raise AttributeError(f"module 'backroom.storage' has no attribute {name!r}")
        from backroom.storage.postgres import DatabaseJobStorage

        return DatabaseJobStorage
