"""What is kept of the steps of jobs, and of the signals that wait for them.

A job waits for a signal where its `run_at` is the `until` of a step that has no end: whatever
else made it wait again, a retry say, has given it another moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from backroom.errors import JobNotFoundError
from backroom.job import State
from backroom.ports import Wake
from backroom.step import MAX_SIGNALS, SignalRecord, StepKind, StepRecord
from backroom.stepping import ended, lost, too_many
from backroom.storage.sqlite import away
from backroom.storage.sqlite.ledger import Ledger, encode
from backroom.transition import Transition

__all__ = [
    "COLUMNS",
    "forget",
    "keep",
    "put_aside",
    "send",
    "signals_of",
    "steps_of",
    "steps_of_all",
    "take",
]

Run = Callable[..., Any]
"""`Connection.execute`."""

COLUMNS: Final = "number, kind, name, begun_at, until, ended_at, result, signal"
KEEP: Final = f"INSERT OR REPLACE INTO step (job, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
KEEP_ALL: Final = f"""
    INSERT OR REPLACE INTO step (job, {COLUMNS})
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
           value ->> 6, value ->> 7, value ->> 8 FROM json_each(?)
"""
STEPS: Final = f"SELECT {COLUMNS} FROM step WHERE job = ? ORDER BY number"
STEPS_OF_ALL: Final = f"""
    SELECT job, {COLUMNS} FROM step WHERE job IN (SELECT value FROM json_each(?))
    ORDER BY job, number
"""
SIGNALS: Final = "SELECT id, name, value, at FROM signal WHERE job = ? ORDER BY number"
STANDS: Final = "SELECT 1 FROM job WHERE key = ? AND token = ? AND state = 1"
TOKENS: Final = """
    SELECT key, token FROM job WHERE key IN (SELECT value FROM json_each(?)) AND state = 1
"""
FIRST: Final = """
    SELECT number, id, value FROM signal WHERE job = ? AND name = ? ORDER BY number LIMIT 1
"""
KNOWN: Final = """
    SELECT 1 FROM signal WHERE job = ?1 AND id = ?2
    UNION ALL SELECT 1 FROM step WHERE job = ?1 AND signal = ?2
"""
WAKE: Final = """
    UPDATE job SET run_at = ?3 WHERE key = ?1 AND state = 0 AND run_at > ?3 AND EXISTS (
        SELECT 1 FROM step WHERE step.job = ?1 AND step.kind = 2 AND step.name = ?2
        AND step.ended_at IS NULL AND step.until = job.run_at)
"""
# The outcome that puts a job aside may have been refused, or turned into a cancellation.
PUT_ASIDE: Final = """
    UPDATE job SET run_at = ?4 WHERE key = ?1 AND token = ?2 AND state = 0
    AND EXISTS (SELECT 1 FROM signal WHERE signal.job = ?1 AND signal.name = ?3)
"""


def steps_of(run: Run, key: int) -> list[StepRecord]:
    """See `Stepping.steps_of`."""
    return [StepRecord(*row) for row in run(STEPS, (key,))]


def signals_of(run: Run, key: int) -> list[SignalRecord]:
    """Those that wait for a job, in order."""
    return [SignalRecord(*row) for row in run(SIGNALS, (key,))]


def steps_of_all(run: Run, keys: Sequence[int]) -> list[list[StepRecord]]:
    """`steps_of` for each of these."""
    found: dict[int, list[StepRecord]] = {key: [] for key in keys}
    for job, *row in run(STEPS_OF_ALL, (encode(list(found)),)):
        found[job].append(StepRecord(*row))
    return [found[key] for key in keys]


def keep(ledger: Ledger, steps: Sequence[tuple[int, int, StepRecord]]) -> list[bool]:
    """Keeps those whose claim stands, by key and token; for each, whether it does. See
    `Stepping.keep_step`."""
    held = set(ledger.run(TOKENS, (encode([key for key, _, _ in steps]),)))
    rows = [
        (key, *msgspec.structs.astuple(step)) for key, token, step in steps if (key, token) in held
    ]
    if rows:
        ledger.run(KEEP_ALL, (encode(rows),))
    return [(key, token) in held for key, token, _ in steps]


def take(ledger: Ledger, key: int, token: int, step: StepRecord, now: int) -> StepRecord | None:
    """See `Stepping.take_signal`."""
    _check(ledger, key, token)
    for one in steps_of(ledger.run, key):
        if one.number == step.number and one.ended_at is not None:
            return one  # By an earlier call, whose answer was lost.
    found = ledger.run(FIRST, (key, step.name)).fetchone()
    if found is None and (step.until is None or step.until > now):
        return None
    _, id_, value = found or (0, None, None)
    over = StepRecord(step.number, step.kind, step.name, step.begun_at, step.until, now, value, id_)
    _keep(ledger, key, over)
    if found is not None:
        ledger.run("DELETE FROM signal WHERE job = ? AND number = ?", (key, found[0]))
    return over


def send(ledger: Ledger, job_id: str, signal: SignalRecord, now: int) -> None:
    """See `Stepping.send_signal`."""
    key, state = _find(ledger, job_id)
    if ledger.run(KNOWN, (key, signal.id)).fetchone():
        return
    if State.COMPLETED <= state <= State.CANCELLED:
        raise ended(job_id)
    [(waiting,)] = ledger.run("SELECT count(*) FROM signal WHERE job = ?", (key,))
    if waiting >= MAX_SIGNALS:
        raise too_many(job_id)
    ledger.run(
        "INSERT INTO signal (job, id, name, value, at) VALUES (?, ?, ?, ?, ?)",
        (key, signal.id, signal.name, signal.value, signal.at),
    )
    ledger.run(WAKE, (key, signal.name, now))
    if ledger.connection.changes():
        ledger.wakes.add(Wake.JOBS)


def put_aside(ledger: Ledger, transitions: Iterable[Transition], now: int) -> None:
    """Jobs whose outcome was written just now wait for a step; where that is a signal which
    is there already, they do not."""
    for t in transitions:
        if t.step is None or not _is_written(ledger, t):
            continue
        _keep(ledger, t.key, t.step)
        if t.step.kind == StepKind.SIGNAL:
            ledger.run(PUT_ASIDE, (t.key, t.token, t.step.name, now))


def forget(ledger: Ledger, key: int, number: int) -> None:
    """The steps of a job from this number on; nobody runs it."""
    ledger.run("DELETE FROM step WHERE job = ? AND number >= ?", (key, number))


def _find(ledger: Ledger, job_id: str) -> tuple[int, int]:
    row = ledger.run("SELECT key, state FROM job WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise JobNotFoundError(f"no job has the id {job_id!r}")
    away.check(ledger, row[0], job_id)
    return row[0], row[1]


def _check(ledger: Ledger, key: int, token: int) -> None:
    if not ledger.run(STANDS, (key, token)).fetchone():
        raise lost()


def _is_written(ledger: Ledger, t: Transition) -> bool:
    rows: Sequence[Any] | None = ledger.run(
        "SELECT 1 FROM job WHERE key = ? AND token = ? AND state = 0", (t.key, t.token)
    ).fetchone()
    return rows is not None


def _keep(ledger: Ledger, key: int, step: StepRecord) -> None:
    ledger.run(
        KEEP,
        (
            key, step.number, step.kind, step.name, step.begun_at, step.until, step.ended_at,
            step.result, step.signal,
        ),
    )  # fmt: skip
