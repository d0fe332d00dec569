"""The files of the system under SQLite, in this process, with somebody who watches."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import apsw

__all__ = ["Act", "WatchedDisk", "WatchedFile"]

Act = Literal["open", "write", "sync"]


class WatchedDisk(apsw.VFS):
    """Who derives from it hears of every act on a file, before it and after it; what is raised
    before it fails it."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name))
        self.before("open", path, None)
        return WatchedFile(self, path, name, flags)

    def before(self, act: Act, path: Path, file: WatchedFile | None) -> None:
        """`file` is None while it is opened."""

    def after(self, act: Act, path: Path, file: WatchedFile) -> None:
        """It has been carried out."""


class WatchedFile(apsw.VFSFile):
    def __init__(self, disk: WatchedDisk, path: Path, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk, self._path = disk, path

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.before("write", self._path, self)
        super().xWrite(data, offset)
        self._disk.after("write", self._path, self)

    def xSync(self, flags: int) -> None:
        self._disk.before("sync", self._path, self)
        super().xSync(flags)
        self._disk.after("sync", self._path, self)
