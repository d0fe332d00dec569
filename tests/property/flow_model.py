"""A workflow as a plain Python model: what `flowing.py` says, written down a second time, with
loops over everything until nothing changes. With the unique keys of its jobs, and with jobs of no
workflow that have some of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backroom.errors import JobStateError

__all__ = ["FlowModel", "Job"]

BAD = ("failed", "cancelled")
ENDED = ("completed", *BAD)


@dataclass
class Job:
    name: str
    role: str = "job"
    parents: tuple[str, ...] = ()
    anyway: bool = False
    undo: bool = False
    state: str = "blocked"
    """Or ready, active, or how it ended."""
    doomed: bool = False
    asked: bool = False
    ended_as: int = 0
    """The how manieth of all to end."""
    starts: int = 0
    """Since it last became ready."""
    key: str | None = None
    until: int | None = None
    """As `Hold.until`."""
    touched: bool = False
    """An attempt of it was charged."""

    @property
    def bad(self) -> bool:
        return self.state in BAD

    @property
    def over(self) -> bool:
        return self.state in ENDED

    def holds(self, now: int) -> bool:
        """Its key, if nobody else has taken it since."""
        if self.until:
            return now < self.until
        if self.until is None:
            return not self.over
        return not (self.over or self.touched or self.state == "active")


class FlowModel:
    def __init__(self, jobs: list[Job], compensate: bool, now: Callable[[], int]) -> None:
        self.jobs = {job.name: job for job in jobs}
        self.compensate = compensate
        self._now = now
        self.outside: list[Job] = []
        """Jobs of no workflow."""
        self._taken: dict[str, Job] = {}
        """Who took each key last, where that is not held until the end."""
        for job in jobs:
            self._take(job)
        self.undone = False
        self._ends = 0
        self.settle()

    # -- what there is ---------------------------------------------------------------------------

    @property
    def main(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.role == "job"]

    @property
    def open(self) -> bool:
        return not all(job.over for job in self.main)

    @property
    def bad(self) -> bool:
        return any(job.bad for job in self.main)

    def statuses(self) -> dict[str, str]:
        return {
            name: "pending" if job.state == "ready" else job.state
            for name, job in self.jobs.items()
        }

    def may_begin(self, job: Job) -> bool:
        """What must be so of a job that is claimed: all it waits for has ended, and completed if
        that is wanted."""
        before = self.main if job.role == "callback" else [self.jobs[name] for name in job.parents]
        return all(one.over for one in before) and (job.anyway or not any(b.bad for b in before))

    # -- unique keys -----------------------------------------------------------------------------

    def holder(self, key: str | None) -> Job | None:
        for job in [*self.jobs.values(), *self.outside]:
            if key is not None and job.key == key and job.until is None and not job.over:
                return job
        job_ = self._taken.get(key or "")
        return job_ if job_ is not None and job_.holds(self._now()) else None

    def _take(self, job: Job) -> None:
        if job.key is not None:
            self._taken.pop(job.key, None)
            if job.until is not None:
                self._taken[job.key] = job

    def come(self, job: Job, how: str) -> Job:
        """A job of no workflow comes, with a key; who answers for it."""
        holder = self.holder(job.key)
        of_flow = holder is not None and holder.role != "outside"
        if holder is None or (how == "replace" and of_flow and holder.until == 0):
            self.outside.append(job)
            self._take(job)
            return job
        return holder

    def leave(self, job: Job) -> None:
        """It is deleted."""
        self.outside.remove(job)
        if job.key is not None and self._taken.get(job.key) is job:
            del self._taken[job.key]

    # -- what follows ----------------------------------------------------------------------------

    def settle(self) -> None:
        while any(self._turn(job) for job in self.jobs.values() if job.state == "blocked"):
            pass
        if not self.open and self.bad and self.compensate and not self.undone:
            done = [job for job in self.main if job.state == "completed" and job.undo]
            done.sort(key=lambda job: job.ended_as, reverse=True)
            before: tuple[str, ...] = ()
            for job in done:
                self.undone = True
                undo = Job(f"{job.name}-undo", "undo", before, anyway=True)
                self.jobs[undo.name] = undo
                before = (undo.name,)
            if done:
                self.settle()

    def _turn(self, job: Job) -> bool:
        parents = [self.jobs[name] for name in job.parents]
        if job.role == "callback":
            if self.open:
                return False
            vain = self.bad and not job.anyway
        else:
            vain = not job.anyway and any(parent.bad for parent in parents)
        if vain:
            self._end(job, "cancelled")
            job.doomed = True
            return True
        if all(parent.over for parent in parents):
            job.state, job.starts = "ready", 0
            return True
        return False

    def _end(self, job: Job, how: str) -> None:
        self._ends += 1
        job.state, job.ended_as, job.asked = how, self._ends, False

    # -- what workers and people do --------------------------------------------------------------

    def end(self, name: str, how: str, charged: bool = True) -> None:
        """`how`: how it ended; or "again", it waits again."""
        job = self.jobs[name]
        job.touched = job.touched or charged
        if how == "again":
            how = "cancelled" if job.asked else "ready"
        if how == "ready":
            job.state, job.starts = "ready", 0
        else:
            self._end(job, how)
        self.settle()

    def cancel(self, name: str) -> None:
        job = self.jobs[name]
        if job.state == "active":
            job.asked = True
        elif not job.over:
            self._end(job, "cancelled")
        self.settle()

    def cancel_all(self) -> int:
        """First all that wait, then what follows: nothing is let go in between."""
        going = [job for job in self.main if not job.over and not job.asked]
        for job in going:
            if job.state == "active":
                job.asked = True
            else:
                self._end(job, "cancelled")
        self.settle()
        return len(going)

    def retry(self, name: str) -> None:
        job = self.jobs[name]
        if job.state == "active":
            raise JobStateError("active")
        if not job.over:
            return
        if self.undone and job.role != "undo":
            raise JobStateError("undone")
        vain = not job.anyway and (
            not self.open and self.bad
            if job.role == "callback"
            else any(self.jobs[parent].bad for parent in job.parents)
        )
        if vain:
            raise JobStateError("in vain")
        self._reopen([job])

    def retry_all(self) -> None:
        if self.undone:
            raise JobStateError("undone")
        jobs = [job for job in self.main if job.bad]
        if not jobs:
            jobs = [job for job in self.jobs.values() if job.role == "callback" and job.bad]
        self._reopen(jobs)

    def _reopen(self, again: list[Job]) -> None:
        back = self._behind(again)
        while lost := [job for job in back if self._in_vain(job, [*again, *back])]:
            back = [job for job in back if job not in lost]
        if any(job.role == "job" for job in again):
            back += [j for j in self.jobs.values() if j.role == "callback" and j.doomed]
        wanted = [job for job in [*again, *back] if job.key is not None and job.until is None]
        if any(self.holder(job.key) for job in wanted):
            raise JobStateError("another job has its key")
        for job in wanted:
            self._take(job)
        for job in [*again, *back]:
            job.state, job.doomed, job.starts = "blocked", False, 0
        self.settle()

    def _behind(self, again: list[Job]) -> list[Job]:
        """Cancelled behind these, through none but such."""
        names = {job.name for job in again}
        found: list[Job] = []
        grown = True
        while grown:
            grown = False
            for job in self.main:
                near = names | {one.name for one in found}
                new = job not in found and job not in again
                if new and job.doomed and near & set(job.parents):
                    found.append(job)
                    grown = True
        return found

    def _in_vain(self, job: Job, alive: list[Job]) -> bool:
        parents = [self.jobs[name] for name in job.parents]
        return any(parent.bad and parent not in alive for parent in parents)
