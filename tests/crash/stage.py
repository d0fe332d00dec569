"""Where a scenario of the chaos plays: its processes, its chance, its time, and its books."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.crash.books import Blow, Books, Store, processes_of
from tests.crash.grounds import GROUNDS, Ground
from tests.process.parts import Child, Family, eventually, is_running

__all__ = ["Scenario", "Stage", "Story", "play"]

APP = "tests.crash.app:service"
EXPECTED = "the first time always fails"
PATIENCE = 30.0
"""Seconds beyond its time that a scenario has to show something, on a slow machine."""


class Story(NamedTuple):
    """What came of a scenario."""

    violations: Sequence[str]
    figures: str
    log: str = ""
    """The last lines of its processes, if something was wrong."""


class Stage:
    """The processes of one play of a scenario, around one folder and one storage."""

    def __init__(self, folder: Path, seconds: float, seed: int, ground: Ground) -> None:
        self.folder = folder
        self.ground = ground
        self.family = Family(folder)
        self.chance = random.Random(seed)
        self.seconds = seconds
        self._until = time.monotonic() + seconds
        self.plan: dict[str, Any] = {}
        """What the processes read, see `app.py` and `producer.py`."""
        self.blows: list[Blow] = []
        self.violations: list[str] = []
        self.figures: list[str] = []
        self.longest = 0.0
        """Seconds from the end of an outage until new jobs had run."""
        self.workers: list[Child] = []
        self.producers: list[Child] = []

    # -- processes -------------------------------------------------------------------------------

    def worker(self, *, isolated: bool = False, **service: Any) -> Child:
        """A worker process; with child processes, if `isolated`. `service` are settings of its
        service."""
        plan = {"isolated": isolated, "service": service}
        child = self._start("-m", "backroom", "worker", APP, **plan)
        self.workers.append(child)
        return child

    def ready(self, **settings: Any) -> Child:
        """A worker that has enlisted."""
        child = self.worker(**settings)
        child.says("\n  runs ")
        return child

    def producer(self, program: str = "produce", **service: Any) -> Child:
        """One of `producer.py`."""
        child = self._start("-m", "tests.crash.producer", program, service=service)
        self.producers.append(child)
        return child

    def _start(self, *command: str, **plan: Any) -> Child:
        told = {"storage": self.ground.url} | self.plan | plan
        return self.family.start(*command, env={"CHAOS_TEST_PLAN": json.dumps(told)})

    def up_or_gone(self) -> None:
        """Waits for the workers that are still on their way: a signal would end them unheard."""
        for worker in self.workers:
            eventually(
                lambda: "\n  runs " in worker.text or worker.code is not None,  # noqa: B023
                "the worker has enlisted",
                30,
            )

    def has_noted(self, child: Child) -> bool:
        """Whether it has done something: has scheduled or started jobs."""
        return (self.folder / f"{child.pid}.journal").exists()

    def noted(self, *events: str) -> int:
        return len(self.family.entries(*events))

    # -- blows -----------------------------------------------------------------------------------

    def kill(self, victim: Child) -> None:
        """`kill -9` of a process that runs."""
        begun = time.monotonic()
        victim.kill()
        self._blow("kill", victim.pid, begun)
        if victim.code != -signal.SIGKILL:
            self.violations.append(f"process {victim.pid} had ended by itself, with {victim.code}")
        for group in (self.workers, self.producers):
            if victim in group:
                group.remove(victim)

    def freeze(self, victim: Child, seconds: float) -> None:
        """SIGSTOP for so long, then SIGCONT."""
        begun = time.monotonic()
        self.ground.freeze(victim)
        time.sleep(seconds)
        victim.signal(signal.SIGCONT)
        self._blow("freeze", victim.pid, begun)

    def cut_off(
        self, victim: Child, stop: Callable[[], None], go_on: Callable[[], None], seconds: float
    ) -> None:
        """Nothing it says arrives anywhere for so long."""
        begun = time.monotonic()
        stop()
        time.sleep(seconds)
        go_on()
        self._blow("outage", victim.pid, begun)

    def struck(self, pid: int, begun: float) -> None:
        """Notes the death of a process that the scenario has killed by itself."""
        eventually(lambda: not is_running(pid), f"{pid} is dead")
        self._blow("kill", pid, begun)

    def _blow(self, kind: str, pid: int, begun: float) -> None:
        self.blows.append(Blow(kind, pid, begun, time.monotonic()))

    # -- time ------------------------------------------------------------------------------------

    def goes_on(self, enough: bool, what: str) -> bool:
        """True until the time is over, and beyond that until there is enough to show something;
        if that takes too long, it is a violation."""
        left = self._until - time.monotonic()
        if left > 0:
            return True
        if enough:
            return False
        if left < -PATIENCE:
            self.violations.append(f"it showed nothing: {what}")
            return False
        return True

    def pause(self, longest: float) -> None:
        """A moment of any length up to this."""
        time.sleep(self.chance.random() * longest)

    # -- the end ---------------------------------------------------------------------------------

    def settle(self) -> Books:
        """Ends the storm: producers leave, workers stop, what is left is worked off. Then the
        books are closed."""
        self.family.gate("calm")
        for child in self.producers:
            self._ended(child, "producer")
        self.up_or_gone()
        for child in self.workers:
            child.signal(signal.SIGTERM)
        for child in self.workers:
            self._ended(child, "worker")
        last = {"isolated": True, "disk": None, "service": {"concurrency": 20}}
        drain = self._start("-m", "tests.crash.producer", "drain", **last)
        self._ended(drain, "last worker")
        return self.close(self.ground.read())

    def _ended(self, child: Child, what: str) -> None:
        code = child.ends(90)
        if code:
            self.violations.append(f"the {what} {child.pid} ended with {code}")

    def close(self, store: Store) -> Books:
        books = Books(self.family.entries(), store.jobs, self.blows, self.ground.counted_ahead)
        self.violations += [*store.violations, *books.violations]
        self.figures.append(books.figures)
        return books


class Scenario(NamedTuple):
    """One kind of chaos."""

    name: str
    act: Callable[[Stage], None]
    seconds: float
    """Of its quick play."""
    storages: Sequence[str] = ("file",)
    """Where it makes sense; see `grounds.py`."""


def play(
    scenario: Scenario, folder: Path, seconds: float, seed: int, storage: str = "file"
) -> Story:
    """Plays it once, in an empty folder and an empty storage, and leaves no process behind."""
    with GROUNDS[storage](folder) as ground:
        return _played(scenario, Stage(folder, seconds, seed, ground))


def _played(scenario: Scenario, stage: Stage) -> Story:
    folder = stage.folder
    try:
        scenario.act(stage)
        left = processes_of(folder)
        stage.violations += [f"process {pid} was left behind: {left[pid]}" for pid in left]
    except Exception:
        stage.violations.append(f"it did not come to its end:\n{traceback.format_exc()}")
    finally:
        stage.family.end_all()
        for pid in processes_of(folder):  # What was forked does not end with its parent.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    log = _log(stage.family.children) if stage.violations else ""
    return Story(stage.violations, "; ".join(stage.figures), log)


def _log(children: Sequence[Child]) -> str:
    """The last lines of each, but for the jobs that failed as they should."""
    log = ""
    for child in children:
        lines = [line for line in child.text.splitlines() if EXPECTED not in line]
        log += "\n".join([f"--- process {child.pid} ended with {child.code}:", *lines[-15:], ""])
    return log
