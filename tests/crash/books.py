"""The total-queue checker: what was promised, by the notes of all processes, against what is there.

Whoever schedules notes "attempted" before a call, and after it "acknowledged", "refused" (nothing
of it was kept) or "unknown"; a handler's first line notes "started" and its last one "finished".
Each note is one write, which the death of its process leaves in place. A job is known by its
serial number. Everything that is wrong becomes a sentence of its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.process.parts import Entry

__all__ = ["Blow", "Books", "Kept", "Store", "processes_of"]

ENDED = ("completed", "failed")


class Blow(NamedTuple):
    """What was done to a process: "kill"; "freeze", or an "outage" of its network, for longer than
    its lease."""

    kind: str
    pid: int
    begun: float
    over: float
    """It is dead, or goes on; by the clock of the notes."""


class Kept(NamedTuple):
    """A job as it stands in the database at the end."""

    serial: str
    type: str
    state: str
    attempt: int
    crashes: int
    retries: int
    result: object


class Store(NamedTuple):
    """What a storage holds at the end, when no process uses it any more."""

    jobs: Sequence[Kept]
    violations: Sequence[str]


def processes_of(folder: Path) -> dict[int, str]:
    """Those that run and were started around this folder, also by others than the test."""
    mark = f"PROCESS_TEST_FOLDER={folder}\0".encode()
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes() + b"\0":
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:  # It is another user's, or has ended.
            continue
    return found


class Books:
    """Lost, unexpected, recovered and duplicated jobs, after all have ended."""

    def __init__(
        self,
        entries: Sequence[Entry],
        jobs: Collection[Kept],
        blows: Sequence[Blow] = (),
        counted_ahead: int = 0,
    ) -> None:
        """`counted_ahead`: how many jobs of a worker may count as started that have not begun;
        none where it notes a start right before the first line."""
        # The note of a start and the handler's first line lie some microseconds apart: among
        # hundreds of jobs that ran when their worker died, one may have stood between the two.
        crashes = sum(job.crashes for job in jobs)
        self._may_be_unstarted = max(2, crashes // 50, counted_ahead * len(blows))
        self._noted: dict[str, Counter[str]] = defaultdict(Counter)
        for entry in entries:
            self._noted[entry.event][entry.job] += 1
        self._entries = entries
        self._jobs = {job.serial: job for job in jobs}
        self._rows = jobs
        self._blows: dict[int, list[Blow]] = defaultdict(list)
        for blow in blows:
            self._blows[blow.pid].append(blow)
        self._parents = {entry.pid: entry.number for entry in reversed(entries)
                         if entry.event == "child-of"}  # fmt: skip
        self._raised = {entry[1:4] for entry in entries if entry.event == "raised"}
        self._runs = self._cut_short()
        self._finished = {entry[1:4] for entry in entries if entry.event == "finished"}
        """Job, attempt and process, whose number every handler returns."""
        self.acknowledged = self._noted["acknowledged"].total()
        self.crashes = crashes
        self.recovered = self._jobs.keys() - self._noted["acknowledged"].keys()
        """Kept, though whoever asked for them was never told."""
        self._unstarted = {
            serial: job.attempt - starts
            for serial, job in self._jobs.items()
            if job.attempt > (starts := self._noted["started"][serial])
        }
        """Charged for a start that never came to the handler's first line."""
        self.violations = list(self._violations())

    def _cut_short(self) -> dict[str, list[tuple[Entry, str]]]:
        """The starts of each job by time, with the blow that hit each: "" where there is none."""
        starts: dict[str, list[Entry]] = defaultdict(list)
        for entry in self._entries:
            if entry.event == "started":
                starts[entry.job].append(entry)
        runs: dict[str, list[tuple[Entry, str]]] = {}
        for serial, entries in starts.items():
            until = [entry.at for entry in entries[1:]] + [float("inf")]
            runs[serial] = [
                (entry, self._blow(entry, before))
                for entry, before in zip(entries, until, strict=True)
            ]
        return runs

    def _blow(self, run: Entry, before: float) -> str:
        """What hit the process of this run, or the worker it belonged to, after it had begun
        and before it began again."""
        for pid in (run.pid, self._parents.get(run.pid)):
            for blow in self._blows.get(pid or 0, ()):
                if run.at <= blow.over and blow.begun <= before:
                    return blow.kind
        return ""

    def _violations(self) -> Iterator[str]:
        noted, jobs = self._noted, self._jobs
        for serial, count in Counter(job.serial for job in self._rows).items():
            if count > 1:
                yield f"{serial} is there {count} times"
        out_of_attempts = {serial for serial, job in jobs.items() if _died_out(job)}
        ended = Counter(noted["finished"].keys() | out_of_attempts)
        for serial in noted["acknowledged"] - ended:
            state = jobs[serial].state if serial in jobs else "not there"
            yield f"{serial} is lost: acknowledged, never finished, and {state} at the end"
        for serial in ended.keys() & noted["acknowledged"].keys() - jobs.keys():
            yield f"{serial} is lost: acknowledged, finished, and not there at the end"
        for event in ("started", "finished", "acknowledged"):
            for serial in noted[event].keys() - noted["attempted"].keys():
                yield f"{serial} is unexpected: {event}, and nobody asked for it"
        for serial in jobs.keys() - noted["attempted"].keys():
            yield f"{serial} is unexpected: kept, and nobody asked for it"
        for serial in jobs.keys() & noted["refused"].keys():
            yield f"{serial} was refused with the word that nothing was kept, and is there"
        yield from self._torn()
        for job in jobs.values():
            yield from self._wrong_with(job)
        shared = sum(jobs[serial].type != "ISOLATED" for serial in self._unstarted)
        if shared > self._may_be_unstarted:
            yield f"{shared} of {self.crashes} crashes were charged to jobs that had not begun"

    def _torn(self) -> Iterator[str]:
        """Calls of which a part was kept: several jobs are scheduled all or none."""
        calls: dict[tuple[int, int], list[str]] = defaultdict(list)
        for entry in self._entries:
            if entry.event == "attempted":
                calls[entry.pid, entry.number].append(entry.job)
        for (pid, number), serials in calls.items():
            kept = sum(serial in self._jobs for serial in serials)
            if 0 < kept < len(serials):
                yield f"{kept} of the {len(serials)} jobs of call {number} of {pid} are kept"

    def _wrong_with(self, job: Kept) -> Iterator[str]:
        name, runs = f"{job.serial} ({job.type})", self._runs.get(job.serial, [])
        if job.state not in ENDED:
            yield f"{name} is {job.state} at the end"
        if job.state == "failed" and not _died_out(job):
            yield f"{name} failed for no reason: {job}"
        told = (job.serial, job.attempt, job.result)
        if job.state == "completed" and told not in self._finished:
            yield f"{name} is completed with an outcome that its last attempt has not told: {job}"
        for (run, blow), (later, _) in pairwise(runs):
            if not blow and run[1:4] not in self._raised:
                yield (
                    f"{name} was started again in {later.pid}, for no reason:"
                    f" attempt {run.number} in {run.pid} was not cut short"
                )
        if len(runs) > job.attempt:
            yield f"{name} was started {len(runs)} times and charged {job.attempt} attempts"
        unstarted = self._unstarted.get(job.serial, 0)
        if unstarted > job.crashes:
            yield f"{name} was charged {job.attempt} attempts for {len(runs)} starts, and no crash"
        hit = sum(bool(blow) for _, blow in runs)
        if job.crashes > hit + unstarted:
            yield f"{name} was charged {job.crashes} crashes, and its processes suffered {hit}"

    @property
    def figures(self) -> str:
        """In one line."""
        noted, again = self._noted, Counter[str]()
        for runs in self._runs.values():
            for run, blow in runs[:-1]:
                again["an error" if run[1:4] in self._raised else blow or "nothing"] += 1
        states = Counter(job.state for job in self._rows)
        why = ", ".join(f"{count:,} after {reason}" for reason, count in again.items())
        return (
            f"{noted['attempted'].total():,} attempted, {self.acknowledged:,} acknowledged,"
            f" {noted['refused'].total():,} refused, {noted['unknown'].total():,} unknown,"
            f" {len(self.recovered):,} recovered;"
            f" {len(self._rows):,} kept ({', '.join(f'{n:,} {s}' for s, n in states.items())});"
            f" {noted['started'].total():,} starts, {noted['finished'].total():,} ends,"
            f" {again.total():,} starts again ({why or 'none'});"
            f" {self.crashes} crashes charged, {len(self._unstarted)} before the first line"
        )


def _died_out(job: Kept) -> bool:
    """Failed as it should: three of its attempts died, or the last that it had."""
    last = job.attempt > job.retries
    return job.state == "failed" and (job.crashes >= 3 or (last and job.crashes > 0))
