"""Processes that stand still, loops that are blocked, clocks that step. Leases are short here."""

from __future__ import annotations

import os
import time

from tests.crash.stage import Stage
from tests.process.parts import eventually

__all__ = ["blocked_loop", "clock_steps", "frozen_workers"]

HOUR = 3600.0
WORKING = ["NAP", "NAP", "THREAD", "THREAD", "THREAD", "FLAKY"]


def frozen_workers(stage: Stage) -> None:
    """SIGSTOP for three leases, then SIGCONT: the jobs run elsewhere, what the revived worker
    still says of them is refused, and it goes on working."""
    stage.plan = {"kinds": [*WORKING * 3, "ISOLATED"], "seconds": 0.8, "pause": 0.25}
    stage.producer()
    workers = [
        stage.worker(lease=stage.ground.lease, concurrency=8, isolated=place == 0)
        for place in range(3)
    ]
    freezes = 0

    def refused() -> int:
        return sum(worker.text.count("was not kept") for worker in workers)

    while stage.goes_on(freezes >= 2 and refused() > 0, "nothing stale was refused"):
        victim = stage.chance.choice(workers)
        eventually(lambda: stage.has_noted(victim), "the next victim works", 30)  # noqa: B023
        stage.pause(0.5)
        stage.freeze(victim, 3 * stage.ground.lease)
        freezes += 1
        again = time.monotonic()
        eventually(
            lambda: any(
                entry.pid == victim.pid and entry.at > again  # noqa: B023
                for entry in stage.family.entries("started")
            ),
            "the revived worker runs jobs again",
            30,
        )
    stage.settle()
    stage.figures.append(f"{freezes} freezes, {refused()} stale outcomes refused")


def blocked_loop(stage: Stage) -> None:
    """Handlers that block the loop of their worker for three leases: nobody robs it. No blow
    was dealt, so the books explain neither a second start nor a crash."""
    lease = stage.ground.lease
    stage.plan = {"kinds": [*WORKING * 16, "BLOCK"], "pause": 0.3 * lease, "block": 3 * lease}
    stage.producer()
    workers = [stage.worker(lease=lease, concurrency=8) for _ in range(3)]

    def blocked() -> int:
        started = {(entry.job, entry.pid) for entry in stage.family.entries("blocked")}
        return len(started)

    while stage.goes_on(blocked() >= 2, "no loop was blocked"):
        stage.pause(0.2)
    stage.settle()
    for worker in workers:
        for complaint in ("the lease is lost", "took back"):
            if complaint in worker.text:
                stage.violations.append(f"worker {worker.pid} says {complaint!r}")
    stage.figures.append(f"{blocked()} loops blocked for {3 * lease:g} s")


def clock_steps(stage: Stage) -> None:
    """The wall clock of all processes steps an hour, either way, while they work: nobody loses a
    lease, and work goes on. It ends an hour ahead, where all that was scheduled is due."""
    stage.plan = {"kinds": [*WORKING * 3, "ISOLATED"], "clock": True}
    stage.producer()
    for isolated in (True, False):
        stage.worker(lease=stage.ground.lease, concurrency=8, isolated=isolated)
    stage.producer("produce_and_work", lease=stage.ground.lease, concurrency=8)
    eventually(lambda: stage.noted("finished") > 20, "they work", 30)
    steps = 0
    while stage.goes_on(steps >= 6, "too few steps"):
        _set_clock(stage, stage.chance.choice([-HOUR, 0.0, HOUR]))
        steps += 1
        stepped = time.monotonic()
        eventually(
            lambda: sum(e.at > stepped for e in stage.family.entries("finished")) > 20,  # noqa: B023
            "work goes on after a step of the clock",
        )
        stage.pause(0.5)
    _set_clock(stage, HOUR)
    stage.settle()
    stage.figures.append(f"{steps} steps of the clock")


def _set_clock(stage: Stage, seconds: float) -> None:
    (stage.folder / "clock.new").write_text(str(seconds))
    os.replace(stage.folder / "clock.new", stage.folder / "clock")
