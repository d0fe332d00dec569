"""A trial: lives of a store are recorded, and cut short at every instant, in every way."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.crash.power_cuts.application import Application
from tests.crash.power_cuts.cuts import Cut, cuts, told
from tests.crash.power_cuts.disk import KEPT, Change, Disk, Tree
from tests.crash.power_cuts.facts import Facts
from tests.crash.power_cuts.knowledge import Knowledge
from tests.crash.power_cuts.lives import Life
from tests.crash.power_cuts.notes import Answered, Asked, Note
from tests.crash.power_cuts.recording import Recording, Sync, recorded
from tests.crash.power_cuts.reopening import booted, lay_out, opened, reopened

__all__ = ["STORE", "Figures", "Trial", "Violation"]

STORE: Final = "storage/jobs"
"""Below what is there: both folders are made by the store."""
BEFORE: Final = 8
"""Events that a story tells before the cut."""


@dataclass(frozen=True)
class Violation:
    """A legal state of the disk after which a promise does not hold."""

    faults: list[str]
    story: str
    tree: Tree

    def __str__(self) -> str:
        return "\n".join([self.story, "so:", *(f"  {fault}" for fault in self.faults)])


@dataclass
class Figures:
    """What a trial did."""

    states: int = 0
    """Different ones, each opened."""
    worked: int = 0
    """Of these, opened by the storage, reclaimed and claimed from."""
    instants: int = 0
    lives: int = 0
    comparisons: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """For a sum over several."""
        return {
            "states": self.states, "worked on": self.worked, "instants": self.instants,
            "lives": self.lives, **self.kinds,
        }  # fmt: skip

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        return (
            f"{self.states} states ({self.worked} of them also worked on) at {self.instants}"
            f" instants of {self.lives} lives, compared {self.comparisons} times in"
            f" {self.seconds:.1f} s; by kind: {kinds}; violations: {len(self.violations)}"
        )


@dataclass(frozen=True)
class _Start:
    """What a life begins with."""

    disk: Disk
    knowledge: Knowledge
    story: str


class Trial:
    """Some lives, each over what a power cut, or a kill, left of the one before."""

    def __init__(
        self,
        workshop: Path,
        seed: int,
        *,
        most: int = 8,
        enough: int | None = None,
        work_every: int = 3,
        store: str = STORE,
        counted: Callable[[Recording, Sync], bool] = lambda recording, sync: True,
        durable: bool = True,
        sought: str | None = None,
        **settings: Any,
    ) -> None:
        """Nothing is done yet.

        Args:
            most: cuts an instant, beside both extremes.
            enough: states after which there are only the extremes.
            work_every: every so manieth state is also worked on.
            counted: which syncs the disk obeys.
            durable: what was promised must be there.
            sought: part of a fault that is the end of the trial once it is found.
            settings: of the storage.
        """
        self.figures = Figures()
        self._workshop = workshop
        self._rng = random.Random(seed)
        self._most = most
        self._enough = enough
        self._work_every = work_every
        self._store = store
        self._counted = counted
        self._durable = durable
        self._sought = sought
        self._settings = settings
        self._numbers = itertools.count(1)
        self._places = itertools.count(1)
        self._facts: dict[bytes, Facts] = {}

    def run(self, *lives: Life, there: Tree | None = None, kill: bool | None = None) -> Figures:
        """Lives, each over what is left of the one before.

        Args:
            there: what is on the disk already.
            kill: what ends a life is the death of its processes (true), a power cut (false), or
                one of both.
        """
        began = time.monotonic()
        start = _Start(Disk.of(there or {}), Knowledge(durable=self._durable), "")
        for boot, life in enumerate(lives):
            recording = self._live(life, start.disk, f"boot {boot}")
            with asyncio.Runner() as runner, booted("the last boot"):
                start = self._cut_short(recording, start, kill, runner)
            if self.found:
                break
        self.figures.seconds += time.monotonic() - began
        return self.figures

    @property
    def found(self) -> bool:
        """What is sought has been found."""
        faults = (fault for one in self.figures.violations for fault in one.faults)
        return self._sought is not None and any(self._sought in fault for fault in faults)

    def _live(self, life: Life, disk: Disk, boot: str) -> Recording:
        root = self._workshop / f"life-{next(self._places)}"
        lay_out(disk.everything().tree(), root)
        recording = Recording(root, disk)

        async def lived() -> None:
            await life(
                Application(recording, self._store, self._numbers, self._rng, **self._settings)
            )

        with booted(boot), recorded(recording):
            asyncio.run(lived())
        recording.check()
        self.figures.lives += 1
        return recording

    # -- cutting ---------------------------------------------------------------------------------

    def _cut_short(
        self, recording: Recording, start: _Start, kill: bool | None, runner: asyncio.Runner
    ) -> _Start:
        """Every instant of a life; one of them is where the next life begins."""
        disk, knowledge = start.disk.copy(), start.knowledge
        next_start = start
        if kill is None:
            kill = self._rng.random() < 0.5
        chosen = self._rng.choice(_before_syncs(recording, unanswered=kill) or [0])
        states = self._states(disk, runner)
        for at, event in enumerate(recording.events):
            if at == chosen:
                next_start = self._next_start(disk, knowledge, kill)
            if isinstance(event, Note):
                knowledge.learn(event)
            elif isinstance(event, Sync):
                if self._counted(recording, event):
                    disk.sync(event.node)
                states = self._states(disk, runner)
            else:
                disk.pending.append(event)
                states = self._states(disk, runner)
            self.figures.instants += 1
            self._judge(states, knowledge, recording, at, disk, start.story)
            if self.found:
                break
        return next_start

    def _next_start(self, disk: Disk, knowledge: Knowledge, kill: bool) -> _Start:
        """A power cut, or the death of all processes, which loses nothing and syncs nothing."""
        if kill:
            return _Start(disk.copy(), knowledge.handed_on(), "after a kill; ")
        *_, (kind, fates) = cuts(disk.pending, self._rng, 2)
        rest = Disk.of(disk.after(fates).tree())
        return _Start(rest, knowledge.handed_on(), f"after a power cut ({kind} of what was left); ")

    def _states(self, disk: Disk, runner: asyncio.Runner) -> list[tuple[Cut, Facts]]:
        states: dict[bytes, tuple[Cut, Facts]] = {}
        enough = self._enough is not None and self.figures.states >= self._enough
        for cut in cuts(disk.pending, self._rng, 0 if enough else self._most):
            kind, fates = cut
            tree = disk.after(fates).tree()
            digest = _digest(tree)
            if digest not in self._facts:
                self._facts[digest] = self._look(tree, runner)
                self.figures.kinds[kind] += 1
            states.setdefault(digest, (cut, self._facts[digest]))
        return list(states.values())

    def _look(self, tree: Tree, runner: asyncio.Runner) -> Facts:
        root = self._workshop / f"cut-{next(self._places)}"
        self.figures.states += 1
        if self.figures.states % self._work_every == 0:
            self.figures.worked += 1
            return runner.run(reopened(tree, root, self._store))
        return opened(tree, root, self._store)

    def _judge(
        self,
        states: list[tuple[Cut, Facts]],
        knowledge: Knowledge,
        recording: Recording,
        at: int,
        disk: Disk,
        before: str,
    ) -> None:
        for cut, facts in states:
            self.figures.comparisons += 1
            faults = knowledge.faults(facts)
            if faults:
                story = before + _story(recording, at, cut, disk.pending)
                tree = disk.after(cut[1]).tree()
                self.figures.violations.append(Violation(faults, story, tree))


def _before_syncs(recording: Recording, *, unanswered: bool) -> list[int]:
    """The instants right before a sync; or only those that somebody waits for who asked for a
    job to be kept."""
    asked: set[int] = set()
    instants: list[int] = []
    for at, event in enumerate(recording.events):
        match event:
            case Asked(jobs):
                asked.update(jobs)
            case Answered(jobs):
                asked.difference_update(jobs)
            case Sync() if asked or not unanswered:
                instants.append(at)
            case _:
                pass
    return instants


def _digest(tree: Tree) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for path, content in sorted(tree.items()):
        digest.update(f"{path} {-1 if content is None else len(content)}\n".encode())
        digest.update(content or b"")
    return digest.digest()


def _story(recording: Recording, at: int, cut: Cut, pending: list[Change]) -> str:
    kind, fates = cut
    last = list(enumerate(recording.events[: at + 1]))[-BEFORE:]
    return "\n".join(
        [
            f"a power cut at instant {at} ({kind} of what was not synced)",
            *(f"  {i}: {_event(recording, event)}" for i, event in last),
            "of what was not synced:",
            *(f"  {told(change, fate)}" for change, fate in zip(pending, fates, strict=True)),
        ]
    )


def _event(recording: Recording, event: Change | Sync | Note) -> str:
    if isinstance(event, Sync):
        return f"sync of node {event.node} ({recording.name(event.node)})"
    return repr(event) if isinstance(event, Note) else told(event, KEPT).removeprefix("kept ")
