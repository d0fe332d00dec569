"""Flows that people cancel, or retry: what was cancelled for a job waits for it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from backroom.flow import Role
from backroom.flowing import belongs, key_held, no_flow, not_undone, why_barred
from backroom.ports import Wake
from backroom.storage.restoring import restorable
from backroom.storage.sqlite import away, turns
from backroom.storage.sqlite.flows import COUNT
from backroom.storage.sqlite.inspect import AGAIN, CANCEL, LET_GO
from backroom.storage.sqlite.ledger import Ledger, encode
from backroom.storage.sqlite.ties import loosen

__all__ = [
    "apart",
    "cancel",
    "check_deletable",
    "check_keys",
    "check_retriable",
    "of_open_flow",
    "reopened",
    "retriable",
    "retry",
    "staying",
]

_THESE = "(SELECT value FROM json_each(?1))"

GOING_ON: Final = """
    SELECT m.job FROM member AS m JOIN job ON job.key = m.job
    WHERE m.flow = ?1 AND m.role = 0 AND job.state NOT BETWEEN 2 AND 4 AND NOT job.cancel_requested
"""
NOT_COMPLETED: Final = """
    SELECT m.job FROM member AS m JOIN job ON job.key = m.job
    WHERE m.flow = ?1 AND m.role = ?2 AND m.counted IN (3, 4)
"""
# Why some of these jobs may not run again: their flow has gone, or was undone, or they would wait
# in vain.
BARRED: Final = f"""
    SELECT m.job, f.id, f.undone AND m.role < 2
    FROM member AS m LEFT JOIN flow AS f ON f.key = m.flow
    WHERE m.job IN {_THESE} AND m.counted <> 0
    AND (f.key IS NULL OR f.undone AND m.role < 2 OR NOT m.anyway AND (
        EXISTS (SELECT 1 FROM edge AS e JOIN job AS p ON p.key = e.parent
                WHERE e.child = m.job AND p.state IN (3, 4) AND p.key NOT IN {_THESE})
        OR m.role = 1 AND f.open_jobs = 0 AND f.failed + f.cancelled > 0))
"""
OPEN: Final = f"""
    SELECT m.job, m.flow, m.role, m.counted FROM member AS m JOIN job ON job.key = m.job
    WHERE m.job IN {_THESE} AND m.counted <> 0 AND job.state NOT BETWEEN 2 AND 4
"""
BEHIND: Final = f"""
    WITH RECURSIVE behind (job) AS (
        SELECT e.child FROM edge AS e JOIN member AS m ON m.job = e.child
        WHERE e.parent IN {_THESE} AND m.doomed
        UNION
        SELECT e.child FROM behind JOIN edge AS e ON e.parent = behind.job
        JOIN member AS m ON m.job = e.child WHERE m.doomed)
    SELECT job FROM behind
"""
ABOVE: Final = f"""
    SELECT e.parent, e.child FROM edge AS e JOIN job AS p ON p.key = e.parent
    WHERE e.child IN {_THESE} AND p.state IN (3, 4)
"""
CALLBACKS: Final = f"SELECT job FROM member WHERE flow IN {_THESE} AND role = 1 AND doomed"
WAIT_AGAIN: Final = f"""
    UPDATE OR IGNORE job SET state = 5, finished_at = NULL, reason = NULL, expires_at = NULL
    WHERE key IN {_THESE} AND state = 4
    AND NOT (unique_key IS NOT NULL AND EXISTS (
        SELECT 1 FROM hold WHERE hold.type = job.type AND hold.unique_key = job.unique_key))
"""
# The first of these jobs of flows that do not run again, as their keys are held, and by whom.
LEFT: Final = f"""
    SELECT job.type, job.id, job.unique_key, ifnull(
        (SELECT o.id FROM job AS o WHERE o.type = job.type AND o.unique_key = job.unique_key
         AND o.unique_key IS NOT NULL AND o.state NOT BETWEEN 2 AND 4),
        (SELECT hold.job FROM hold
         WHERE hold.type = job.type AND hold.unique_key = job.unique_key))
    FROM job WHERE key IN {_THESE} AND unique_key IS NOT NULL AND state BETWEEN 2 AND 4
    AND EXISTS (SELECT 1 FROM member WHERE member.job = job.key)
    ORDER BY key LIMIT 1
"""
NOT_COUNTED: Final = f"UPDATE member SET counted = 0, doomed = 0 WHERE job IN {_THESE}"
BLOCKED_CHILDREN: Final = f"""
    SELECT DISTINCT e.child FROM edge AS e JOIN job ON job.key = e.child
    JOIN member AS m ON m.job = e.child
    WHERE e.parent IN {_THESE} AND +job.state = 5 AND m.waits > 0
"""
DONE_ANEW: Final = f"""
    UPDATE edge SET done = (SELECT state BETWEEN 2 AND 4 FROM job WHERE key = edge.parent)
    WHERE child IN {_THESE}
"""
WAITS_ANEW: Final = f"""
    UPDATE member SET waits = CASE WHEN role = 1
        THEN (SELECT open_jobs > 0 FROM flow WHERE key = member.flow)
        ELSE (SELECT count(*) FROM edge WHERE child = member.job AND NOT done) END
    WHERE job IN {_THESE}
"""
HOLD_BACK: Final = f"""
    UPDATE job SET state = 5 WHERE key IN {_THESE} AND state = 0
    AND (SELECT waits FROM member WHERE job = job.key) > 0
"""
# Of a limit, where others might call them.
OUT_OF_LINE: Final = f"""
    DELETE FROM blocked WHERE job IN {_THESE}
    AND (SELECT waits FROM member WHERE member.job = blocked.job) > 0
"""
FLOW_OF: Final = f"SELECT job, flow FROM member WHERE job IN {_THESE}"
NOT_FINISHED: Final = f"UPDATE flow SET finished_at = NULL WHERE key IN {_THESE}"
# Those of flows that have gone may go, too, if these are not on their way.
STAYING: Final = f"""
    SELECT m.job FROM member AS m LEFT JOIN flow AS f ON f.key = m.flow
    LEFT JOIN away AS a ON a.key = m.flow
    WHERE m.job IN {_THESE} AND (f.key IS NOT NULL OR a.key IS NOT NULL)
"""
OF_OPEN_FLOW: Final = f"""
    SELECT m.job, f.id FROM member AS m JOIN flow AS f ON f.key = m.flow
    WHERE m.job IN {_THESE} AND f.finished_at IS NULL
"""


def cancel(ledger: Ledger, flow_id: str, now: int) -> int:
    """See `Flowing.cancel_flow`."""
    keys = [key for (key,) in ledger.run(GOING_ON, (_find(ledger, flow_id)[0],))]
    ledger.run(CANCEL, {"keys": encode(keys), "now": now})
    loosen(ledger, keys, now)
    ledger.wakes |= {Wake.CONTROL, Wake.FINISHED}
    return len(keys)


def retry(ledger: Ledger, flow_id: str, now: int) -> int:
    """See `Flowing.retry_flow`."""
    flow, undone = _find(ledger, flow_id)
    if undone:
        raise not_undone(flow_id)
    keys: list[int] = []
    for role in (Role.JOB, Role.CALLBACK):
        keys = keys or [key for (key,) in ledger.run(NOT_COMPLETED, (flow, int(role)))]
    ledger.run(LET_GO, {"keys": encode(keys), "now": now})
    ledger.run(AGAIN, {"keys": encode(keys), "now": now})
    check_keys(ledger, keys)
    blocked = reopened(ledger, keys, now)
    turns.take_again(ledger, keys, now)
    ledger.wakes.add(Wake.JOBS)
    return len(keys) - blocked


def retriable(ledger: Ledger, keys: Sequence[int]) -> list[int]:
    """Those of these jobs that may run again."""
    barred = {key for key, *_ in ledger.run(BARRED, (encode(list(keys)),))}
    barred |= away.away(ledger, keys)
    return [key for key in keys if key not in barred]


def check_retriable(ledger: Ledger, key: int, job_id: str) -> None:
    """Whether this job may run again.

    Raises:
        JobStateError: it may not.
    """
    away.check(ledger, key, job_id)
    for _, flow_id, undone in ledger.run(BARRED, (encode([key]),)):
        raise why_barred(job_id, flow_id, undone)


def apart(ledger: Ledger, keys: Sequence[int]) -> list[list[int]]:
    """These jobs by the flows that they belong to; those of none are together."""
    flow_of = dict(ledger.run(FLOW_OF, (encode(list(keys)),)))
    by_flow: dict[int | None, list[int]] = {}
    for key in keys:
        by_flow.setdefault(flow_of.get(key), []).append(key)
    return list(by_flow.values())


def reopened(ledger: Ledger, keys: Sequence[int], now: int) -> int:
    """These jobs run again, as the table of jobs has it already: what was cancelled for them waits
    again, and what waits for them waits for them anew. Of those that wait for others themselves,
    which do not run yet, how many.

    Raises:
        JobStateError: another job holds the unique key of one that would wait again; nothing of
            this change may stay.
    """
    opened = list(ledger.run(OPEN, (encode(list(keys)),)))
    if not opened:
        return 0
    again = {job for job, *_ in opened}
    flows = encode(list({flow for _, flow, *_ in opened}))
    going_on = encode(list({flow for _, flow, role, _ in opened if role == Role.JOB}))
    callbacks = {key for (key,) in ledger.run(CALLBACKS, (going_on,))}
    back = _restorable(ledger, again) | callbacks
    text = encode(list(back))
    ledger.run(LET_GO, {"keys": text, "now": now})
    ledger.run(WAIT_AGAIN, (text,))
    check_keys(ledger, list(back))
    opened += [row for row in ledger.run(OPEN, (text,)) if row[0] not in again]
    COUNT.run(ledger, _sums(opened))
    ledger.run(NOT_COUNTED, (encode([job for job, *_ in opened]),))
    ledger.run(NOT_FINISHED, (flows,))
    text = encode(list(again | back))
    children = [key for (key,) in ledger.run(BLOCKED_CHILDREN, (text,))]
    text = encode(list({*again, *back, *children}))
    ledger.run(DONE_ANEW, (text,))
    ledger.run(WAITS_ANEW, (text,))
    ledger.run(OUT_OF_LINE, (encode(list(again)),))
    ledger.run(HOLD_BACK, (encode(list(again)),))
    return ledger.connection.changes()


def check_keys(ledger: Ledger, keys: Sequence[int]) -> None:
    """Whether all of these jobs that belong to flows have their unique keys again.

    Raises:
        JobStateError: another job holds the key of one; nothing of this change may stay.
    """
    for type_, id_, key, holder in ledger.run(LEFT, (encode(list(keys)),)):
        raise key_held(type_, id_, key, holder)


def _restorable(ledger: Ledger, again: set[int]) -> set[int]:
    candidates = {key for (key,) in ledger.run(BEHIND, (encode(list(again)),))} - again
    above = list(ledger.run(ABOVE, (encode(list(candidates)),)))
    return restorable(
        candidates,
        [link for link in above if link[0] in candidates],
        [link for link in above if link[0] not in candidates and link[0] not in again],
    )


def _sums(opened: Sequence[Any]) -> list[list[int]]:
    """By flow, as `COUNT` takes them: what is not counted as ended any more."""
    sums: dict[int, list[int]] = {}
    for _, flow, role, counted in opened:
        row = sums.setdefault(flow, [flow, 0, 0, 0, 0, 0])
        if role == Role.JOB:
            row[1] -= 1
            row[counted + 1] -= 1
        else:
            row[2] -= 1
    return list(sums.values())


def staying(ledger: Ledger, keys: Sequence[int]) -> set[int]:
    """Those of these jobs whose flow has not gone."""
    return {key for (key,) in ledger.run(STAYING, (encode(list(keys)),))}


def of_open_flow(ledger: Ledger, keys: Sequence[int]) -> dict[int, str]:
    """Those of these jobs whose flow has not ended, and which it is."""
    return dict(ledger.run(OF_OPEN_FLOW, (encode(list(keys)),)))


def check_deletable(ledger: Ledger, key: int, job_id: str) -> None:
    """Whether this job may be forgotten by itself.

    Raises:
        JobStateError: it belongs to a flow that goes on.
    """
    away.check(ledger, key, job_id)
    for flow_id in of_open_flow(ledger, [key]).values():
        raise belongs(job_id, flow_id)


def _find(ledger: Ledger, flow_id: str) -> tuple[int, int]:
    row = ledger.run("SELECT key, undone FROM flow WHERE id = ?", (flow_id,)).fetchone()
    if row is None:
        raise no_flow(flow_id)
    return row[0], row[1]
