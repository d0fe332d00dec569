"""New jobs: kept together, under one key, and where nothing waits straight to a worker."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

import msgspec
from msgspec.structs import astuple

from backroom.errors import DuplicateJobError, StorageError
from backroom.job import JobRecord, State
from backroom.limit import limits_of, turn_of
from backroom.ports import Inserted, Wake
from backroom.storage.sqlite import turns
from backroom.storage.sqlite.bulk import Bulk
from backroom.storage.sqlite.claims import probe
from backroom.storage.sqlite.keys import Keys, as_kept
from backroom.storage.sqlite.ledger import Ledger
from backroom.transition import Claim

__all__ = ["InsertGroup", "OneGroup", "insert", "insert_one", "too_large"]

_COLUMNS = (
    "key, id, type, queue, priority, run_at, created_at, data, options, unique_key, expires_at"
)

_KEPT: Final = 10
"""How many of the first fields of a record are columns."""

INSERT: Final = Bulk(
    f"""
    INSERT INTO job (state, worker, token, {_COLUMNS})
    SELECT ?1, ?2, ?3, rows.* FROM {{rows}} AS rows WHERE column1 IS NOT NULL
    ON CONFLICT (id) DO NOTHING
    """,
    width=11,
)


class InsertGroup(Protocol):
    """Jobs of one `insert` call: kept together or not at all."""

    jobs: Sequence[JobRecord]
    now: int
    worker: int | None
    start: bool


class OneGroup(msgspec.Struct):
    """An `InsertGroup` by itself."""

    jobs: Sequence[JobRecord]
    now: int
    worker: int | None = None
    start: bool = False


class _Put(NamedTuple):
    """What became of a statement's jobs."""

    first: int
    """The key of the first; the others follow it."""
    whole: bool
    """None of them was there already, or twice among them."""
    known: set[str]
    """The ids that were there already."""


_Passing: TypeAlias = tuple[JobRecord, bool, list[Inserted], int]
"""A job on its way straight to a worker: whether it counts as started, and where its answer is."""
_UNDECIDED: Final = Inserted("", False)


def insert(
    ledger: Ledger, groups: Iterable[InsertGroup]
) -> list[list[Inserted] | DuplicateJobError]:
    """Keeps all jobs of all groups, but of those that are to be told that another job holds a
    unique key; raises without a trace of which group was at fault."""
    waiting: list[JobRecord] = []
    late: list[int] = []
    """Those of them that take their turn when they are due."""
    passing: dict[int, list[_Passing]] = {}
    doors: dict[str, list[bool]] = {}
    queues: dict[str, list[Inserted]] = {}
    keys: Keys | None = None
    answers: list[list[Inserted] | DuplicateJobError] = []
    for group in groups:
        worker = group.worker
        if worker is not None and not ledger.is_enlisted(worker):
            worker = None
        answer: list[Inserted] = []
        first = len(waiting)
        try:
            for job in group.jobs:
                if job.queue not in ledger.queues:
                    queues.setdefault(job.queue, answer)
                if job.unique_key is not None:
                    keys = keys or Keys(ledger, waiting)
                    twin = keys.twin(job, group)
                    if twin is not None:
                        answer.append(Inserted(twin, False))
                        continue
                    job = as_kept(job)
                if turn_of(job.options) is not None:
                    if job.run_at > group.now:
                        late.append(len(waiting))
                    else:
                        job = _in_turn(ledger, job, group.now)
                if worker is not None and job.run_at <= group.now and not limits_of(job.options):
                    if job.queue not in doors:
                        doors[job.queue] = _open_doors(ledger, job.queue, group.now)
                    if doors[job.queue][job.priority]:
                        one = job, group.start, answer, len(answer)
                        passing.setdefault(worker, []).append(one)
                        answer.append(_UNDECIDED)
                        continue
                waiting.append(job)
                answer.append(Inserted(job.id, True))
        except DuplicateJobError as refusal:
            assert keys is not None
            keys.undo()
            del waiting[first:]
            late = [at for at in late if at < first]
            passing = {w: [p for p in jobs if p[2] is not answer] for w, jobs in passing.items()}
            queues = {name: by for name, by in queues.items() if by is not answer}
            refusal.index = len(answer) if len(group.jobs) > 1 else None
            answers.append(refusal)
        else:
            answers.append(answer)
    for queue in queues:
        ledger.run("INSERT OR IGNORE INTO queue (name) VALUES (?)", (queue,))
        ledger.queues.add(queue)
    if keys is not None:
        keys.write()
    if waiting:
        put = _put(ledger, waiting, State.WAITING, None, 0)
        if not put.whole:
            _set_right(answers, put.known)
        ledger.wakes.add(Wake.JOBS)
        for at in late:
            turns.take_later(ledger, put.first + at, waiting[at].run_at)
    for worker, jobs in passing.items():
        if jobs:
            _pass(ledger, worker, jobs)
    return answers


def insert_one(ledger: Ledger, group: InsertGroup) -> list[Inserted]:
    """The same of one group.

    Raises:
        DuplicateJobError: nothing was written.
    """
    [answer] = insert(ledger, [group])
    if isinstance(answer, DuplicateJobError):
        raise answer
    return answer


def _in_turn(ledger: Ledger, job: JobRecord, now: int) -> JobRecord:
    """The same, where it waits among those of other keys; one that is there has its turn."""
    if ledger.run("SELECT 1 FROM job WHERE id = ?", (job.id,)).fetchone():
        return job
    return turns.in_turn(ledger, job, now)


def too_large() -> StorageError:
    """The refusal of a job that is more than SQLite takes in one row."""
    return StorageError(
        "a job is too large to be written (SQLite takes 1,000,000,000 bytes a row); nothing of"
        " this call was kept: keep large things elsewhere and schedule their address"
    )


def _set_right(answers: list[list[Inserted] | DuplicateJobError], known: set[str]) -> None:
    """An id that was there already, or came twice, was made once at most."""
    made: set[str] = set()
    for answer in answers:
        if isinstance(answer, DuplicateJobError):
            continue
        for at, inserted in enumerate(answer):
            if inserted.created:
                if inserted.id in known or inserted.id in made:
                    answer[at] = Inserted(inserted.id, False)
                made.add(inserted.id)


def _pass(ledger: Ledger, worker: int, jobs: list[_Passing]) -> None:
    """Inserts jobs as claims of a worker, and answers them."""
    token = ledger.fresh_token()
    key, _, known = _put(ledger, [one[0] for one in jobs], State.ACTIVE, worker, token)
    started: list[int] = []
    for job, start, answer, at in jobs:
        if job.id in known:
            answer[at] = Inserted(job.id, False)
        else:
            known.add(job.id)
            claim = Claim(
                key, token, job.id, job.type, job.queue, job.priority, job.run_at,
                job.created_at, job.data, job.options, job.expires_at,
            )  # fmt: skip
            answer[at] = Inserted(job.id, True, claim)
            if start:
                started.append(key)
        key += 1
    if started:
        ledger.mark(worker, started)


def _put(
    ledger: Ledger, jobs: list[JobRecord], state: State, worker: int | None, token: int
) -> _Put:
    """Inserts jobs that are not there yet."""
    first = ledger.fresh_keys(len(jobs))
    rows = [(key, *astuple(job)[:_KEPT]) for key, job in enumerate(jobs, first)]
    if INSERT.run(ledger, rows, int(state), worker, token) == len(jobs):
        return _Put(first, True, set())
    keys = {job.id: first + i for i, job in reversed(list(enumerate(jobs)))}
    there = ledger.run(
        "SELECT id, key FROM job WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(keys)),),
    )
    return _Put(first, False, {id_ for id_, key in there if keys[id_] != key})


def _open_doors(ledger: Ledger, queue: str, now: int) -> list[bool]:
    """By priority: whether a new job may pass straight to a worker, as nothing of equal or
    higher priority waits and the queue is not paused."""
    paused, due = probe(ledger, queue)
    open_, doors = not paused, []
    for run_at in due:
        open_ = open_ and (run_at is None or run_at > now)
        doors.append(open_)
    return doors
