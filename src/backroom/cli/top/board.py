"""What `backroom top` shows, and what a key does to it: no terminal, no storage, no clock."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal, NamedTuple

import msgspec

from backroom.cli.plain import count_of
from backroom.crew import RunningJob, WorkerInfo
from backroom.history import HistoryPoint
from backroom.stats import FailureGroup, JobStats

__all__ = ["LEAVE", "Board", "Look", "Panel", "Wish"]


class Panel(IntEnum):
    """The lists, as they stand from top to bottom."""

    QUEUES = 0
    WORKERS = 1
    RUNNING = 2
    FAILURES = 3


class Look(msgspec.Struct, frozen=True):
    """What the storage said, in one look."""

    stats: JobStats
    workers: tuple[WorkerInfo, ...] = ()
    failures: tuple[FailureGroup, ...] = ()
    last_minute: tuple[HistoryPoint, ...] = ()

    @property
    def running(self) -> list[tuple[str, RunningJob]]:
        """What the workers told that they run, the longest first, with the name of each one's."""
        found = [
            (worker.name, one)
            for worker in self.workers
            if worker.report is not None
            for one in worker.report.running
        ]
        return sorted(found, key=lambda pair: pair[1].since)


class Wish(NamedTuple):
    """What a person wants done."""

    verb: Literal["pause", "resume", "drain", "take up", "cancel", "retry"]
    target: tuple[str, ...]
    """The name of a queue, the number of a worker, the id of a job, or type and kind of error."""
    question: str | None = None
    """What is asked before it is done; None: nothing."""


LEAVE: Final = "leave"
KEYS: Final = {"down": 1, "j": 1, "up": -1, "k": -1, "pagedown": 10, "pageup": -10}


class Board:
    """The picture's state: which row of which list is chosen, by what it is and not by where it
    stands, so that a list which changes does not take the choice away under somebody's finger."""

    def __init__(self) -> None:
        self.look: Look | None = None
        self.panel = Panel.QUEUES
        self.held = False
        """It is not renewed."""
        self.helping = False
        self.asking: Wish | None = None
        """What waits for a yes."""
        self.message = ""
        self._chosen: dict[Panel, tuple[str, ...]] = {}

    def renew(self, look: Look) -> None:
        """There is a new look."""
        if not self.held or self.look is None:
            self.look = look

    def rows(self, panel: Panel) -> list[tuple[str, ...]]:
        """What the rows of a list stand for."""
        look = self.look
        if look is None:
            return []
        if panel is Panel.QUEUES:
            return [(queue.name,) for queue in look.stats.queues]
        if panel is Panel.WORKERS:
            return [(str(worker.id),) for worker in look.workers]
        if panel is Panel.RUNNING:
            return [(running.id,) for _, running in look.running]
        return [(group.type, group.kind) for group in look.failures]

    def chosen(self, panel: Panel) -> int:
        """The number of the row that is chosen there; -1: there is none."""
        rows = self.rows(panel)
        if not rows:
            return -1
        wanted = self._chosen.get(panel)
        return rows.index(wanted) if wanted in rows else 0

    def press(self, key: str) -> Wish | Literal["leave"] | None:
        """What a key asks for; None: nothing but another picture."""
        if self.asking is not None:
            wish, self.asking = self.asking, None
            self.message = "" if key == "y" else "nothing was changed"
            return wish if key == "y" else None
        self.message = ""
        if self.helping:
            self.helping = False
            return None
        if key in ("q", "ctrl-c", "ctrl-d"):
            return LEAVE
        if key == "?":
            self.helping = True
        elif key == " ":
            self.held = not self.held
        elif key in ("tab", "right", "l"):
            self.panel = Panel((self.panel + 1) % len(Panel))
        elif key in ("shift-tab", "left", "h"):
            self.panel = Panel((self.panel - 1) % len(Panel))
        elif key in "1234":
            self.panel = Panel(int(key) - 1)
        elif key in KEYS:
            self._move(KEYS[key])
        else:
            return self._wish(key)
        return None

    def _move(self, by: int) -> None:
        rows = self.rows(self.panel)
        if rows:
            at = self.chosen(self.panel) + by
            self._chosen[self.panel] = rows[max(0, min(len(rows) - 1, at))]

    def _wish(self, key: str) -> Wish | None:
        panel = {"p": Panel.QUEUES, "d": Panel.WORKERS, "c": Panel.RUNNING, "r": Panel.FAILURES}
        if key not in panel:
            self.message = "that key does nothing here; ? shows the keys"
            return None
        if panel[key] is not self.panel:
            self.message = (
                f"{key} is for the list of {panel[key].name.lower()}: press {panel[key] + 1}"
            )
            return None
        at, look = self.chosen(self.panel), self.look
        if at < 0 or look is None:
            self.message = "there is nothing to choose in this list"
            return None
        wish = _wish_of(look, self.panel, at)
        # What is undone by the same key is done at once.
        if wish.question is None:
            return wish
        self.asking = wish
        return None


def _wish_of(look: Look, panel: Panel, at: int) -> Wish:
    if panel is Panel.QUEUES:
        queue = look.stats.queues[at]
        return Wish("resume" if queue.paused else "pause", (queue.name,))
    if panel is Panel.WORKERS:
        worker = look.workers[at]
        return Wish("take up" if worker.draining else "drain", (str(worker.id),))
    if panel is Panel.RUNNING:
        worker_name, running = look.running[at]
        question = f"cancel {running.type} {running.id}, which runs on {worker_name}? y/n"
        return Wish("cancel", (running.id,), question)
    group = look.failures[at]
    question = (
        f"retry {count_of(group.jobs, 'job')} of {group.type} that failed with {group.kind}? y/n"
    )
    return Wish("retry", (group.type, group.kind), question)
