"""`backroom worker --reload`: the worker is drained and started anew when its code changes.

The parent imports nothing of the application, so a mistake in it ends the worker only: the
parent waits for the mend.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from backroom.cli.plain import plain
from backroom.supervisor import Process, how_ended

__all__ = ["reload_on_change", "snapshot", "watched"]

EVERY: Final = 0.5
"""Seconds between two looks."""
NAMED: Final = 3
"""Changed files that are named."""
PASSED_OVER: Final = ("__pycache__", "node_modules", "site-packages")

Snapshot = dict[Path, int]
"""When each file was written, in nanoseconds."""


def watched(target: str) -> list[Path]:
    """The current folder, and where the application's package is, if that is elsewhere."""
    here = Path.cwd()
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        spec = importlib.util.find_spec(target.partition(":")[0].partition(".")[0])
    except (ImportError, ValueError):
        spec = None
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    if spec is not None and not places and spec.has_location and spec.origin:
        places = [spec.origin]
    found = [Path(place).resolve() for place in places]
    return [here, *(place for place in found if not place.is_relative_to(here.resolve()))]


def snapshot(places: Sequence[Path]) -> Snapshot:
    """All `.py` files below these places, but hidden folders and virtual environments."""
    found: Snapshot = {}
    for place in places:
        if place.is_file():
            _note(found, place)
        for folder, folders, files in os.walk(place):
            folders[:] = [
                name
                for name in folders
                if name not in PASSED_OVER
                and not name.startswith(".")
                and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
            ]
            for name in files:
                if name.endswith(".py"):
                    _note(found, Path(folder, name))
    return found


def _note(found: Snapshot, file: Path) -> None:
    try:
        found[file] = file.stat().st_mtime_ns
    except OSError:  # It went while we looked.
        return


def _changed(before: Snapshot, now: Snapshot) -> list[Path]:
    return sorted(file for file in before.keys() | now.keys() if before.get(file) != now.get(file))


async def reload_on_change(command: Sequence[str], target: str, count: int) -> int:
    """Until SIGTERM or SIGINT (drains), a second one (leaves). Returns the exit code."""
    return await _Reloader(command, watched(target), count).run()


class _Reloader:
    def __init__(self, command: Sequence[str], places: Sequence[Path], count: int) -> None:
        self._command = command
        self._places = places
        self._count = count
        self._workers: list[Process] = []
        self._leaving = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number.name)
        code = 0
        while not self._leaving.is_set():
            before = await self._look()
            self._workers = [Process(self._command, loop) for _ in range(self._count)]
            change = asyncio.create_task(self._change(before))
            ends = asyncio.create_task(self._all_ended())
            leaving = asyncio.create_task(self._leaving.wait())
            await asyncio.wait({change, ends, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not self._leaving.is_set():
                if not change.done():
                    how = how_ended(max(await ends))
                    _say(f"the worker {how}; it is started again when a file changes")
                    await asyncio.wait({change, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if change.done():
                    _say(f"{self._names(change.result())} changed: the worker is restarted")
                    self._tell(signal.SIGTERM)
            change.cancel()
            leaving.cancel()
            await ends
            code = max(self._code(worker) for worker in self._workers)
        return code

    @staticmethod
    def _code(worker: Process) -> int:
        """One that was told to leave before it had begun could not do so by itself."""
        code = worker.ended.result()
        return 0 if code == 128 + signal.SIGTERM and not worker.began else code

    async def _look(self) -> Snapshot:
        return await asyncio.to_thread(snapshot, self._places)

    async def _change(self, before: Snapshot) -> list[Path]:
        """Waits until files have changed, and no more do for one look."""
        while (now := await self._look()) == before:
            await asyncio.sleep(EVERY)
        while True:
            await asyncio.sleep(EVERY / 5)
            later = await self._look()
            if later == now:
                return _changed(before, now)
            now = later

    async def _all_ended(self) -> list[int]:
        return list(await asyncio.gather(*(worker.ended for worker in self._workers)))

    def _on_signal(self, name: str) -> None:
        again = self._leaving.is_set()
        _say(f"{name}: {'giving back what runs' if again else 'the worker drains'}")
        # Two signals of one kind may arrive as one where nobody has looked at the first.
        self._tell(signal.SIGINT if again else signal.SIGTERM)
        self._leaving.set()

    def _tell(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.signal(number)

    def _names(self, files: list[Path]) -> str:
        here = Path.cwd()
        names = [
            str(file.relative_to(here)) if file.is_relative_to(here) else str(file)
            for file in files[:NAMED]
        ]
        more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
        return ", ".join(names) + more


def _say(text: str) -> None:
    click.echo(plain(text), err=True)
    sys.stderr.flush()
