"""Disks that fail, and one that is full, under processes that schedule and work."""

from __future__ import annotations

import json

from tests.crash.stage import Stage
from tests.process.parts import eventually

__all__ = ["failing_disk", "full_disk"]


def failing_disk(stage: Stage) -> None:
    """Errors of writes and of syncs in every process: each stops there, opens the store anew, and
    nothing acknowledged is missing."""
    stage.plan = {"disk": {"write": 0.002, "sync": 0.02}}
    stage.producer()
    for _ in range(2):
        stage.worker(concurrency=10)
    stage.producer("produce_and_work", concurrency=10)
    everybody = [*stage.workers, *stage.producers]
    for child in everybody:
        eventually(lambda: stage.has_noted(child), "each works", 30)  # noqa: B023
    stage.family.gate("faulty")

    def enough() -> bool:
        return stage.noted("injected-write") >= 3 and stage.noted("injected-sync") >= 5

    while stage.goes_on(enough(), "the disk did not fail"):
        stage.pause(0.2)
    (stage.folder / "faulty").unlink()
    stage.settle()
    opened = sum(child.text.count("the store is opened anew") for child in everybody)
    writes, syncs = stage.noted("injected-write"), stage.noted("injected-sync")
    stage.figures.append(f"{writes} writes and {syncs} syncs failed, {opened} stores opened anew")
    if opened < (writes + syncs) / 4:
        stage.violations.append(f"only {opened} times was a store opened anew")


def full_disk(stage: Stage) -> None:
    """A small disk runs full, again and again, under a family in a process of its own (see
    `small_disk.py`), which tells its story."""
    program = stage.family.start(
        "-m", "tests.crash.small_disk", str(stage.seconds), str(stage.chance.randrange(10**6))
    )
    if program.ends(stage.seconds + 240):
        stage.violations.append(f"the small disk's program failed:\n{program.text}")
        return
    told = json.loads(program.text.splitlines()[-1])
    stage.violations += told["violations"]
    stage.figures.append(told["figures"])
