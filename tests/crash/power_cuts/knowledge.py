"""What is known of a store at an instant: what must be in it after a power cut, what may be, and
what must not.

A life notes what it asks before it asks it, and what it was promised once it was. Nothing less
than a promise counts: what was asked and not answered may have happened or not.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.crash.power_cuts.facts import Facts, Row
from tests.crash.power_cuts.notes import (
    Answered,
    Asked,
    Began,
    Deleted,
    Deleting,
    Ended,
    Ending,
    Handed,
    Kept,
    Note,
    Opened,
    Paused,
    Pausing,
    Pruning,
    Reclaiming,
    Retried,
    Retrying,
    Seen,
    Step,
    Stepped,
    Stopped,
    Stopping,
)

__all__ = ["Knowledge"]

ACTIVE, COMPLETED, FAILED, CANCELLED = 1, 2, 3, 4
TERMINAL = (COMPLETED, FAILED, CANCELLED)


@dataclass
class _Job:
    id: str | None = None
    """Known once it is promised to be there."""
    group: tuple[int, ...] = ()
    may_go: bool = False
    gone: bool = False
    ended: tuple[int, str | None] | None = None
    may_end: set[tuple[int, str | None]] = field(default_factory=set)
    stale: set[tuple[int, str | None]] = field(default_factory=set)
    """Ends from before an operator asked for another run."""
    attempts: int = 0
    begun: dict[int, int] = field(default_factory=dict)
    """By token: the attempts that began, and whose outcome nobody has asked to record."""
    token: int = 0
    stopped: bool = False

    def may(self, state: int, result: str | None) -> None:
        self.may_end.add((state, result))
        self.stale.discard((state, result))


class Knowledge:
    """Grows with each note."""

    def __init__(self, *, durable: bool = True) -> None:
        """`durable`: what was promised must be there; else only what is there must be whole."""
        self.durable = durable
        self.opened = False
        self.jobs: defaultdict[int, _Job] = defaultdict(_Job)
        self.queues: dict[str, set[bool]] = {}
        self.steps: list[dict[int, int]] = [{}]
        self.stepped = 0

    def handed_on(self) -> Knowledge:
        """What the next life of the store knows of it from the beginning."""
        knowledge = copy.deepcopy(self)
        knowledge.steps, knowledge.stepped = [{}], 0
        return knowledge

    def learn(self, note: Note) -> None:
        match note:
            case Opened():
                self.opened = True
            case Asked(jobs):
                for number in jobs:
                    self.jobs[number].group = jobs
            case Kept(number, id_):
                self.jobs[number].id = id_
            case Answered():
                pass
            case Pausing(queue, paused):
                self.queues.setdefault(queue, {False}).add(paused)
            case Paused(queue, paused):
                self.queues[queue] = {paused}
            case Step(jobs):
                self.steps.append(dict(jobs))
            case Stepped():
                self.stepped = len(self.steps) - 1
            case Reclaiming():
                for job in self.jobs.values():
                    job.may(FAILED, None)
                    job.may(CANCELLED, None)
            case Pruning():
                for job in self.jobs.values():
                    job.may_go = job.may_go or bool(job.may_end)
            case _:
                self._learn_of_job(note)

    def _learn_of_job(self, note: Note) -> None:
        match note:
            case Handed(number, token):
                job = self.jobs[number]
                job.token = max(job.token, token)
            case Began(number, token, attempt):
                self.jobs[number].begun[token] = attempt
            case Ending(number, token, state, result):
                job = self.jobs[number]
                job.begun.pop(token, None)
                if state in TERMINAL:
                    job.may(state, result)
            case Ended(number, state, result, attempt):
                job = self.jobs[number]
                job.attempts = max(job.attempts, attempt)
                if state in TERMINAL:
                    job.ended = state, result
            case Seen(number, state, result):
                self.jobs[number].ended = state, result
            case Stopping(number):
                self.jobs[number].may(CANCELLED, None)
            case Stopped(number):
                self.jobs[number].stopped = True
            case Deleting(numbers):
                for number in numbers:
                    self.jobs[number].may_go = True
            case Deleted(numbers):
                for number in numbers:
                    self.jobs[number].gone = True
            case Retrying(number):
                job = self.jobs[number]
                job.ended, job.stale, job.stopped = None, set(job.may_end), False
            case Retried(number):
                job = self.jobs[number]
                job.may_end -= job.stale
            case _:
                raise TypeError(note)

    # -- judging ---------------------------------------------------------------------------------

    def faults(self, facts: Facts) -> list[str]:
        """What is wrong with a store that was reopened, in words."""
        if facts.refused:
            return [f"the store is refused: {facts.refused}"]
        return [*self._faults(facts)]

    def _faults(self, facts: Facts) -> Iterator[str]:
        if facts.integrity != "ok":
            yield f"integrity_check: {facts.integrity}"
        if facts.unlike:
            yield f"the storage shows other jobs than its tables hold: {facts.unlike}"
        for number, row in facts.rows.items():
            if number not in self.jobs:
                yield f"job {number} is there and was never scheduled"
            elif not row.whole:
                yield f"the data of job {number} is not what was scheduled"
        for job in self.jobs.values():
            there = [one for one in job.group if one in facts.rows]
            if 0 < len(there) < len(job.group) and not any(self.jobs[n].may_go for n in job.group):
                yield f"of {job.group}, which were scheduled together, only {there} are there"
        states = {number: row.state for number, row in facts.rows.items()}
        if len(self.steps) > 1 and states not in self.steps[self.stepped if self.durable else 0 :]:
            yield f"not the store after any of the last steps: {states}"
        if self.durable:
            yield from self._losses(facts)

    def _losses(self, facts: Facts) -> Iterator[str]:
        if self.opened and not facts.marked:
            yield "the folder does not say any more that it holds jobs"
        for number, job in self.jobs.items():
            row = facts.rows.get(number)
            if row is None:
                if job.id is not None and not job.may_go:
                    yield f"job {number} was acknowledged and is lost"
            elif job.gone:
                yield f"job {number} was deleted and is there again"
            elif job.id not in (None, row.id):
                yield f"job {number} was acknowledged as {job.id} and is {row.id}"
            else:
                yield from (f"job {number} {fault}" for fault in _unlike(job, row, facts))
        for queue, may in self.queues.items():
            if facts.queues.get(queue, False) not in may:
                yield f"queue {queue} has forgotten whether it is paused"


def _unlike(job: _Job, row: Row, facts: Facts) -> Iterator[str]:
    end = row.state, row.result if row.state == COMPLETED else None
    if row.state in TERMINAL and end not in job.may_end:
        yield f"ended as {end}, which nobody asked for"
    if job.ended is not None and end != job.ended:
        yield f"had ended as {job.ended} and is {end} now"
    if job.stopped and not row.stopped and row.state not in TERMINAL:
        yield "was cancelled, and that is forgotten"
    if row.attempt < job.attempts:
        yield f"had {job.attempts} attempts and has {row.attempt}"
    for token, attempt in job.begun.items():
        held = row.state == ACTIVE and row.token == token and row.started
        if row.attempt < attempt and not held:
            yield f"had begun attempt {attempt}, and that is not counted"
        if row.attempt_after is not None and row.attempt_after < attempt:
            yield f"had begun attempt {attempt}, and its reclaim did not charge it"
    if max(row.token, facts.token) < job.token:
        yield f"had the lease token {job.token}, and tokens go on from {facts.token}"
    if row.token_after is not None and row.token_after <= job.token:
        yield f"gets the lease token {row.token_after} after {job.token}"
