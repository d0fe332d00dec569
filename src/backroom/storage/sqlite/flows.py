"""What becomes of flows as their jobs end: who waited is let go, or cancelled, in the same change.

All of it is by sets of jobs, whatever their number: a statement or two for all that ended, one for
all that waited for these. `member.counted` and `edge.done` tell what has been taken into account,
so that whoever says the same twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec

from backroom.flow import Role, made_now
from backroom.job import JobRecord, State
from backroom.limit import turn_of
from backroom.ports import Wake
from backroom.storage.reasons import doomed, not_all
from backroom.storage.sqlite import turns
from backroom.storage.sqlite.bulk import Bulk
from backroom.storage.sqlite.ledger import Ledger, encode

__all__ = ["ADD_EDGES", "ADD_MEMBERS", "close", "ended", "put"]

_THESE = "(SELECT value FROM json_each(?1))"

PUT: Final = Bulk(
    "INSERT INTO job (key, state, token, id, type, queue, priority, run_at, created_at, data,"
    " options, unique_key, expires_at) SELECT rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL",
    width=13,
)
ADD_MEMBERS: Final = Bulk(
    "INSERT INTO member (job, flow, role, anyway, waits, undo)"
    " SELECT rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL",
    width=6,
)
ADD_EDGES: Final = Bulk(
    "INSERT INTO edge (parent, child, done)"
    " SELECT rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL",
    width=3,
)

OVER: Final = f"""
    SELECT m.job, m.flow, m.role, job.state FROM member AS m JOIN job ON job.key = m.job
    WHERE m.job IN {_THESE} AND m.counted = 0 AND job.state BETWEEN 2 AND 4
"""
COUNTED: Final = f"""
    UPDATE member SET counted = (SELECT state FROM job WHERE key = member.job) WHERE job IN {_THESE}
"""
# By child: its flow, how many of these it has waited for, and for which of them it is cancelled.
CHILDREN: Final = f"""
    SELECT e.child, m.flow, count(*), min(CASE WHEN p.state <> 2 AND NOT m.anyway THEN p.key END)
    FROM edge AS e JOIN job AS p ON p.key = e.parent JOIN member AS m ON m.job = e.child
    WHERE e.parent IN {_THESE} AND NOT e.done GROUP BY e.child
"""
CUT: Final = f"UPDATE edge SET done = 1 WHERE parent IN {_THESE}"
FEWER: Final = Bulk(
    "UPDATE member SET waits = waits - column2 FROM {rows} AS t WHERE job = column1", width=2
)
# Only through those that wait for others: what has run, or waits for something else, goes on. CROSS
# JOIN: from those that are given to what they are, never from all that is blocked to each of these.
DOOMED: Final = """
    WITH RECURSIVE doomed (job, cause) AS (
        SELECT m.job, r.value->>1 FROM json_each(?1) AS r
        CROSS JOIN member AS m ON m.job = r.value->>0 CROSS JOIN job ON job.key = m.job
        WHERE job.state = 5 AND m.waits > 0
        UNION
        SELECT e.child, doomed.cause FROM doomed CROSS JOIN edge AS e ON e.parent = doomed.job
        CROSS JOIN member AS m ON m.job = e.child CROSS JOIN job ON job.key = e.child
        WHERE NOT m.anyway AND job.state = 5 AND m.waits > 0)
    SELECT cause, json_group_array(job) FROM doomed GROUP BY cause
"""
DOOM: Final = f"""
    UPDATE job SET state = 4, finished_at = ?2, reason = ?3 WHERE key IN {_THESE} AND state = 5
"""
MARK_DOOMED: Final = f"UPDATE member SET doomed = 1 WHERE job IN {_THESE}"
FREE: Final = f"""
    UPDATE job SET state = 0, run_at = max(run_at, ?2)
    WHERE state = 5 AND key IN (SELECT job FROM member WHERE job IN {_THESE} AND waits <= 0)
"""
COUNT: Final = Bulk(
    "UPDATE flow SET open_jobs = open_jobs - column2, open_others = open_others - column3,"
    " completed = completed + column4, failed = failed + column5, cancelled = cancelled + column6"
    " FROM {rows} AS t WHERE key = column1",
    width=6,
)
# Those whose flow has no job left, and whether they are to run. +: of these flows, and not of all
# that is blocked.
CALLBACKS: Final = f"""
    SELECT m.job, m.anyway OR f.failed + f.cancelled = 0, f.id
    FROM flow AS f JOIN member AS m ON m.flow = f.key AND m.role = 1 JOIN job ON job.key = m.job
    WHERE f.key IN {_THESE} AND f.open_jobs = 0 AND +job.state = 5 AND m.waits > 0
"""
NO_MORE_WAIT: Final = f"UPDATE member SET waits = 0 WHERE job IN {_THESE}"
TO_UNDO: Final = f"""
    SELECT key FROM flow WHERE key IN {_THESE} AND open_jobs = 0 AND on_failure = 2
    AND failed + cancelled > 0 AND NOT undone
"""
# What had completed, the last first.
UNDO: Final = """
    SELECT m.job, m.undo FROM member AS m JOIN job ON job.key = m.job
    WHERE m.flow = ? AND m.undo IS NOT NULL AND m.counted = 2
    ORDER BY job.finished_at DESC, job.key DESC
"""
FINISHED: Final = f"""
    UPDATE flow SET finished_at = ?2
    WHERE key IN {_THESE} AND open_jobs = 0 AND open_others = 0 AND finished_at IS NULL
"""


def ended(ledger: Ledger, keys: Sequence[int], now: int) -> None:
    """These jobs have ended: of those that belong to flows, all is done that follows."""
    while keys:
        keys = _take_into_account(ledger, keys, now)


def _take_into_account(ledger: Ledger, keys: Sequence[int], now: int) -> list[int]:
    """Returns the jobs that have ended by this, since they waited in vain."""
    over = list(ledger.run(OVER, (encode(list(keys)),)))
    if not over:
        return []
    text = encode([job for job, *_ in over])
    ledger.run(COUNTED, (text,))
    children = list(ledger.run(CHILDREN, (text,)))
    gone: list[int] = []
    if children:
        ledger.run(CUT, (text,))
        gone += _doom_behind(ledger, children, now)
        FEWER.run(ledger, [(child, count) for child, _, count, _ in children])
        _free(ledger, [child for child, *_ in children], now)
    COUNT.run(ledger, _sums(over))
    return gone + close(ledger, {flow for _, flow, *_ in over}, now)


def _sums(over: Iterable[tuple[int, int, int, int]]) -> list[list[int]]:
    """By flow: jobs less, others less, and how these jobs have ended."""
    sums: dict[int, list[int]] = {}
    for _, flow, role, state in over:
        row = sums.setdefault(flow, [flow, 0, 0, 0, 0, 0])
        if role == Role.JOB:
            row[1] += 1
            row[state - State.COMPLETED + 3] += 1
        else:
            row[2] += 1
    return list(sums.values())


def _doom_behind(ledger: Ledger, children: Sequence[Any], now: int) -> list[int]:
    """Cancels those that have waited for what did not complete, and all that wait for these."""
    causes: dict[int, int] = {}
    roots = [
        (child, causes.setdefault(flow, cause))  # One for each flow: each job is met once.
        for child, flow, _, cause in children
        if cause is not None
    ]
    if not roots:
        return []
    gone: list[int] = []
    for cause, text in list(ledger.run(DOOMED, (encode(roots),))):
        [(id_, type_, state)] = ledger.run(
            "SELECT id, type, state FROM job WHERE key = ?", (cause,)
        )
        _doom(ledger, text, doomed(id_, type_, state), now)
        gone += msgspec.json.decode(text)
    return gone


def _doom(ledger: Ledger, text: str, reason: str, now: int) -> None:
    ledger.run(DOOM, (text, now, reason))
    ledger.run(MARK_DOOMED, (text,))
    ledger.wakes.add(Wake.FINISHED)


def _free(ledger: Ledger, jobs: Sequence[int], now: int) -> None:
    """Those that wait for nothing any more may be claimed."""
    ledger.run(FREE, (encode(jobs), now))
    if ledger.connection.changes():
        turns.take_again(ledger, jobs, now)
        ledger.wakes.add(Wake.JOBS)


def close(ledger: Ledger, flows: Iterable[int], now: int) -> list[int]:
    """What follows where a flow has no job left; returns the callbacks that are not to run."""
    text = encode(list(flows))
    go: list[tuple[int, str]] = []
    stay: list[tuple[int, str]] = []
    for job, wanted, flow in list(ledger.run(CALLBACKS, (text,))):
        (go if wanted else stay).append((job, flow))
    if go:
        ledger.run(NO_MORE_WAIT, (encode([job for job, _ in go]),))
        _free(ledger, [job for job, _ in go], now)
    for job, flow in stay:
        _doom(ledger, encode([job]), not_all(flow), now)
    for (flow,) in list(ledger.run(TO_UNDO, (text,))):
        _undo(ledger, flow, now)
    ledger.run(FINISHED, (text, now))
    return [job for job, _ in stay]


def _undo(ledger: Ledger, flow: int, now: int) -> None:
    """Makes the undo jobs of what had completed: one behind the other, that of the last first."""
    rows = list(ledger.run(UNDO, (flow,)))
    if not rows:
        return
    records = [made_now(_decoder.decode(text), now) for _, text in rows]
    keys = put(ledger, [(record, index > 0) for index, record in enumerate(records)], now)
    ADD_MEMBERS.run(
        ledger,
        [(key, flow, int(Role.UNDO), 1, int(index > 0), None) for index, key in enumerate(keys)],
    )
    behind = [(before, key, 0) for before, key in pairwise(keys)]
    of = [(job, key, 1) for (job, _), key in zip(rows, keys, strict=True)]
    ADD_EDGES.run(ledger, behind + of)
    ledger.run(
        "UPDATE flow SET undone = 1, open_others = open_others + ?2 WHERE key = ?1",
        (flow, len(keys)),
    )


def put(ledger: Ledger, jobs: Sequence[tuple[JobRecord, bool]], now: int) -> list[int]:
    """Keeps new jobs, of which some are blocked, and returns their keys."""
    jobs = [(job if blocked else turns.in_turn(ledger, job, now), blocked) for job, blocked in jobs]
    for queue in {job.queue for job, _ in jobs} - ledger.queues:
        ledger.run("INSERT OR IGNORE INTO queue (name) VALUES (?)", (queue,))
        ledger.queues.add(queue)
    first = ledger.fresh_keys(len(jobs))
    PUT.run(
        ledger,
        [
            (
                key, int(State.BLOCKED if blocked else State.WAITING), 0, job.id, job.type,
                job.queue, job.priority, job.run_at, job.created_at, job.data, job.options,
                job.unique_key, job.expires_at,
            )
            for key, (job, blocked) in enumerate(jobs, first)
        ],
    )  # fmt: skip
    for key, (job, blocked) in enumerate(jobs, first):
        if not blocked and job.run_at > now and turn_of(job.options) is not None:
            turns.take_later(ledger, key, job.run_at)
    if not all(blocked for _, blocked in jobs):
        ledger.wakes.add(Wake.JOBS)
    return list(range(first, first + len(jobs)))


_decoder: Final = msgspec.json.Decoder(JobRecord)
