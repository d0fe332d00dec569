"""Wake-ups between the processes that share a folder, by named pipes.

A pipe in the folder needs no server, is protected by its file mode like the jobs are, has no
limit of 108 bytes on its path as a socket has, and tells a writer at once when its reader has
died (ENXIO). Nobody polls: a reader's loop sleeps until a byte comes. A lost byte costs no
job, only time: workers also look by themselves every `poll_interval`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from backroom.ports import Wake

__all__ = ["Doorbell", "ring"]

_LETTERS: Final = {Wake.JOBS: "j", Wake.FINISHED: "f", Wake.CONTROL: "c"}
_WAKES: Final = {ord(letter): wake for wake, letter in _LETTERS.items()}
_PREFIX: Final = "wake-"


class Doorbell:
    """This process's pipe: the others ring it for the wakes it asked for."""

    def __init__(
        self, folder: Path, wakes: Collection[Wake], callback: Callable[[Wake], None]
    ) -> None:
        letters = "".join(sorted(_LETTERS[wake] for wake in wakes))
        self.name = f"{_PREFIX}{letters}-{os.getpid()}-{secrets.token_hex(4)}"
        self._path = folder / self.name
        self._callback = callback
        # Open before it has its final name: a pipe that can be found has a reader, or a dead one.
        early = folder / f".{self.name}"
        os.mkfifo(early, 0o600)
        self._pipe = os.open(early, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        early.rename(self._path)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pipe, self._read)

    def _read(self) -> None:
        try:
            letters = os.read(self._pipe, 65_536)
        except BlockingIOError:
            return
        for letter in set(letters):
            wake = _WAKES.get(letter)
            if wake is not None:
                self._callback(wake)

    def close(self) -> None:
        """Safe to call twice."""
        if self._pipe >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._pipe)
            self._path.unlink(missing_ok=True)
            os.close(self._pipe)
            self._pipe = -1


def ring(folder: Path, wakes: Collection[Wake], own: Collection[str]) -> None:
    """Rings the other processes that asked for one of these wakes. Never blocks."""
    for name in os.listdir(folder):
        if not name.startswith(_PREFIX) or name in own:
            continue
        asked = name[len(_PREFIX) :].partition("-")[0]
        letters = "".join(_LETTERS[wake] for wake in wakes if _LETTERS[wake] in asked)
        if letters:
            _ring_one(folder / name, letters.encode())


def _ring_one(path: Path, letters: bytes) -> None:
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.ENXIO:  # Its reader has died without a goodbye.
            with suppress(FileNotFoundError):
                path.unlink()
        return
    try:
        os.write(pipe, letters)
    except (BlockingIOError, BrokenPipeError):
        return  # Full: its reader has wakes enough to read. Broken: it died just now.
    finally:
        os.close(pipe)
