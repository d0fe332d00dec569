"""A disk as POSIX promises it: what was synced is there after a power cut; of all else, anything.

A file's content is durable once the file was synced, a name once the folder it stands in was:
also the name of a folder, in the folder above. Until then each change may have reached the disk
or not, whatever the others did, and a write in part: any of its 512-byte sectors.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "KEPT", "LOST", "ROOT", "Change", "Disk", "Fate", "Link", "Rename", "Torn", "Tree",
    "Truncate", "Unlink", "Write", "sectors",
]  # fmt: skip

SECTOR: Final = 512
ROOT: Final = 0
"""The folder that was there, durably, before anything began."""

Tree = dict[str, bytes | None]
"""By path below the root: a file's content, or None for a folder."""


@dataclass(frozen=True)
class Write:
    """Bytes of a file, at an offset."""

    node: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    """A file's size is set."""

    node: int
    size: int


@dataclass(frozen=True)
class Link:
    """A new file or folder gets its name."""

    folder: int
    name: str
    node: int
    is_folder: bool = False


@dataclass(frozen=True)
class Unlink:
    """A name goes."""

    folder: int
    name: str


@dataclass(frozen=True)
class Rename:
    """A name becomes another one of the same folder: both at once, or not at all."""

    folder: int
    name: str
    new: str


Change = Write | Truncate | Link | Unlink | Rename


@dataclass(frozen=True)
class Torn:
    """Of a write: only these sectors, by their order in it, reached the disk."""

    sectors: frozenset[int]
    grown: bool
    """The file has the write's whole length all the same, with zeros where nothing is."""


KEPT: Final = True
LOST: Final = False
Fate = bool | Torn


def sectors(write: Write) -> list[slice]:
    """The parts of a write's data that reach the disk, or do not, each by itself."""
    first = write.offset // SECTOR * SECTOR - write.offset
    end = len(write.data)
    return [slice(max(at, 0), min(at + SECTOR, end)) for at in range(first, end, SECTOR)]


@dataclass
class Disk:
    """What is durable, and what is not yet."""

    files: dict[int, bytes] = field(default_factory=dict)
    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    pending: list[Change] = field(default_factory=list)

    @classmethod
    def of(cls, tree: Mapping[str, bytes | None]) -> Disk:
        """One on which all of a tree is durable."""
        disk = cls()
        for node, (path, content) in enumerate(sorted(tree.items()), ROOT + 1):
            *above, name = path.split("/")
            folder = ROOT
            for part in above:
                folder = disk.folders[folder][part]
            disk.folders[folder][name] = node
            if content is None:
                disk.folders[node] = {}
            else:
                disk.files[node] = content
        return disk

    def copy(self) -> Disk:
        return copy.deepcopy(self)

    def sync(self, node: int) -> None:
        """All that was done to a file, or to the names of a folder, is durable now."""
        done = [change for change in self.pending if _subject(change) == node]
        self.pending = [change for change in self.pending if _subject(change) != node]
        _apply(done, [KEPT] * len(done), self.files, self.folders)

    def after(self, fates: Sequence[Fate]) -> Disk:
        """The disk that a power cut leaves, where each pending change had its fate."""
        files, folders = dict(self.files), {n: dict(names) for n, names in self.folders.items()}
        _apply(self.pending, fates, files, folders)
        return Disk(files, folders)

    def everything(self) -> Disk:
        """The disk as processes see it."""
        return self.after([KEPT] * len(self.pending))

    def tree(self) -> Tree:
        """What can be reached from the root, of what is durable."""
        tree: Tree = {}
        folders = [("", ROOT)]
        while folders:
            path, folder = folders.pop()
            for name, node in self.folders[folder].items():
                if node in self.folders:
                    tree[path + name] = None
                    folders.append((f"{path}{name}/", node))
                else:
                    tree[path + name] = self.files.get(node, b"")
        return tree


def _subject(change: Change) -> int:
    return change.node if isinstance(change, Write | Truncate) else change.folder


def _apply(
    changes: Iterable[Change],
    fates: Iterable[Fate],
    files: dict[int, bytes],
    folders: dict[int, dict[str, int]],
) -> None:
    open_: dict[int, bytearray] = {}

    def content(node: int) -> bytearray:
        if node not in open_:
            open_[node] = bytearray(files.get(node, b""))
        return open_[node]

    for change, fate in zip(changes, fates, strict=True):
        if isinstance(change, Link) and change.is_folder:
            folders.setdefault(change.node, {})  # Its name decides whether it can be found.
        if fate is LOST:
            continue
        match change:
            case Write():
                _write(content(change.node), change, fate)
            case Truncate(node, size):
                file = content(node)
                del file[size:]
                file.extend(bytes(size - len(file)))
            case Link(folder, name, node):
                folders.setdefault(folder, {})[name] = node
            case Unlink(folder, name):
                folders.setdefault(folder, {}).pop(name, None)
            case Rename(folder, name, new):
                if name in folders.get(folder, {}):
                    folders[folder][new] = folders[folder].pop(name)
    files.update({node: bytes(file) for node, file in open_.items()})


def _write(file: bytearray, write: Write, fate: Fate) -> None:
    parts = sectors(write)
    if isinstance(fate, Torn):
        kept = [part for i, part in enumerate(parts) if i in fate.sectors]
        length = len(write.data) if fate.grown else max((part.stop for part in kept), default=0)
        end = write.offset + length
    else:
        kept, end = [slice(0, len(write.data))], write.offset + len(write.data)
    file.extend(bytes(max(0, end - len(file))))
    for part in kept:
        file[write.offset + part.start : write.offset + part.stop] = write.data[part]
