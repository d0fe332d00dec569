"""`kill -9` of workers and producers, again and again, while thousands of jobs run; then the books.

Every handler's first line notes "started" in a file of its process and its last one "finished";
whoever schedules notes "attempted" before and "acknowledged" after. Each note is one write, which
the death of its process leaves in place.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.process.parts import (
    Child,
    Entry,
    Family,
    eventually,
    eventually_async,
    none_left,
    scheduling,
)

pytestmark = [pytest.mark.crash, pytest.mark.slow]

KILLS = 28
ENOUGH = 5000
"""Jobs that show something; a slow machine takes longer for them."""
PAUSE = 0.01


class Kept(NamedTuple):
    """A job as it stands in the database at the end."""

    state: str
    attempt: int
    crashes: int
    retries: int


async def test_a_storm_of_kills_loses_nothing_and_runs_nothing_without_a_reason(
    family: Family,
) -> None:
    began = time.monotonic()
    killed = _storm(family)
    calm = time.monotonic()
    family.gate("calm")
    family.ready(concurrency=20)
    async with scheduling(family.jobs) as service:
        await eventually_async(lambda: none_left(service), "all jobs have ended", 30)
    # From here on this process uses another SQLite; the first one must be closed.
    family.end_all()
    books = _Books(family.entries(), _kept(family.jobs / "jobs.db"), killed)
    print(f"{calm - began:.1f} s of storm, {time.monotonic() - calm:.1f} s to drain")
    print(books.figures)

    assert books.acknowledged > ENOUGH, "too few jobs to show anything"
    assert not books.lost
    assert not books.unordered
    assert not books.failed_for_no_reason
    assert not books.started_for_no_reason
    assert not books.uncharged
    assert books.crashes > KILLS, "the kills hit too few jobs to show anything"
    # The note of a start and the handler's first line lie some microseconds apart: among hundreds
    # of jobs that ran when their worker was killed, one may have stood between the two.
    assert len(books.charged_unstarted) <= books.crashes // 50


def _storm(family: Family) -> set[int]:
    """Two workers, a producer, and a process that is both; the ids of all that were killed."""
    chance = random.Random(1_618_033)

    def worker() -> Child:
        return family.worker(concurrency=20)

    def producer() -> Child:
        return family.program("storm", "producer", pause=PAUSE)

    def both() -> Child:
        return family.program("storm", "both", pause=PAUSE, concurrency=10)

    makers = [worker, worker, producer, both]
    alive = [make() for make in makers]
    killed: set[int] = set()
    for _ in range(KILLS):
        place = chance.randrange(len(makers))
        victim = alive[place]
        # Not before it has done something, and then at any moment of the next half second.
        eventually(lambda: _has_noted(family, victim), "the next victim works")  # noqa: B023
        time.sleep(chance.random() * 0.5)
        victim.kill()
        assert victim.code == -9, f"it had ended by itself:\n{victim.text}"
        killed.add(victim.pid)
        alive[place] = makers[place]()
    eventually(lambda: len(family.entries("acknowledged")) > ENOUGH, "there are enough jobs", 60)
    return killed


def _has_noted(family: Family, victim: Child) -> bool:
    return (family.folder / f"{victim.pid}.journal").exists()


class _Books:
    """What was promised, against what is there; everything by the jobs' serial numbers."""

    def __init__(self, entries: list[Entry], kept: dict[str, Kept], killed: set[int]) -> None:
        noted = {
            event: Counter(entry.job for entry in entries if entry.event == event)
            for event in ("attempted", "acknowledged", "started", "finished")
        }
        self.acknowledged = noted["acknowledged"].total()
        # Failed as they should: their only attempt died under them, or three of them did.
        by_design = {
            serial
            for serial, job in kept.items()
            if job.state == "failed" and (job.retries == 0 or job.crashes == 3)
        }
        finished = set(noted["finished"])
        self.lost = noted["acknowledged"] - Counter(finished | by_design)
        """Acknowledged, and never finished."""
        self.unordered = Counter(finished | set(kept)) - noted["attempted"]
        """There, though nobody asked for it."""
        failed = {serial for serial, job in kept.items() if job.state == "failed"}
        self.failed_for_no_reason = failed - by_design
        starts = noted["started"]
        self.uncharged = {s: job for s, job in kept.items() if starts[s] > job.attempt}
        """Started more often than they were charged for."""
        self.charged_unstarted = {s: job for s, job in kept.items() if starts[s] < job.attempt}
        """Charged for a start that never came to the handler's first line."""

        explained = {(entry.job, entry.number, entry.pid) for entry in entries
                     if entry.event == "raised"}  # fmt: skip
        unexplained: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            survived = entry.pid not in killed and entry[1:4] not in explained
            if entry.event == "started" and survived:
                unexplained[entry.job].append(entry)
        self.started_for_no_reason = {s: all_ for s, all_ in unexplained.items() if len(all_) > 1}
        """Started again, although the process that ran them lived on and they did not fail."""
        self.crashes = sum(job.crashes for job in kept.values())
        states = Counter(job.state for job in kept.values())
        self.figures = (
            f"{len(killed)} kills; {noted['attempted'].total():,} jobs attempted,"
            f" {self.acknowledged:,} acknowledged, {len(kept):,} kept: {dict(states)};"
            f" {starts.total():,} starts, {noted['finished'].total():,} ends;"
            f" {self.crashes} attempts charged to a kill, {len(self.charged_unstarted)} of them"
            f" before the handler's first line; {len(failed)} failed with no attempt left;"
            f" {(noted['finished'] - Counter(finished)).total()} ended twice"
        )


def _kept(database: Path) -> dict[str, Kept]:
    """Every job in the file, read with nothing but the standard library."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute(
            "SELECT data->>'serial', CASE state WHEN 2 THEN 'completed' WHEN 3 THEN 'failed'"
            " ELSE state END, attempt, crashes, options->>'retries' FROM job"
        ).fetchall()
    assert len({serial for serial, *_ in rows}) == len(rows), "one job is there twice"
    return {serial: Kept(*rest) for serial, *rest in rows}
