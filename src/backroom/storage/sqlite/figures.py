"""What happened over time, and what workers tell of themselves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from backroom.crew import WorkerInfo, WorkerReport
from backroom.figure import OTHER, Figures
from backroom.history import COARSE, FINE, depths_of
from backroom.job import SECOND, to_datetime
from backroom.ports import Wake
from backroom.stats import JobStats
from backroom.storage.sqlite.ledger import Ledger, encode
from backroom.storage.told import (
    ALL,
    EVER,
    KEPT,
    MOST_SERIES,
    UNUSED,
    due_samples,
    earliest,
    read_figures,
    read_sample,
    rows_of,
    together,
    unchanged,
    write_sample,
)
from backroom.watching import Past

__all__ = [
    "count_cancelled",
    "crew",
    "drain",
    "forget",
    "keep_sample",
    "needless",
    "past",
    "tell",
    "totals",
]

_COUNTS: Final = (
    "scheduled", "completed", "failed", "retried", "cancelled", "put_off", "rescued", "waited",
    "ran",
)  # fmt: skip
_MAPS: Final = ("waits", "runs", "errors")
_COLUMNS: Final = ", ".join((*_COUNTS, *_MAPS))
_MERGED: Final = """{0} = (SELECT json_group_object(name, number) FROM (
        SELECT key AS name, sum(value) AS number FROM (
            SELECT key, value FROM json_each(figure.{0})
            UNION ALL SELECT key, value FROM json_each(excluded.{0}))
        GROUP BY key))"""
ADD: Final = f"""
    INSERT INTO figure (step, at, queue, type, {_COLUMNS})
    SELECT {", ".join(f"value ->> {number}" for number in range(4 + len(_COUNTS) + len(_MAPS)))}
    FROM json_each(?1) WHERE true
    ON CONFLICT (step, at, queue, type) DO UPDATE SET
    {", ".join(f"{name} = {name} + excluded.{name}" for name in _COUNTS)},
    {", ".join(_MERGED.format(name) for name in _MAPS)}
"""
TELL: Final = """
    INSERT INTO worker_report (worker, number, report) VALUES (?1, ?2, ?3)
    ON CONFLICT (worker) DO UPDATE SET number = max(number, excluded.number),
        report = coalesce(excluded.report, report)
"""
PAST: Final = f"""
    SELECT queue, type, at, {_COLUMNS} FROM figure
    WHERE step = ?1 AND at >= ?2 AND at < ?3
"""
ERRORS: Final = """
    SELECT e.key, f.type, sum(e.value) FROM figure AS f, json_each(f.errors) AS e
    WHERE f.step = ?1 AND f.at >= ?2 AND f.at < ?3 AND f.errors <> '{}'
    AND (?4 IS NULL OR f.queue = ?4) AND (?5 IS NULL OR f.type = ?5)
    GROUP BY e.key, f.type
"""
KINDS: Final = """
    SELECT queue, type, count(*) FROM job WHERE key IN (SELECT value FROM json_each(?1))
    GROUP BY queue, type
"""
UNUSED_SERIES: Final = f"""
    DELETE FROM figure WHERE step = {EVER} AND queue <> ?1
    AND (queue, type) NOT IN (SELECT queue, type FROM figure WHERE step = ?2 AND at >= ?3)
    RETURNING queue, type, at, {_COLUMNS}
"""


def tell(
    ledger: Ledger,
    worker: int | None,
    number: int,
    report: WorkerReport | None,
    figures: Sequence[Figures],
) -> None:
    """See `Watching.tell`."""
    if worker is not None:
        taken = ledger.run(
            "SELECT number FROM worker_report WHERE worker = ?", (worker,)
        ).fetchone()
        ledger.run(TELL, (worker, number, None if report is None else encode(report)))
        if taken is not None and taken[0] >= number:
            return
    if figures:
        _add(ledger, figures)


def count_cancelled(ledger: Ledger, keys: Sequence[int], now: int) -> None:
    """Counts jobs that were cancelled, or have expired, while they waited: no worker knows."""
    if keys:
        kinds = list(ledger.run(KINDS, (encode(list(keys)),)))
        _add(ledger, [Figures(queue, type_, now, cancelled=count) for queue, type_, count in kinds])


def _add(ledger: Ledger, figures: Sequence[Figures]) -> None:
    known = set(ledger.run("SELECT queue, type FROM figure WHERE step = ?", (EVER,)))
    ledger.run(ADD, (encode(rows_of(figures, known)),))


def needless(run: Any, now: int, stats: JobStats | None = None) -> bool:
    """Whether no sample is wanted now; with the counts of now, also whether it would say
    nothing new."""
    last = _last_samples(run)
    if not due_samples(now, last):
        return True
    if stats is None or FINE not in last:
        return False
    [(seen_at, queues)] = run(
        "SELECT seen_at, queues FROM depth WHERE step = ? AND at = ?", (FINE, last[FINE])
    )
    return unchanged(read_sample(0, queues)[1], seen_at, depths_of(stats, now), now)


def _last_samples(run: Any) -> dict[int, int]:
    """By step: of which stretch the last one is."""
    rows = ((step, run("SELECT max(at) FROM depth WHERE step = ?", (step,))) for step in KEPT)
    found = {step: cursor.fetchone()[0] for step, cursor in rows}
    return {step: at for step, at in found.items() if at is not None}


def keep_sample(ledger: Ledger, stats: JobStats, now: int) -> bool:
    """Keeps it for each stretch that has none; whether there was one."""
    due = due_samples(now, _last_samples(ledger.run))
    queues = write_sample(depths_of(stats, now))
    for step, at in due:
        ledger.run("INSERT OR IGNORE INTO depth VALUES (?, ?, ?, ?)", (step, at, now, queues))
    return bool(due)


def past(run: Any, step: int, since: int, until: int, queue: str | None, type_: str | None) -> Past:
    """See `Watching.past`."""
    stretch = (step, since, until)
    if queue is None and type_ is not None:
        rows = run(f"{PAST} AND type = ?4", (*stretch, type_))
    else:
        rows = run(f"{PAST} AND queue = ?4 AND type = ?5", (*stretch, queue or ALL, type_ or ALL))
    figures = [read_figures(row) for row in rows]
    errors = list(run(ERRORS, (*stretch, queue, type_)))
    [(first,)] = run("SELECT max(at) FROM depth WHERE step = ? AND at < ?", (step, since))
    samples = run(
        "SELECT seen_at, queues FROM depth WHERE step = ? AND at >= ? AND at < ? ORDER BY at",
        (step, since if first is None else first, until),
    )
    return Past(figures, errors, [read_sample(*row) for row in samples])


def totals(run: Any) -> list[Figures]:
    """See `Watching.totals`."""
    rows = run(
        f"SELECT queue, type, at, {_COLUMNS} FROM figure WHERE step = ? ORDER BY queue, type",
        (EVER,),
    )
    return [read_figures(row) for row in rows]


def crew(run: Any, dead: Collection[int]) -> list[WorkerInfo]:
    """See `Watching.crew`."""
    rows = run(
        "SELECT w.id, w.name, w.started_at, w.draining, r.report, (SELECT count(*) FROM job AS j"
        " WHERE j.state = 1 AND j.worker = w.id) FROM worker AS w LEFT JOIN worker_report AS r"
        " ON r.worker = w.id ORDER BY w.id"
    )
    return [
        WorkerInfo(
            id_, name, to_datetime(started_at), claimed, bool(draining), id_ not in dead,
            None if report is None else msgspec.json.decode(report, type=WorkerReport),
        )
        for id_, name, started_at, draining, report, claimed in rows
    ]  # fmt: skip


def drain(ledger: Ledger, worker: int, on: bool) -> bool:
    """See `Watching.drain`."""
    ledger.run("UPDATE worker SET draining = ?2 WHERE id = ?1", (worker, on))
    if not ledger.connection.changes():
        return False
    ledger.wakes.add(Wake.CONTROL)
    return True


def forget(ledger: Ledger, now: int, limit: int) -> bool:
    """Removes up to `limit` rows of each kind whose time has passed, what workers told that are
    no more, and names that are unused where there are many; whether there may be more."""
    more = False
    for step in KEPT:
        gone = ledger.run(
            "DELETE FROM figure WHERE (step, at, queue, type) IN (SELECT step, at, queue, type"
            " FROM figure WHERE step = ?1 AND at < ?2 ORDER BY at LIMIT ?3) RETURNING 1",
            (step, earliest(now, step), limit),
        )
        more = len(list(gone)) >= limit or more
        ledger.run("DELETE FROM depth WHERE step = ?1 AND at < ?2", (step, earliest(now, step)))
    ledger.run("DELETE FROM worker_report WHERE worker NOT IN (SELECT id FROM worker)")
    [(series,)] = ledger.run("SELECT count(*) FROM figure WHERE step = ?", (EVER,))
    if series >= MOST_SERIES:
        unused = (OTHER, COARSE, now - UNUSED * SECOND)
        rows = list(ledger.run(UNUSED_SERIES, unused))
        if rows:
            ledger.run(ADD, (encode(together(map(read_figures, rows))),))
    return more
