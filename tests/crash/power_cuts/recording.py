"""What a process does to its files, written down while it does it.

SQLite's files pass through a VFS over the system's own. What `backroom` does beside SQLite goes
through a few functions of `os`, which are watched likewise. `check` compares what was written
down with what lies in the folder: whatever went past the recording is noticed.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from tests.crash.power_cuts.disk import (
    ROOT,
    Change,
    Disk,
    Link,
    Rename,
    Tree,
    Truncate,
    Unlink,
    Write,
)
from tests.crash.power_cuts.notes import Note

__all__ = ["Recording", "Sync", "forgotten", "recorded"]

NAME: Final = "recorded"
OPENING: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int))
"""SQLite's own function that opens a file's folder; it does that only to sync it."""


class Sync:
    """A file, or a folder's names, are on the disk."""

    def __init__(self, node: int) -> None:
        self.node = node


def forgotten(name: str) -> bool:
    """What is nobody's after a power cut: locks, shared memory, and boards of starts."""
    return name.endswith((".lock", "-shm", ".starts"))


class Recording:
    """The events of one life of a store, in order: changes, syncs, and what was promised."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """`disk` is what lies below `root` when it begins."""
        self.root = root
        self.disk = disk.copy()
        self.events: list[Change | Sync | Note] = []
        self._lock = threading.RLock()
        self._nodes: dict[str, int] = {"": ROOT}
        self._names: dict[int, str] = {ROOT: "the root"}
        linked = [change.node for change in disk.pending if isinstance(change, Link)]
        self._next = 1 + max([ROOT, *disk.files, *disk.folders, *linked])
        self._place(disk.everything(), "", ROOT)

    def _place(self, disk: Disk, path: str, folder: int) -> None:
        for name, node in disk.folders[folder].items():
            self._nodes[path + name] = node
            self._names[node] = path + name
            if node in disk.folders:
                self._place(disk, f"{path}{name}/", node)

    def note(self, note: Note) -> None:
        """Something was asked, promised or begun."""
        self._add(note)

    def _add(self, event: Change | Sync | Note) -> None:
        with self._lock:
            self.events.append(event)

    # -- by path -------------------------------------------------------------------------------

    def node(self, path: str | os.PathLike[str]) -> int | None:
        """The number of what stands there now; None for what is not recorded."""
        return self._nodes.get(self._inside(path)) if self._is_inside(path) else None

    def name(self, node: int) -> str:
        """A path that a node has, or had."""
        return self._names.get(node, "?")

    def _is_inside(self, path: str | os.PathLike[str]) -> bool:
        full = os.path.abspath(path)
        return full == str(self.root) or full.startswith(f"{self.root}/")

    def _inside(self, path: str | os.PathLike[str]) -> str:
        return os.path.abspath(path)[len(str(self.root)) + 1 :]

    def _split(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        return self._nodes[above], name

    def made(self, path: str | os.PathLike[str], *, is_folder: bool = False) -> int | None:
        """A file or folder was made there."""
        if not self._is_inside(path) or forgotten(os.path.basename(path)):
            return None
        with self._lock:
            inside = self._inside(path)
            folder, name = self._split(inside)
            node, self._next = self._next, self._next + 1
            self._nodes[inside] = node
            self._names[node] = inside
            self._add(Link(folder, name, node, is_folder))
            return node

    def removed(self, path: str | os.PathLike[str]) -> None:
        if self.node(path) is not None:
            with self._lock:
                inside = self._inside(path)
                del self._nodes[inside]
                self._add(Unlink(*self._split(inside)))

    def renamed(self, path: str | os.PathLike[str], new: str | os.PathLike[str]) -> None:
        if self.node(path) is not None:
            with self._lock:
                old, inside = self._inside(path), self._inside(new)
                self._nodes[inside] = self._nodes.pop(old)
                self._add(Rename(*self._split(old), self._split(inside)[1]))

    # -- by node -------------------------------------------------------------------------------

    def wrote(self, node: int | None, offset: int, data: bytes) -> None:
        if node is not None and data:
            self._add(Write(node, offset, data))

    def cut(self, node: int | None, size: int) -> None:
        if node is not None:
            self._add(Truncate(node, size))

    def synced(self, node: int | None) -> None:
        if node is not None:
            self._add(Sync(node))

    # -- whether it saw everything ---------------------------------------------------------------

    def check(self) -> None:
        """Raises where the folder holds what was not written down, or lacks what was."""
        disk = self.disk.copy()
        for event in self.events:
            if isinstance(event, Sync):
                disk.sync(event.node)
            elif isinstance(event, Change):
                disk.pending.append(event)
        told, real = disk.everything().tree(), _read(self.root)
        unlike = {path for path in told.keys() | real.keys() if told.get(path) != real.get(path)}
        if unlike or told.keys() != real.keys():
            raise AssertionError(f"the recording is not what lies on the disk: {sorted(unlike)}")


def _read(root: Path) -> Tree:
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
        if path.is_dir() or (path.is_file() and not forgotten(path.name))
    }


@contextmanager
def recorded(recording: Recording) -> Iterator[None]:
    """All that is done below its root is written down."""
    vfs = _RecordedVFS(recording)
    with _watched_system(recording):
        try:
            yield
        finally:
            vfs.end()


class _RecordedVFS(apsw.VFS):
    """The system's files under SQLite, and under every connection while it stands."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(NAME, "unix", makedefault=True)
        self._recording = recording
        self.folders: list[str] = []
        """Those that SQLite has opened, and so syncs, in the call under way. Only the one that
        writes does so."""
        plain: Any = OPENING(self.xGetSystemCall("openDirectory") or 0)

        def opening(path: bytes, descriptor: Any) -> int:
            self.folders.append(os.path.dirname(path.decode()))
            return int(plain(path, descriptor))

        self._opening = OPENING(opening)
        pointer = ctypes.cast(self._opening, ctypes.c_void_p).value or 0
        if not self.xSetSystemCall("openDirectory", pointer):
            raise RuntimeError("SQLite does not say any more when it syncs a folder")

    def end(self) -> None:
        self.xSetSystemCall("openDirectory", 0)
        self.unregister()

    def sync_folders(self) -> None:
        while self.folders:
            self._recording.synced(self._recording.node(self.folders.pop(0)))

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        there = os.path.exists(path)
        file = _RecordedFile(self, self._recording, name, flags)
        if not there and os.path.exists(path):
            self._recording.made(path)
        file.node = self._recording.node(path)
        return file

    def xDelete(self, name: str, sync_folder: bool) -> None:
        super().xDelete(name, sync_folder)
        self._recording.removed(name)
        self.sync_folders()


class _RecordedFile(apsw.VFSFile):
    def __init__(
        self, vfs: _RecordedVFS, recording: Recording, name: Any, flags: list[int]
    ) -> None:
        super().__init__("unix", name, flags)
        self._vfs, self._recording = vfs, recording
        self.node: int | None = None

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._recording.wrote(self.node, offset, bytes(data))

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        self._recording.cut(self.node, size)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._recording.synced(self.node)
        self._vfs.sync_folders()


@contextmanager
def _watched_system(recording: Recording) -> Iterator[None]:
    """The functions of `os` that make, write, sync, rename and remove are told of."""
    plain: dict[str, Callable[..., Any]] = {}
    opened: dict[int, int] = {}

    def mkdir(path: Any, *args: Any, **kwargs: Any) -> None:
        plain["mkdir"](path, *args, **kwargs)
        recording.made(path, is_folder=True)

    def open_(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        there = os.path.exists(path)
        descriptor: int = plain["open"](path, flags, *args, **kwargs)
        if not there:
            recording.made(path)
        node = recording.node(path)
        if node is not None:
            opened[descriptor] = node
            if there and flags & os.O_TRUNC:
                recording.cut(node, 0)
        return descriptor

    def close(descriptor: int) -> None:
        opened.pop(descriptor, None)
        plain["close"](descriptor)

    def write(descriptor: int, data: bytes) -> int:
        at = os.lseek(descriptor, 0, os.SEEK_CUR) if descriptor in opened else 0
        written: int = plain["write"](descriptor, data)
        recording.wrote(opened.get(descriptor), at, bytes(data[:written]))
        return written

    def fsync(descriptor: int) -> None:
        plain["fsync"](descriptor)
        recording.synced(opened.get(descriptor))

    def unlink(path: Any, *args: Any, **kwargs: Any) -> None:
        plain["unlink"](path, *args, **kwargs)
        recording.removed(path)

    def replace(path: Any, new: Any, *args: Any, **kwargs: Any) -> None:
        plain["replace"](path, new, *args, **kwargs)
        recording.renamed(path, new)

    watched = {
        "mkdir": mkdir, "open": open_, "close": close, "write": write, "fsync": fsync,
        "unlink": unlink, "replace": replace,
    }  # fmt: skip
    for name, function in watched.items():
        plain[name] = getattr(os, name)
        setattr(os, name, function)
    try:
        yield
    finally:
        for name, function in plain.items():
            setattr(os, name, function)
