"""Storms of signals over processes that schedule and work."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.crash.stage import Stage
from tests.process.parts import Child, eventually

__all__ = ["fork_storm", "kill_storm", "stop_storm"]

ALL_KINDS = [*["QUICK", "NAP"] * 8, *["THREAD", "FLAKY"] * 4, "ISOLATED"]


def kill_storm(stage: Stage) -> None:
    """SIGKILL of workers, of producers, of a process that is both, and of the child processes
    that handlers run in, at any moment."""
    stage.plan = {"kinds": ALL_KINDS}
    makers: list[Callable[[], Child]] = [
        lambda: stage.worker(concurrency=20),
        lambda: stage.worker(concurrency=4, isolated=True),
        lambda: stage.producer(),
        lambda: stage.producer("produce_and_work", concurrency=10),
    ]
    alive = [make() for make in makers]
    family = children = 0

    def enough() -> bool:
        return family >= 8 and children >= 2 and stage.noted("acknowledged") > 2000

    while stage.goes_on(enough(), "too few jobs, or too few kills"):
        if stage.chance.random() < 0.25:
            _kill_a_child(stage)
            children += 1
            continue
        place = stage.chance.randrange(len(makers))
        victim = alive[place]
        # Not before it has done something, and then at any moment of the next half second.
        eventually(lambda: stage.has_noted(victim), "the next victim works", 30)  # noqa: B023
        stage.pause(0.5)
        stage.kill(victim)
        family += 1
        alive[place] = makers[place]()
    books = stage.settle()
    stage.figures.append(f"{family} processes and {children} children of handlers killed")
    if books.crashes < family / 2 + children / 2:
        stage.violations.append(f"only {books.crashes} crashes: the kills hit nothing")


def _kill_a_child(stage: Stage) -> None:
    """One that has run a handler. Its parent lives, so its number is its own."""
    there = eventually(lambda: _children(stage), "a child process has run a handler", 30)
    stage.pause(0.2)
    victim = stage.chance.choice(there)
    begun = time.monotonic()
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    stage.struck(victim, begun)


def _children(stage: Stage) -> list[int]:
    noted = {entry.pid: entry.number for entry in stage.family.entries("child-of")}
    parents = {child.pid for child in stage.workers}
    return [pid for pid, parent in noted.items() if parent in parents and _parent(pid) == parent]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def stop_storm(stage: Stage) -> None:
    """Rolling restarts: each worker is told to leave right after one of its claims, or ends. No
    attempt is lost, none is wasted; that no worker was hurt, the books know."""
    stage.plan = {"kinds": ALL_KINDS, "seconds": 0.02}
    stage.producer()
    workers = [stage.worker(concurrency=10, isolated=place == 0) for place in range(2)]
    stops = 0
    while stage.goes_on(stops >= 6, "too few workers left"):
        place = stops % 2
        leaving = workers[place]
        event, count = stage.chance.choice(["started", "finished"]), stage.chance.randrange(1, 60)
        eventually(
            lambda: _notes(stage, leaving, event) >= count,  # noqa: B023
            f"worker {stops} has noted {event!r} {count} times",
        )
        leaving.signal(signal.SIGTERM)
        stage.workers.remove(leaving)
        workers[place] = stage.worker(concurrency=10, isolated=place == 0)
        if (code := leaving.ends()) != 0:
            stage.violations.append(f"worker {leaving.pid} ended with {code} after a SIGTERM")
        stops += 1
    stage.settle()
    stage.figures.append(f"{stops} workers left")


def _notes(stage: Stage, worker: Child, event: str) -> int:
    try:
        text = (stage.folder / f"{worker.pid}.journal").read_text()
    except FileNotFoundError:
        return 0
    return text.count(f"{event} ")


def fork_storm(stage: Stage) -> None:
    """A process that schedules and works forks again and again: each child is refused what it
    inherited, opens the store for itself, and leaves or dies; the parent goes on."""
    forking = stage.producer("produce_and_fork", concurrency=10)
    stage.worker(concurrency=10)
    while stage.goes_on(stage.noted("forked") >= 5, "too few forks"):
        stage.pause(0.2)
    stage.settle()
    forks, refused = stage.noted("forked"), stage.noted("fork-refused")
    if refused != forks:
        stage.violations.append(f"{forks} forks, and {refused} children that were refused")
    if "child of a fork failed" in forking.text:
        stage.violations.append("the child of a fork failed")
    stage.figures.append(f"{forks} forks")
