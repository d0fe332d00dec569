"""New jobs: kept together, under one key, and where nothing waits straight to a worker."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

import msgspec
from msgspec.structs import astuple

from backroom.errors import StorageError
from backroom.job import JobRecord, State
from backroom.ports import Inserted, Wake
from backroom.storage.sqlite.bulk import Bulk
from backroom.storage.sqlite.claims import probe
from backroom.storage.sqlite.ledger import Ledger
from backroom.transition import Claim

__all__ = ["InsertGroup", "OneGroup", "insert", "too_large"]

_COLUMNS = (
    "key, id, type, queue, priority, run_at, created_at, data, options, unique_key, expires_at"
)

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


def insert(ledger: Ledger, groups: Iterable[InsertGroup]) -> list[list[Inserted]]:
    """Keeps all jobs of all groups; raises without a trace of which group was at fault."""
    waiting: list[JobRecord] = []
    passing: dict[int, list[_Passing]] = {}
    doors: dict[str, list[bool]] = {}
    twins: dict[str, str] = {}
    answers: list[list[Inserted]] = []
    for group in groups:
        worker = group.worker
        if worker is not None and not ledger.is_enlisted(worker):
            worker = None
        answer: list[Inserted] = []
        for job in group.jobs:
            if job.queue not in ledger.queues:
                ledger.run("INSERT OR IGNORE INTO queue (name) VALUES (?)", (job.queue,))
                ledger.queues.add(job.queue)
            if job.unique_key is not None:
                twin = _twin(ledger, job, twins)
                if twin is not None:
                    answer.append(Inserted(twin, False))
                    continue
            if worker is not None and job.run_at <= group.now:
                if job.queue not in doors:
                    doors[job.queue] = _open_doors(ledger, job.queue, group.now)
                if doors[job.queue][job.priority]:
                    passing.setdefault(worker, []).append((job, group.start, answer, len(answer)))
                    answer.append(_UNDECIDED)
                    continue
            waiting.append(job)
            answer.append(Inserted(job.id, True))
        answers.append(answer)
    if waiting:
        put = _put(ledger, waiting, State.WAITING, None, 0)
        if not put.whole:
            _set_right(answers, put.known)
        ledger.wakes.add(Wake.JOBS)
    for worker, jobs in passing.items():
        _pass(ledger, worker, jobs)
    return answers


def too_large() -> StorageError:
    """The refusal of a job that is more than SQLite takes in one row."""
    return StorageError(
        "a job is too large to be written (SQLite takes 1,000,000,000 bytes a row); nothing of"
        " this call was kept: keep large things elsewhere and schedule their address"
    )


def _set_right(answers: list[list[Inserted]], known: set[str]) -> None:
    """An id that was there already, or came twice, was made once at most."""
    made: set[str] = set()
    for answer in answers:
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
    rows = [(key, *astuple(job)) for key, job in enumerate(jobs, first)]
    if INSERT.run(ledger, rows, int(state), worker, token) == len(jobs):
        return _Put(first, True, set())
    keys = {job.id: first + i for i, job in reversed(list(enumerate(jobs)))}
    there = ledger.run(
        "SELECT id, key FROM job WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(keys)),),
    )
    return _Put(first, False, {id_ for id_, key in there if keys[id_] != key})


def _twin(ledger: Ledger, job: JobRecord, known: dict[str, str]) -> str | None:
    """The id of the live job that holds this job's unique key, if it is another one. A job
    that was inserted before answers for itself, whoever holds its key by now."""
    if ledger.run("SELECT 1 FROM job WHERE id = ?", (job.id,)).fetchone():
        return job.id
    name = json.dumps([job.type, job.unique_key])
    if name not in known:
        row = ledger.run(
            "SELECT id FROM job WHERE type = ? AND unique_key = ?"
            " AND unique_key IS NOT NULL AND state NOT BETWEEN 2 AND 4",
            (job.type, job.unique_key),
        ).fetchone()
        if row is None:
            known[name] = job.id
            return None
        known[name] = row[0]
    return known[name]


def _open_doors(ledger: Ledger, queue: str, now: int) -> list[bool]:
    """By priority: whether a new job may pass straight to a worker, as nothing of equal or
    higher priority waits and the queue is not paused."""
    paused, due = probe(ledger, queue)
    open_, doors = not paused, []
    for run_at in due:
        open_ = open_ and (run_at is None or run_at > now)
        doors.append(open_)
    return doors
