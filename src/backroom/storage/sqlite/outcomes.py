"""What becomes of claims, and what their handlers say on the way. All of it is fenced."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from backroom.job import State
from backroom.ports import Report, Wake
from backroom.storage.sqlite.bulk import Bulk
from backroom.storage.sqlite.inserts import OneGroup, insert_one
from backroom.storage.sqlite.ledger import Ledger, encode
from backroom.storage.sqlite.steps import put_aside
from backroom.storage.sqlite.ties import loosen
from backroom.transition import Transition

__all__ = ["MAX_ERRORS", "finish", "report", "trim_errors"]

MAX_ERRORS: Final = 50
MAX_LOG_LINES: Final = 1000

# A cancel that was asked for while the job ran wins over its waiting again, or being parked.
_STOPPED = "cancel_requested AND t.value->>2 IN (0, 6)"
FINISH: Final = f"""
    UPDATE job SET
        state = CASE WHEN {_STOPPED} THEN 4 ELSE t.value->>2 END,
        run_at = ifnull(t.value->>3, run_at),
        attempt = t.value->>4,
        crashes = crashes + t.value->>13,
        started_at = ifnull(t.value->>5, started_at),
        finished_at = CASE WHEN {_STOPPED} THEN ?2 ELSE t.value->>6 END,
        result = t.value->>7,
        reason = CASE WHEN {_STOPPED} THEN 'cancelled by request' ELSE t.value->>8 END,
        progress = ifnull(t.value->>10, progress),
        progress_message = ifnull(t.value->>11, progress_message),
        options = ifnull(t.value->>16, options),
        worker = NULL,
        cancel_requested = 0
    FROM jsonb_each(?1) AS t
    WHERE job.key = t.value->>0 AND job.token = t.value->>1 AND job.state = 1
"""
# The same for what has gone well, which is most.
COMPLETE: Final = Bulk(
    """
    UPDATE job SET
        state = 2,
        attempt = column3,
        started_at = ifnull(column4, started_at),
        finished_at = column5,
        result = column6,
        reason = NULL,
        worker = NULL,
        cancel_requested = 0
    FROM {rows} AS t
    WHERE column1 IS NOT NULL AND job.key = column1 AND job.token = column2 AND job.state = 1
    """,
    width=6,
)
_completion = attrgetter("key", "token", "attempt", "started_at", "finished_at", "result")
_COMPLETED: Final = int(State.COMPLETED)
_FENCED = """EXISTS (SELECT 1 FROM job
    WHERE job.key = t.value->>0 AND job.token = t.value->>1 AND job.state = 1)"""
FINISH_ERRORS: Final = f"""
    INSERT INTO job_error (job, attempt, at, kind, message, traceback, began)
    SELECT value->>0, value->>'$[9][0]', value->>'$[9][1]', value->>'$[9][2]',
           value->>'$[9][3]', value->>'$[9][4]', value->>5
    FROM jsonb_each(?1) AS t WHERE value->>9 IS NOT NULL AND {_FENCED}
"""
ADD_LOG: Final = f"""
    INSERT INTO job_log (job, attempt, at, level, message)
    SELECT t.value->>0, t.value->>2, l.value->>0, l.value->>1, l.value->>2
    FROM jsonb_each(?1) AS t, jsonb_each(t.value, '$[3]') AS l WHERE {_FENCED}
"""
TRIM: Final = """
    DELETE FROM {table} WHERE rowid IN (
        SELECT rowid FROM {table} WHERE job = ?1 ORDER BY rowid DESC LIMIT -1 OFFSET ?2)
"""
REPORT: Final = """
    UPDATE job SET progress = ifnull(t.value->>3, progress),
                   progress_message = ifnull(t.value->>4, progress_message)
    FROM jsonb_each(?1) AS t
    WHERE job.key = t.value->>0 AND job.token = t.value->>1 AND job.state = 1
"""


def finish(ledger: Ledger, worker: int, transitions: Sequence[Transition], now: int) -> list[bool]:
    """Applies the transitions whose token stands; says which stand."""
    asked = transitions
    once = {(t.key, t.token): t for t in reversed(transitions)}
    if len(once) < len(transitions):  # Sent again while it was on its way.
        transitions = list(once.values())
    _add_log(ledger, [(t.key, t.token, t.attempt, t.log) for t in transitions if t.log])
    others = [t for t in transitions if t.state != _COMPLETED or t.progress is not None]
    plain = transitions
    if others:
        plain = [t for t in transitions if t.state == _COMPLETED and t.progress is None]
    changed = COMPLETE.run(ledger, list(map(_completion, plain)))
    if others:
        changed += _finish_others(ledger, others, now)
    ledger.wakes.add(Wake.FINISHED)  # Whatever was said: a cancel may have ended the job.
    states = {t.state for t in transitions}
    if State.PARKED in states:
        ledger.parked = True
    if State.PARKED in states or State.WAITING in states:
        ledger.wakes.add(Wake.JOBS)
    tied = [t.key for t in transitions if t.tied]
    if tied:
        loosen(ledger, tied, now)
    if changed == len(transitions):
        ledger.unmark(worker, [t.key for t in transitions])
        _make_following(ledger, transitions, now)
        return [True] * len(asked)
    tokens = dict(
        ledger.run(
            "SELECT key, token FROM job WHERE key IN (SELECT value FROM json_each(?))",
            (encode([t.key for t in transitions]),),
        )
    )
    stands = [tokens.get(t.key) == t.token for t in asked]
    # Where a token does not stand, this worker may have claimed the job anew and run it.
    stood = [t for t, stands_ in zip(asked, stands, strict=True) if stands_]
    ledger.unmark(worker, [t.key for t in stood])
    _make_following(ledger, stood, now)
    return stands


def _make_following(ledger: Ledger, transitions: Sequence[Transition], now: int) -> None:
    """The jobs that these outcomes bring about; those of one that is said again are there."""
    jobs = [job for t in transitions for job in t.follows or ()]
    if jobs:
        insert_one(ledger, OneGroup(jobs, now))


def _finish_others(ledger: Ledger, transitions: Sequence[Transition], now: int) -> int:
    """Whatever else may have come of jobs."""
    text = encode(transitions)
    if any(t.failure is not None for t in transitions):
        ledger.run(FINISH_ERRORS, (text,))
        for t in transitions:
            if t.failure is not None and t.failure.attempt > MAX_ERRORS:
                trim_errors(ledger, t.key)
    ledger.run(FINISH, (text, now))
    changed = ledger.connection.changes()
    put_aside(ledger, transitions, now)
    return changed


def report(ledger: Ledger, reports: Sequence[Report]) -> None:
    """Keeps progress and log lines of claims whose token stands."""
    ledger.run(REPORT, (encode(reports),))
    _add_log(ledger, [(r.key, r.token, r.attempt, r.log) for r in reports if r.log])


def trim_errors(ledger: Ledger, key: int) -> None:
    """Keeps the last errors of a job."""
    ledger.run(TRIM.format(table="job_error"), (key, MAX_ERRORS))


def _add_log(ledger: Ledger, lines: Sequence[tuple[int, int, int, Sequence[Any]]]) -> None:
    if not lines:
        return
    ledger.run(ADD_LOG, (encode(lines),))
    for key, *_ in lines:
        ledger.run(TRIM.format(table="job_log"), (key, MAX_LOG_LINES))
