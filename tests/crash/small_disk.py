"""A family on a disk of its own that runs full: `python -m tests.crash.small_disk SECONDS SEED`."""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

from tests.crash.stage import Scenario, Stage, play
from tests.process.parts import die_with_parent, eventually

MIB = 1 << 20
FULL = re.compile("no room left|No space left", re.IGNORECASE)
NEW_MOUNTS, NEW_USER, PRIVATE, REMOUNT = 0x00020000, 0x10000000, 0x00044000, 0x20


class SmallDisk:
    """A file system in memory that only this process and its children see, and that goes with
    them. Where this user may not mount one, a limit on the size of files, which SQLite reports as
    an error of the disk; either says which it is."""

    def __init__(self, place: Path, size: int) -> None:
        self._place = bytes(place)
        self._size = size
        self._libc = ctypes.CDLL(None, use_errno=True)
        own = NEW_MOUNTS | (NEW_USER if os.geteuid() else 0)
        self.mounted = (
            self._libc.unshare(own) == 0
            and self._libc.mount(None, b"/", None, PRIVATE, None) == 0
            and self._mount(0) == 0
        )
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    @property
    def kind(self) -> str:
        return "a tmpfs" if self.mounted else "NO MOUNT ALLOWED, a limit on the size of files"

    def _mount(self, flags: int) -> int:
        options = f"size={self._size}".encode()
        return int(self._libc.mount(b"none", self._place, b"tmpfs", flags, options))

    def grow(self, size: int, stage: Stage) -> None:
        self._size += size
        if self.mounted:
            if self._mount(REMOUNT):
                raise OSError(ctypes.get_errno(), "the disk cannot be made larger")
            return
        for process in (None, *stage.family.children):
            if process is None or process.code is None:
                pid = 0 if process is None else process.pid
                limits = (self._size, resource.RLIM_INFINITY)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def run_full(stage: Stage) -> None:
    """Producers fill it up. Who was refused was told the truth; a worker that dies meanwhile, or
    whose outcomes find no room, loses nothing; with more room, work goes on."""
    disk = SmallDisk(stage.folder / "jobs", 2 * MIB)
    stage.plan = {"text": 2000, "batch": 20}
    answer = "refused" if disk.mounted else "unknown"
    for _ in range(2):
        stage.ready(concurrency=10)
    both = stage.producer("produce_and_work", concurrency=10)
    eventually(lambda: stage.has_noted(both), "it works", 30)
    stage.producer()
    fills = refused = 0
    while stage.goes_on(fills >= 2, "the disk did not run full"):
        told = stage.noted(answer)
        eventually(lambda: stage.noted(answer) > told + 20, "the disk is full", 60)  # noqa: B023
        stage.pause(0.3)
        fills += 1
        refused += _left_before_it_began(stage)
        killed = stage.workers and stage.chance.random() < 0.5
        if killed:
            stage.kill(stage.chance.choice(stage.workers))
        _make_room(disk, stage)
        if killed:
            stage.worker(concurrency=10)
    disk.grow(64 * MIB, stage)
    refused += _left_before_it_began(stage)
    stage.settle()
    stage.figures.append(f"{fills} times full ({disk.kind}), {refused} workers could not start")


def _make_room(disk: SmallDisk, stage: Stage) -> None:
    """So much that jobs are taken again: what stands in the log comes first, and may need more
    than a little."""
    kept = stage.noted("acknowledged")
    for _ in range(16):
        disk.grow(MIB, stage)
        with suppress(AssertionError):
            eventually(lambda: stage.noted("acknowledged") > kept, "jobs are taken again", 2)
            return
    stage.violations.append("no jobs are taken, though there are 16 MiB of room")


def _left_before_it_began(stage: Stage) -> int:
    """Workers that came while it was full: they say so, and end."""
    stage.up_or_gone()
    gone = [one for one in stage.workers if one.code == 1 and FULL.search(one.text)]
    stage.workers = [one for one in stage.workers if one not in gone]
    return len(gone)


def main(seconds: str, seed: str) -> None:
    folder = Path(os.environ["PROCESS_TEST_FOLDER"]) / "disk"
    (folder / "jobs").mkdir(parents=True)
    scenario = Scenario("full disk", run_full, float(seconds))
    story = play(scenario, folder, float(seconds), int(seed))
    print(story.log)
    print(json.dumps({"violations": story.violations, "figures": story.figures}))


if __name__ == "__main__":
    die_with_parent()
    main(*sys.argv[1:])
