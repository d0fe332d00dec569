"""How many jobs there are, from numbers that are kept: no look goes through all jobs.

Triggers keep the numbers (`0010_counts.sql`). Here they are read, kept few (`fold`), compared with
the jobs (`miscounted`) and made anew (`recount`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import apsw
import msgspec

from backroom.job import JobId, JobStatus, State, status_of, to_datetime
from backroom.stats import FailureGroup, JobStats, ParkedStats, QueueStats, WorkerStats, first_line
from backroom.storage.sqlite.ledger import VERSION, Ledger

__all__ = ["failures", "fold", "miscounted", "recount", "stats"]

Run = Callable[..., Any]
"""`Connection.execute`."""

SPAN: Final = 23
"""Jobs that wait are counted by spans of so many bits of microseconds: 8.4 s."""
PASSED: Final = 36
"""Spans that are kept apart after they have passed, 5 minutes: a clock that is set back by less
does not blur what is due."""
FOLDED: Final = 10_000
"""Rows that one call of `fold` folds at most."""
FEW: Final = 10_000
"""Jobs of the present span that are looked at from behind, before they are from the front."""

# Of the present span, those are counted that are due, or those that are not, and taken from all:
# one of both is few, but in a stretch of 8 s in which many jobs lie on both sides.
WAITING: Final = f"""
    WITH queues AS MATERIALIZED (
        SELECT queue AS name, jobs FROM tally WHERE state = 0 AND jobs <> 0
    ), passed AS MATERIALIZED (
        SELECT queue AS name, sum(jobs) AS jobs FROM tally_due
        WHERE span < ?1 >> {SPAN} GROUP BY queue
    ), here AS MATERIALIZED (
        SELECT queues.name, queues.jobs, ifnull(passed.jobs, 0) AS passed, ifnull((
                SELECT jobs FROM tally_due AS d
                WHERE d.span = ?1 >> {SPAN} AND d.queue = queues.name), 0) AS here
        FROM queues LEFT JOIN passed USING (name)
    ), behind AS MATERIALIZED (
        SELECT *, CASE WHEN here = 0 THEN 0 ELSE (SELECT count(*) FROM (
                SELECT 1 FROM job INDEXED BY job_ready WHERE state = 0 AND queue = here.name
                AND priority IN (0, 1, 2, 3) AND run_at > ?1
                AND run_at < ((?1 >> {SPAN}) + 1) << {SPAN} LIMIT {FEW + 1}
            )) END AS later
        FROM here
    )
    SELECT name, jobs, passed + CASE
            WHEN here = 0 THEN 0
            WHEN later <= {FEW} THEN here - later
            ELSE (SELECT count(*) FROM job INDEXED BY job_ready WHERE state = 0
                  AND queue = behind.name AND priority IN (0, 1, 2, 3)
                  AND run_at >= (?1 >> {SPAN}) << {SPAN} AND run_at <= ?1)
            END,
        (SELECT min(first) FROM (
            SELECT (SELECT run_at FROM job INDEXED BY job_ready WHERE state = 0
                    AND queue = behind.name AND priority = p.value AND run_at <= ?1
                    ORDER BY run_at LIMIT 1) AS first
            FROM json_each('[0, 1, 2, 3]') AS p))
    FROM behind
"""
TALLY: Final = "SELECT queue, state, jobs FROM tally WHERE state > 1 AND jobs <> 0"
ACTIVE: Final = (
    "SELECT queue, count(*) FROM job INDEXED BY job_active WHERE state = 1 GROUP BY queue"
)
PARKED: Final = """
    SELECT type, version, sum(jobs) FROM tally_parked WHERE jobs <> 0
    GROUP BY type, version ORDER BY type, version
"""
WORKERS: Final = """
    SELECT name, started_at, (SELECT count(*) FROM job WHERE state = 1 AND worker = worker.id)
    FROM worker ORDER BY id
"""
FAILURES: Final = """
    WITH groups AS MATERIALIZED (
        SELECT type, kind, jobs, (
            SELECT key FROM job INDEXED BY job_failed WHERE job.state = 3
            AND job.type = tally_failed.type AND job.error_kind = tally_failed.kind
            ORDER BY job.finished_at DESC LIMIT 1) AS newest
        FROM tally_failed WHERE jobs > 0 ORDER BY jobs DESC, type, kind LIMIT ?1
    )
    SELECT groups.type, kind, jobs, finished_at, id, ifnull((
        SELECT message FROM job_error WHERE job_error.job = job.key
        ORDER BY job_error.rowid DESC LIMIT 1), ifnull(reason, ''))
    FROM groups JOIN job ON job.key = newest ORDER BY jobs DESC, groups.type, kind
"""
PAST: Final = f"""
    DELETE FROM tally_due WHERE (span, queue) IN (
        SELECT span, queue FROM tally_due WHERE span <> 0 AND span < ?1
        ORDER BY span LIMIT {FOLDED})
    RETURNING queue, jobs
"""
FOLD: Final = """
    INSERT INTO tally_due VALUES (0, ?1, ?2) ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs
"""
FOLDED_TO: Final = """
    INSERT INTO meta VALUES ('folded_to', ?1)
    ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)
"""

# What the numbers should be. Of what has passed, the sum alone can be told.
_SHOULD: Final = {
    "tally": "SELECT queue, state, count(*) AS jobs FROM job WHERE state <> 1 GROUP BY 1, 2",
    "tally_due": "SELECT run_at >> 23 AS span, queue, count(*) AS jobs FROM job"
    " WHERE state = 0 GROUP BY 1, 2",
    "tally_parked": f"SELECT queue, type, {VERSION} AS version, count(*) AS jobs FROM job"
    " WHERE state = 6 GROUP BY 1, 2, 3",
    "tally_failed": "SELECT type, error_kind AS kind, count(*) AS jobs FROM job"
    " WHERE state = 3 GROUP BY 1, 2",
}
_ARE: Final = {
    "tally": "queue, state, jobs",
    "tally_due": "span, queue, jobs",
    "tally_parked": "queue, type, version, jobs",
    "tally_failed": "type, kind, jobs",
}


class _Queue(msgspec.Struct):
    """Counts of one queue, while they are gathered."""

    paused: bool = False
    scheduled: int = 0
    pending: int = 0
    blocked: int = 0
    active: int = 0
    oldest: int | None = None


def stats(connection: apsw.Connection, now: int) -> JobStats:
    """Counts, queues and workers, all of one moment."""
    with connection:
        return _stats(connection.execute, now)
    raise AssertionError("a transaction passes on what was raised in it")


def _stats(run: Run, now: int) -> JobStats:
    queues = {
        name: _Queue(bool(paused))
        for name, paused in run("SELECT name, paused FROM queue ORDER BY name")
    }
    by_status = dict.fromkeys((str(status) for status in JobStatus), 0)
    for name, jobs, due, oldest in run(WAITING, (now,)):
        queue = queues.setdefault(name, _Queue())
        queue.scheduled, queue.pending, queue.oldest = jobs - due, due, oldest
        by_status["scheduled"] += jobs - due
        by_status["pending"] += due
    for name, state, jobs in run(TALLY):
        if state == State.PARKED:
            queues.setdefault(name, _Queue()).pending += jobs
        elif state == State.BLOCKED:
            queues.setdefault(name, _Queue()).blocked += jobs
        by_status[str(status_of(state, 0, 0))] += jobs
    for name, jobs in run(ACTIVE):
        queues.setdefault(name, _Queue()).active += jobs
        by_status["active"] += jobs
    parked = tuple(ParkedStats(*row) for row in run(PARKED))
    unknown: dict[str, int] = {}
    for kind in parked:
        unknown[kind.type] = unknown.get(kind.type, 0) + kind.jobs
    return JobStats(
        by_status,
        tuple(
            QueueStats(
                name, queue.paused, queue.scheduled, queue.pending, queue.active,
                None if queue.oldest is None else to_datetime(queue.oldest), queue.blocked,
            )
            for name, queue in queues.items()
        ),
        tuple(
            WorkerStats(name, to_datetime(started_at), active)
            for name, started_at, active in run(WORKERS)
        ),
        unknown,
        parked,
    )  # fmt: skip


def failures(connection: apsw.Connection, limit: int) -> list[FailureGroup]:
    """The failed jobs that are there, by their types and the kinds of their last errors."""
    return [
        FailureGroup(type_, kind, jobs, to_datetime(at), first_line(message), JobId(id_))
        for type_, kind, jobs, at, id_, message in connection.execute(FAILURES, (limit,))
    ]


def fold(ledger: Ledger, now: int) -> None:
    """Makes one number for each queue of those of spans that have passed."""
    passed: dict[str, int] = {}
    before = (now >> SPAN) - PASSED
    for queue, jobs in ledger.run(PAST, (before,)):
        passed[queue] = passed.get(queue, 0) + jobs
    if passed:
        ledger.run(FOLDED_TO, (before,))
    for queue, jobs in passed.items():
        if jobs:
            ledger.run(FOLD, (queue, jobs))


def miscounted(connection: apsw.Connection) -> list[str]:
    """Which numbers are not what they should be, for people. Goes through all jobs."""
    wrong: list[str] = []
    with connection:
        row = connection.execute("SELECT value FROM meta WHERE name = 'folded_to'").fetchone()
        passed = row[0] if row else -(2**62)
        for table, should in _SHOULD.items():
            kept = _numbers(connection.execute(f"SELECT {_ARE[table]} FROM {table}"), table, passed)
            found = _numbers(connection.execute(should), table, passed)
            wrong += [
                f"{table} {' '.join(map(str, place))}: {kept.get(place, 0)} counted,"
                f" {found.get(place, 0)} there"
                for place in sorted(kept.keys() | found.keys(), key=str)
                if kept.get(place, 0) != found.get(place, 0)
            ]
    return wrong


def _numbers(rows: Any, table: str, passed: int) -> dict[tuple[Any, ...], int]:
    numbers: dict[tuple[Any, ...], int] = {}
    for *place, jobs in rows:
        if table == "tally_due" and place[0] < passed:
            place[0] = 0
        numbers[tuple(place)] = numbers.get(tuple(place), 0) + jobs
    return numbers


def recount(ledger: Ledger) -> None:
    """Makes all numbers anew. Goes through all jobs, and nobody writes meanwhile."""
    for table, should in _SHOULD.items():
        ledger.run(f"DELETE FROM {table}")
        ledger.run(f"INSERT INTO {table} ({_ARE[table]}) {should}")
