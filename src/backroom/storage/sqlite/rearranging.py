"""Jobs that wait get another moment or another priority."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from backroom.errors import JobStateError
from backroom.inspecting import Filter
from backroom.job import State
from backroom.ports import Wake
from backroom.storage.matching import Done
from backroom.storage.refusing import why_not_rearranged
from backroom.storage.sqlite import away, limits, turns
from backroom.storage.sqlite.claims import UNSTARTED
from backroom.storage.sqlite.inspect import Inspector
from backroom.storage.sqlite.ledger import Ledger, encode
from backroom.storage.sqlite.looking import matching

__all__ = ["WAITS", "rearrange", "rearrange_some"]

WAITS: Final = "j.state IN (0, 5, 6)"
"""Of a job `j`: no worker holds it, and it has not ended."""

# Who stands in the line of a limit, or was called there, has been given another moment by that:
# what it waits for is where it stands. What waits for other jobs stays where it is.
REARRANGE: Final = f"""
    UPDATE job SET
        run_at = coalesce(
            :run_at, (SELECT b.run_at FROM blocked AS b WHERE b.job = job.key), run_at),
        priority = coalesce(:priority, priority),
        state = CASE WHEN state = 5 AND NOT EXISTS (
            SELECT 1 FROM blocked AS b WHERE b.job = job.key) THEN 5 ELSE 0 END
    WHERE key IN (SELECT j.key FROM job AS j
                  WHERE j.key IN (SELECT value FROM json_each(:keys)) AND {WAITS} AND {{}})
    AND NOT (:run_at IS NOT NULL AND expires_at IS NOT NULL AND expires_at <= :run_at
             AND {UNSTARTED})
    RETURNING key
"""


def rearrange(
    ledger: Ledger, job_id: str, now: int, run_at: int | None, priority: int | None
) -> int:
    """See `Inspection.rearrange`, of one job."""
    key = Inspector(ledger.connection).key(job_id)
    away.check(ledger, key, job_id)
    if not rearrange_some(ledger, Filter(), now, [key], run_at, priority).changed:
        rows: Any = ledger.run("SELECT state FROM job WHERE key = ?", (key,)).fetchall()
        raise JobStateError(why_not_rearranged(job_id, State(rows[0][0])))
    return 1


def rearrange_some(
    ledger: Ledger,
    which: Filter,
    now: int,
    keys: Sequence[int],
    run_at: int | None,
    priority: int | None,
) -> Done:
    """Of those of these jobs that wait, and still are what was looked for."""
    gone = away.away(ledger, keys)
    condition, arguments = matching(which, now)
    arguments |= {"keys": encode([key for key in keys if key not in gone])}
    said = {"run_at": run_at, "priority": priority}
    if "priority" in arguments:  # What is looked for has another name than what is said.
        condition = condition.replace(":priority", ":of_priority")
        arguments["of_priority"] = arguments.pop("priority")
    changed: list[Any] = [
        key for (key,) in ledger.run(REARRANGE.format(condition), {**arguments, **said}).fetchall()
    ]
    limits.step_out(ledger, changed, now)
    turns.take_again(ledger, changed, now)
    ledger.wakes.add(Wake.JOBS)
    return Done(len(changed), len(keys) - len(changed))
