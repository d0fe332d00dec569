"""Jobs that leave an embedded store for another one, or come from there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from msgspec.structs import astuple

from backroom.baggage import Baggage, Parcel, PastError, Refusal, Unpacked, compare, encode, fitting
from backroom.job import State
from backroom.ports import Wake
from backroom.step import SignalRecord, StepRecord
from backroom.storage.sqlite import away, limits
from backroom.storage.sqlite.bulk import Bulk
from backroom.storage.sqlite.keys import DROP, HOLDS, KEEP, free
from backroom.storage.sqlite.ledger import Ledger
from backroom.storage.sqlite.retention import forget
from backroom.storage.sqlite.steps import COLUMNS as STEP_COLUMNS

__all__ = [
    "copies",
    "holders",
    "keyed",
    "number",
    "oldest_parcel",
    "pack",
    "read",
    "unload",
    "unpack",
    "what_is_next",
]  # fmt: skip

Key: TypeAlias = tuple[str, str]
Run: TypeAlias = Callable[..., Any]
"""`Connection.execute`."""

_COLUMNS = (
    "id, type, queue, priority, run_at, created_at, data, options, unique_key, expires_at, {},"
    " attempt, crashes, budget, started_at, finished_at, result, reason, progress, progress_message"
)
# It finds out again that its limit has no room, unless it waits for other jobs.
_WAITS = (
    "iif(state = 5 AND NOT EXISTS"
    " (SELECT 1 FROM member WHERE member.job = job.key AND waits > 0), 0, state)"
)
# What ended and still holds a key is not history yet; what belongs to a flow goes with it.
_NOBODYS = (
    "(state IN (0, 6) OR state = 5 AND key IN (SELECT job FROM blocked)"
    " OR state BETWEEN 2 AND 4 AND"
    " (?{} OR EXISTS (SELECT 1 FROM hold WHERE hold.job = job.id AND until > 0)))"
    " AND NOT EXISTS (SELECT 1 FROM member WHERE member.job = job.key)"
)
SIZE: Final = """
    octet_length(data) + ifnull(octet_length(options), 0)
        + ifnull(octet_length(result), 0)
        + (SELECT total(octet_length(message) + ifnull(octet_length(traceback), 0))
           FROM job_error WHERE job_error.job = job.key)
        + (SELECT total(octet_length(message)) FROM job_log WHERE job_log.job = job.key)
        + (SELECT total(octet_length(result)) FROM step WHERE step.job = job.key)
        + (SELECT total(octet_length(value)) FROM signal WHERE signal.job = job.key)
"""
NEXT: Final = f"""
    SELECT key, {SIZE} FROM job WHERE key > ?1 AND {_NOBODYS.format(3)} ORDER BY key LIMIT ?2
"""
READ: Final = f"""
    SELECT key, {_COLUMNS.format(_WAITS)},
        (SELECT hold.unique_key FROM hold WHERE hold.job = job.id),
        (SELECT until FROM hold WHERE hold.job = job.id)
    FROM job WHERE key IN (SELECT value FROM json_each(?1)) ORDER BY key
"""
STILL: Final = f"""
    SELECT key FROM job WHERE key IN (SELECT value FROM json_each(?1)) AND {_NOBODYS.format(2)}
"""
KEYED: Final = f"""
    SELECT * FROM (
        SELECT key, type, CASE WHEN unique_key IS NOT NULL AND state NOT BETWEEN 2 AND 4
            THEN unique_key
            ELSE (SELECT unique_key FROM hold WHERE hold.job = job.id AND {HOLDS}) END AS held
        FROM job WHERE key > :after)
    WHERE held IS NOT NULL ORDER BY key LIMIT :limit
"""
HOLDERS: Final = f"""
    SELECT hold.type, hold.unique_key, hold.job FROM json_each(:keys) AS k CROSS JOIN hold
    WHERE hold.type = k.value->>0 AND hold.unique_key = k.value->>1 AND {HOLDS}
    UNION ALL
    SELECT job.type, job.unique_key, job.id FROM json_each(:keys) AS k CROSS JOIN job
    WHERE job.type = k.value->>0 AND job.unique_key = k.value->>1
    AND job.unique_key IS NOT NULL AND job.state NOT BETWEEN 2 AND 4
"""
READ_ERRORS: Final = """
    SELECT job, attempt, at, kind, message, traceback, began FROM job_error
    WHERE job IN (SELECT value FROM json_each(?)) ORDER BY rowid
"""
READ_LOG: Final = """
    SELECT job, at, attempt, level, message FROM job_log
    WHERE job IN (SELECT value FROM json_each(?)) ORDER BY rowid
"""
READ_STEPS: Final = f"""
    SELECT job, {STEP_COLUMNS} FROM step
    WHERE job IN (SELECT value FROM json_each(?)) ORDER BY job, number
"""
READ_SIGNALS: Final = """
    SELECT job, id, name, value, at FROM signal
    WHERE job IN (SELECT value FROM json_each(?)) ORDER BY number
"""
BRING: Final = Bulk(
    f"INSERT INTO job (token, key, {_COLUMNS.format('state')})"
    " SELECT 0, rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL",
    width=21,
)
ADD_ERRORS: Final = Bulk(
    "INSERT INTO job_error (job, attempt, at, kind, message, traceback, began)"
    " SELECT rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL",
    width=7,
)
ADD_LOG: Final = Bulk(
    "INSERT INTO job_log (job, at, attempt, level, message)"
    " SELECT rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL",
    width=5,
)
ADD_STEPS: Final = Bulk(
    f"INSERT INTO step (job, {STEP_COLUMNS})"
    " SELECT rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL",
    width=9,
)
ADD_SIGNALS: Final = Bulk(
    "INSERT INTO signal (job, id, name, value, at)"
    " SELECT rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL",
    width=5,
)
# Made by the first who packs something, so that a store of an older Backroom needs no change.
MAKE_PARCELS: Final = """
    CREATE TABLE IF NOT EXISTS parcel (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        target INTEGER NOT NULL,
        label  TEXT NOT NULL,
        jobs   TEXT NOT NULL
    )
"""
HAS_PARCELS: Final = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'parcel'"


def number(ledger: Ledger) -> int:
    """Tells this store from every other one."""
    if not ledger.store():
        ledger.run(
            "INSERT OR REPLACE INTO meta VALUES ('store', ?)", (1 + secrets.randbelow(2**62),)
        )
    return ledger.store()


# -- looks ---------------------------------------------------------------------------------------


def what_is_next(run: Run, after: str | None, limit: int, history: bool) -> list[int]:
    """The keys of the next jobs that nobody holds, no more than fit into one parcel."""
    sizes = list(run(NEXT, (int(after or 0), limit, history)))
    return [key for key, _ in sizes[: fitting(sizes)]]


def copies(
    run: Run, after: str | None, limit: int, history: bool
) -> tuple[list[Baggage], str | None]:
    """See `Movable.copies`."""
    keys = what_is_next(run, after, limit, history)
    return list(read(run, keys).values()), str(keys[-1]) if keys else None


def keyed(run: Run, after: str | None, limit: int, now: int) -> tuple[list[Key], str | None]:
    """See `Movable.keyed`."""
    rows = list(run(KEYED, {"after": int(after or 0), "limit": limit, "now": now}))
    return [(type_, key) for _, type_, key in rows], str(rows[-1][0]) if rows else None


def holders(run: Run, keys: Sequence[Key], now: int) -> dict[Key, str]:
    """See `Movable.holders`."""
    rows = run(HOLDERS, {"keys": json.dumps(keys), "now": now})
    return {(type_, key): job for type_, key, job in rows}


def oldest_parcel(run: Run, after: int) -> Parcel | None:
    """See `Movable.parcel`."""
    if not run(HAS_PARCELS).fetchone():
        return None
    row = run(
        "SELECT number, target, label, jobs FROM parcel WHERE number > ? ORDER BY number LIMIT 1",
        (after,),
    ).fetchone()
    return None if row is None else Parcel.opened(*row)


def read(run: Run, keys: Sequence[int]) -> dict[int, Baggage]:
    """These jobs as they travel, by their keys."""
    text = json.dumps(list(keys))
    errors = _by_job(run(READ_ERRORS, (text,)))
    log = _by_job(run(READ_LOG, (text,)))
    steps = _by_job(run(READ_STEPS, (text,)))
    signals = _by_job(run(READ_SIGNALS, (text,)))
    members = away.members_of(run, keys)
    return {
        key: Baggage(
            *(
                *row,
                tuple(PastError(*one) for one in errors.get(key, ())),
                tuple(log.get(key, ())),
                tuple(StepRecord(*one) for one in steps.get(key, ())),
                tuple(SignalRecord(*one) for one in signals.get(key, ())),
                None if until is None else (held, until),
                members.get(key),
            )
        )
        for key, *row, held, until in run(READ, (text,))
    }


def _by_job(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for job, *row in rows:
        found.setdefault(job, []).append(tuple(row))
    return found


# -- changes -------------------------------------------------------------------------------------


def pack(
    ledger: Ledger, keys: Sequence[int], history: bool, target: int, label: str
) -> Parcel | None:
    """Takes those of these jobs that still are nobody's."""
    still = ledger.run(STILL, (json.dumps(list(keys)), history))
    jobs = read(ledger.run, [key for (key,) in still])
    if not jobs:
        return None
    free(ledger, list(jobs))
    forget(ledger, list(jobs))
    limits.leave(ledger, list(jobs))
    ledger.run(MAKE_PARCELS)
    [(number,)] = ledger.run(
        "INSERT INTO parcel (target, label, jobs) VALUES (?, ?, ?) RETURNING number",
        (target, label, encode(list(jobs.values()))),
    )
    return Parcel(number, target, label, list(jobs.values()))


def unpack(ledger: Ledger, jobs: Sequence[Baggage], now: int) -> Unpacked:
    """See `Movable.unpack`."""
    there = ledger.run(
        "SELECT id FROM job WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps([job.id for job in jobs]),),
    )
    known = {id_ for (id_,) in there}
    jobs = [job.settled(now) for job in jobs]
    names = {job.id: job.key_at(now) for job in jobs}
    held = holders(ledger.run, [name for name in names.values() if name is not None], now)
    places = away.places_of(ledger, [job for job in jobs if job.id not in known])
    # Its flow has arrived before: the job was there, and was removed.
    known |= {job.id for job in jobs if job.member and places.get(job.member.flow, 0) is None}
    kept: list[Baggage] = []
    refused: list[Refusal] = []
    for job in jobs:
        if job.id in known:
            continue
        name = names[job.id]
        holder = None if name is None else held.setdefault(name, job.id)
        if holder is not None and holder != job.id:
            refused.append(Refusal.twin(job, holder))
        else:
            kept.append(job)
    if kept:
        for job in kept:
            name = names[job.id]
            if job.held is not None:
                ledger.run(KEEP, (job.type, job.held[0], job.id, job.held[1], None))
            elif name is not None:
                ledger.run(DROP, name)  # What somebody held who does not hold it any more.
        _keep(ledger, kept, places)
    return Unpacked(kept, sorted(known), refused)


def unload(ledger: Ledger, parcel: Parcel, back: Sequence[Baggage], now: int) -> Sequence[Refusal]:
    """See `Movable.unload`."""
    if not ledger.run(HAS_PARCELS).fetchone():
        return ()
    ledger.run("DELETE FROM parcel WHERE number = ?", (parcel.number,))
    if not ledger.connection.changes():
        return ()
    for flow in parcel.flows:
        ledger.run("DELETE FROM away WHERE id = ?", (flow.id,))
    if not back:
        return ()
    returned = unpack(ledger, back, now)
    # Their keys went to others meanwhile. What was acknowledged is not forgotten all the same.
    unpack(ledger, [one.job.cancelled(now, one.why) for one in returned.refused], now)
    return returned.refused


def _keep(ledger: Ledger, jobs: Sequence[Baggage], places: dict[str, int | None]) -> None:
    for queue in {job.queue for job in jobs} - ledger.queues:
        ledger.run("INSERT OR IGNORE INTO queue (name) VALUES (?)", (queue,))
    first = ledger.fresh_keys(len(jobs))
    keys = range(first, first + len(jobs))
    BRING.run(ledger, [(key, *_row(job)) for key, job in zip(keys, jobs, strict=True)])
    mine = list(zip(keys, jobs, strict=True))
    ADD_ERRORS.run(ledger, [(key, *astuple(one)) for key, job in mine for one in job.errors])
    ADD_LOG.run(ledger, [(key, *one) for key, job in mine for one in job.log])
    ADD_STEPS.run(ledger, [(key, *astuple(one)) for key, job in mine for one in job.steps])
    ADD_SIGNALS.run(ledger, [(key, *astuple(one)) for key, job in mine for one in job.signals])
    away.join(ledger, mine, places)
    compare(jobs, read(ledger.run, keys).values())
    ledger.wakes |= {Wake.JOBS, Wake.FINISHED}
    if any(job.state == State.PARKED for job in jobs):
        ledger.parked = True


def _row(job: Baggage) -> tuple[Any, ...]:
    return (
        job.id, job.type, job.queue, job.priority, job.run_at, job.created_at, job.data,
        job.options, job.unique_key, job.expires_at, job.kept_as, job.attempt, job.crashes,
        job.budget, job.started_at, job.finished_at, job.result, job.reason, job.progress,
        job.progress_message,
    )  # fmt: skip
