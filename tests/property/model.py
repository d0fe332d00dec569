"""A storage as a plain Python model: one dict of jobs, one of workers, and no cleverness.

It is what `ports.py` and `inspecting.py` say, written down a second time. Where the contract leaves
a choice, the model offers the sets to choose from instead of an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from backroom.errors import DuplicateJobError, JobNotFoundError, JobStateError, LeaseLostError
from backroom.inspecting import Filter
from backroom.job import PRIORITIES, JobRecord, JobStatus, State, status_of, to_datetime
from backroom.ports import Want
from backroom.transition import Claim, Transition
from backroom.versions import version_of

__all__ = ["TERMINAL", "Job", "Model", "Worker", "of_worker", "same_refusal"]

TERMINAL = (State.COMPLETED, State.FAILED, State.CANCELLED)
WAITS = (State.WAITING, State.PARKED)


@dataclass
class Job:
    record: JobRecord
    order: int
    """Its place in the order of insertion."""
    run_at: int
    expires_at: int | None
    retries: int
    state: State = State.WAITING
    attempt: int = 0
    crashes: int = 0
    budget: int = 0
    worker: int | None = None
    token: int | None = None
    """Of the last claim; None once that claim was taken or given back."""
    highest: int = 0
    """The greatest token there ever was."""
    started: bool = False
    asked: bool = False
    """A cancel was asked for while it ran."""
    started_at: int | None = None
    finished_at: int | None = None
    result: Any = None
    reason: str | None = None
    errors: list[tuple[int, str]] = field(default_factory=list)

    @property
    def live(self) -> bool:
        return self.state not in TERMINAL

    @property
    def place(self) -> tuple[int, int]:
        """Its place among jobs of its priority."""
        return self.run_at, self.order

    @property
    def has_run(self) -> bool:
        return self.attempt > 0 or self.started_at is not None

    def seen(self, now: int, workers: dict[int, Worker]) -> dict[str, Any]:
        """What people see of it at a moment, by the names of `JobInfo`."""
        return {
            "id": self.record.id,
            "type": self.record.type,
            "queue": self.record.queue,
            "priority": PRIORITIES[self.record.priority],
            "status": status_of(self.state, self.run_at, now),
            "result": self.result,
            "error": self.reason,
            "attempt": self.attempt + (self.state == State.ACTIVE and self.started),
            "max_attempts": self.budget + self.retries + 1,
            "crashes": self.crashes,
            "version": version_of(self.record.options),
            "parked": self.state == State.PARKED,
            "cancel_requested": self.asked,
            "run_at": to_datetime(self.run_at),
            "expires_at": None if self.expires_at is None else to_datetime(self.expires_at),
            "started_at": None if self.started_at is None else to_datetime(self.started_at),
            "finished_at": None if self.finished_at is None else to_datetime(self.finished_at),
            "worker": None if self.worker is None else workers[self.worker].name,
            "unique_key": self.record.unique_key,
        }


@dataclass
class Held:
    """A key that is held not until the end of a job."""

    job: str
    until: int
    """0: until it starts."""
    last: str | None = None
    """Whose data it got last."""


@dataclass
class Worker:
    name: str
    lease_until: float
    lease: float


class Model:
    def __init__(self, retention: int) -> None:
        self.retention = retention
        """In microseconds."""
        self.jobs: dict[str, Job] = {}
        self.workers: dict[int, Worker] = {}
        self.paused: dict[str, bool] = {}
        """By queue, for every queue that ever was named."""
        self.holds: dict[tuple[str, str | None], Held] = {}
        self._inserted = 0

    # -- insert ------------------------------------------------------------------------------

    def insert(
        self, records: Iterable[JobRecord], now: int, worker: int | None
    ) -> list[tuple[str, bool, bool]]:
        """For each: who answers for it, whether it is new, whether it goes to the worker."""
        return [self._insert(record, now, worker) for record in records]

    def _insert(self, record: JobRecord, now: int, worker: int | None) -> tuple[str, bool, bool]:
        self.paused.setdefault(record.queue, False)
        if record.id in self.jobs:
            return record.id, False, False
        answer = None if record.unique_key is None else self._met(record)
        if answer is not None:
            return answer, False, False
        passes = (
            worker in self.workers
            and record.run_at <= now
            and not self.paused[record.queue]
            and not any(
                job.record.priority <= record.priority for job in self.due([record.queue], now)
            )
        )
        self._inserted += 1
        self.jobs[record.id] = Job(
            record, self._inserted, record.run_at, record.expires_at, retries=3
        )
        return record.id, True, passes

    def _met(self, record: JobRecord) -> str | None:
        """Who answers for a job with a key; None: it has its key now."""
        name = (record.type, record.unique_key)
        until, how = (None, "existing") if record.hold is None else (
            record.hold.until, record.hold.on_conflict
        )  # fmt: skip
        held, holder = self.holds.get(name), self.holder(record)
        if holder is None and held is not None:
            if record.id in (held.job, held.last):
                return held.job
            if self._holds(held, record.created_at, how):
                holder = held.job
        if holder is not None:
            if how == "raise":
                raise DuplicateJobError("held", holder)
            job = self.jobs.get(holder)
            if how == "replace" and job is not None and job.state in WAITS and not job.has_run:
                self._replace(job, record)
                if held is not None:
                    held.last = record.id
            return holder
        self.holds.pop(name, None)
        if until is not None:
            self.holds[name] = Held(record.id, until)
        return None

    def _holds(self, held: Held, now: int, how: str) -> bool:
        if held.until:
            return now < held.until
        job = self.jobs.get(held.job)
        if job is None or job.has_run:
            return False
        in_a_lane = job.state == State.ACTIVE and not job.started
        return job.state in WAITS or (in_a_lane and how != "replace")

    def _replace(self, job: Job, record: JobRecord) -> None:
        job.record = msgspec.structs.replace(
            job.record, queue=record.queue, priority=record.priority, data=record.data,
            options=record.options,
        )  # fmt: skip
        job.run_at, job.expires_at, job.state = record.run_at, record.expires_at, State.WAITING

    def holder(self, record: JobRecord) -> str | None:
        """The live job that holds this one's unique key until it ends."""
        for job in self.jobs.values():
            other = job.record
            if (
                record.unique_key is not None
                and (other.type, other.unique_key) == (record.type, record.unique_key)
                and other.id != record.id
                and job.live
                and until_its_end(other)
            ):
                return other.id
        return None

    def _free(self, record: JobRecord, now: int) -> bool:
        """Whether a job that ended may have its key again, if it needs one."""
        if record.unique_key is None or not until_its_end(record):
            return True
        name = (record.type, record.unique_key)
        if name in self.holds:
            if self._holds(self.holds[name], now, "existing"):
                return False
            del self.holds[name]
        return self.holder(record) is None

    def keyed(self, now: int) -> list[tuple[str, str | None]]:
        """The keys that jobs hold which are there."""
        held = [n for n, one in self.holds.items() if one.job in self.jobs
                and self._holds(one, now, "existing")]  # fmt: skip
        return held + [
            (job.record.type, job.record.unique_key)
            for job in self.jobs.values()
            if job.live and job.record.unique_key is not None and until_its_end(job.record)
        ]

    # -- workers -----------------------------------------------------------------------------

    def held(self, worker: int) -> list[Job]:
        return [job for job in self.jobs.values() if job.worker == worker]

    def alive(self, worker: int) -> Worker:
        if worker not in self.workers:
            raise LeaseLostError
        return self.workers[worker]

    def extend(self, worker: int, uptime: float) -> set[str]:
        """Returns whose cancel was asked for."""
        alive = self.alive(worker)
        alive.lease_until = uptime + alive.lease
        return {job.record.id for job in self.held(worker) if job.asked}

    def retire(self, worker: int, now: int) -> None:
        self.give_back(worker, (), now)
        self.workers.pop(worker, None)

    # -- claims ------------------------------------------------------------------------------

    def due(
        self, queues: Collection[str], now: int, types: Mapping[str, int] | None = None
    ) -> list[Job]:
        """What waits, and what is parked and of one of these types and up to its version."""
        return sorted(
            (
                job
                for job in self.jobs.values()
                if (
                    job.state == State.WAITING
                    or (
                        job.state == State.PARKED
                        and version_of(job.record.options) <= (types or {}).get(job.record.type, 0)
                    )
                )
                and job.run_at <= now
                and job.record.queue in queues
            ),
            key=lambda job: job.place,
        )

    def served(self, want: Want) -> list[str]:
        queues = self.paused if want.queues is None else want.queues
        return [q for q in queues if q not in want.but and not self.paused.get(q, False)]

    def claimable(self, want: Want, now: int) -> list[str]:
        """What a claim gives, in order."""
        due = self.due(self.served(want), now, want.types)
        starving = [job for job in due if job.run_at <= want.starving_since]
        taken = starving[: min(want.starving, want.rooms[3])]
        for priority, room in enumerate(want.rooms):
            lane = [j for j in due if j.record.priority == priority and j not in taken]
            taken += lane[: max(0, room - len(taken))]
        return [job.record.id for job in taken]

    def next_due(self, want: Want) -> int | None:
        served = self.served(want)
        return min(
            (
                job.run_at
                for job in self.jobs.values()
                if job.state == State.WAITING and job.record.queue in served
            ),
            default=None,
        )

    def claimed(self, claim: Claim, worker: int) -> None:
        """Checks a claim, and makes it."""
        job = self.jobs[claim.id]
        assert claim.token > job.highest, "a token did not grow"
        assert (claim.attempt, claim.crashes, claim.budget) == (
            job.attempt, job.crashes, job.budget,
        )  # fmt: skip
        assert claim.expires_at == (None if job.has_run else job.expires_at)
        assert claim.run_at == job.run_at
        job.state, job.worker, job.started = State.ACTIVE, worker, False
        job.token = job.highest = claim.token

    def start(self, ids: Iterable[str]) -> None:
        for job_id in ids:
            self.jobs[job_id].started = True

    def finish(self, claim_id: str, transition: Transition, now: int) -> bool:
        job = self.jobs.get(claim_id)
        if job is None or job.token != transition.token:
            return False
        if job.state != State.ACTIVE:
            return True
        asked, job.asked = job.asked, False
        job.state, job.worker, job.started = State(transition.state), None, False
        job.attempt = transition.attempt
        job.reason, job.finished_at = transition.reason, transition.finished_at
        job.result = None if transition.result is None else int(transition.result)
        if transition.run_at is not None:
            job.run_at = transition.run_at
        if transition.started_at is not None:
            job.started_at = transition.started_at
        if transition.failure is not None:
            job.errors.append((transition.failure.attempt, transition.failure.kind))
        if asked and job.state in WAITS:
            self._cancelled(job, now)
        return True

    def give_back(self, worker: int, keep: Collection[str], now: int) -> int:
        given = [job for job in self.held(worker) if job.record.id not in keep]
        for job in given:
            self._release(job, now)
        return len(given)

    def _release(self, job: Job, now: int) -> None:
        asked, job.asked = job.asked, False
        job.state, job.worker, job.started, job.token = State.WAITING, None, False, None
        if asked:
            self._cancelled(job, now)

    def _cancelled(self, job: Job, now: int, reason: str = "cancelled by request") -> None:
        job.state, job.finished_at, job.reason = State.CANCELLED, now, reason

    # -- upkeep ------------------------------------------------------------------------------

    def reclaim(self, now: int, uptime: float) -> tuple[list[str], int, int]:
        """Returns who died, how many jobs were charged, and how many were not."""
        dead = [number for number, worker in self.workers.items() if worker.lease_until <= uptime]
        names, crashed, untouched = [self.workers[number].name for number in dead], 0, 0
        for number in dead:
            for job in self.held(number):
                if job.started:
                    job.attempt += 1
                    job.crashes += 1
                    name = self.workers[number].name
                    job.reason = f"the worker {name} died while it ran this job"
                    job.errors.append((job.attempt, "crash"))
                    crashed += 1
                else:
                    untouched += 1
                self._release(job, now)
            del self.workers[number]
        return sorted(names), crashed, untouched

    def prune(self, now: int) -> int:
        gone = [
            job_id
            for job_id, job in self.jobs.items()
            if job.finished_at is not None
            and not job.live
            and job.finished_at < now - self.retention
        ]
        for job_id in gone:
            del self.jobs[job_id]
        late = [
            job
            for job in self.jobs.values()
            if job.state in WAITS
            and job.expires_at is not None
            and job.expires_at <= now
            and not job.has_run
        ]
        for job in late:
            self._cancelled(job, now, "expired before it started")
        for name, held in list(self.holds.items()):
            job = self.jobs.get(held.job)  # type: ignore[assignment]
            if held.until <= now if held.until else job is None or job.has_run:
                del self.holds[name]
        return len(gone) + len(late)

    # -- people ------------------------------------------------------------------------------

    def _chosen(self, which: str | Filter, now: int) -> list[Job]:
        if isinstance(which, str):
            if which not in self.jobs:
                raise JobNotFoundError
            return [self.jobs[which]]
        return [
            job
            for job in self.jobs.values()
            if which.status in (None, status_of(job.state, job.run_at, now))
            and which.queue in (None, job.record.queue)
            and which.type in (None, job.record.type)
        ]

    def cancel(self, which: str | Filter, now: int) -> int:
        chosen = [
            job
            for job in self._chosen(which, now)
            if job.live and (isinstance(which, str) or not job.asked)
        ]
        for job in chosen:
            if job.state == State.ACTIVE:
                job.asked = True
            else:
                self._cancelled(job, now)
        return len(chosen)

    def retry(self, which: str | Filter, now: int) -> int:
        if isinstance(which, str):
            [job] = self._chosen(which, now)
            if job.state == State.ACTIVE or (not job.live and not self._free(job.record, now)):
                raise JobStateError
            if (job.state == State.WAITING and job.run_at > now) or not job.live:
                self._again(job, now)
            return 1
        retried = 0
        for job in self._chosen(which, now):
            if not job.live and self._free(job.record, now):
                self._again(job, now)
                retried += 1
        return retried

    def _again(self, job: Job, now: int) -> None:
        job.state, job.run_at, job.budget, job.crashes = State.WAITING, now, job.attempt, 0
        job.finished_at = job.result = job.expires_at = None

    def rearrange(
        self, which: str | Filter, now: int, run_at: int | None, priority: int | None
    ) -> int:
        chosen = [
            job
            for job in self._chosen(which, now)
            if job.state in (State.WAITING, State.PARKED)
            and (run_at is None or job.expires_at is None or job.has_run or run_at < job.expires_at)
        ]
        if isinstance(which, str) and not chosen:
            raise JobStateError
        for job in chosen:
            job.state = State.WAITING
            job.run_at = job.run_at if run_at is None else run_at
            if priority is not None:
                job.record = msgspec.structs.replace(job.record, priority=priority)
        return len(chosen)

    def delete(self, job_id: str) -> None:
        if job_id not in self.jobs:
            raise JobNotFoundError
        if self.jobs[job_id].state == State.ACTIVE:
            raise JobStateError
        del self.jobs[job_id]
        self.holds = {name: held for name, held in self.holds.items() if held.job != job_id}

    # -- what is seen --------------------------------------------------------------------------

    def page(self, now: int) -> list[dict[str, Any]]:
        """All jobs, newest first."""
        newest = sorted(self.jobs.values(), key=lambda job: -job.order)
        return [job.seen(now, self.workers) for job in newest]

    def by_status(self, now: int) -> dict[str, int]:
        counts = Counter(str(status_of(j.state, j.run_at, now)) for j in self.jobs.values())
        return {str(status): counts[str(status)] for status in JobStatus}

    def failures(self) -> dict[tuple[str, str], int]:
        """The failed jobs, by their types and the kinds of their last errors."""
        failed = (job for job in self.jobs.values() if job.state is State.FAILED)
        return dict(Counter((job.record.type, job.errors[-1][1]) for job in failed))

    def by_worker(self) -> list[tuple[str, int]]:
        return [(worker.name, len(self.held(number))) for number, worker in self.workers.items()]


def until_its_end(record: JobRecord) -> bool:
    return record.hold is None or record.hold.until is None


def same_refusal(model: Callable[[], Any]) -> tuple[Any, type[Exception] | None]:
    """What the model answers, or the kind of its refusal."""
    try:
        return model(), None
    except (JobNotFoundError, JobStateError, LeaseLostError) as refusal:
        return None, type(refusal)


def of_worker(claims: Sequence[Claim], jobs: dict[str, Job], worker: int) -> list[Claim]:
    """The claims that stand, of one worker."""
    return [
        claim
        for claim in claims
        if claim.id in jobs
        and jobs[claim.id].worker == worker
        and jobs[claim.id].token == claim.token
    ]
