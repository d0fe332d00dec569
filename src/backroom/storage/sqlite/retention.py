"""What ended is kept for a while; what expired is ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from backroom.job import State
from backroom.ports import Pruned, Wake
from backroom.storage.sqlite import counts, figures, schedules
from backroom.storage.sqlite.away import AWAY
from backroom.storage.sqlite.claims import UNSTARTED
from backroom.storage.sqlite.keys import let_go
from backroom.storage.sqlite.ledger import Ledger
from backroom.storage.sqlite.reopening import staying
from backroom.storage.sqlite.tidying import forget_flows, has_flows, mend
from backroom.storage.sqlite.ties import loosen

__all__ = ["forget", "prune"]

_TABLES: Final = (
    ("job", "key"), ("job_error", "job"), ("job_log", "job"), ("step", "job"), ("signal", "job"),
    ("member", "job"), ("edge", "parent"), ("edge", "child"),
)  # fmt: skip

LOOKS: Final = 20
"""Pages of jobs that one call looks through at most."""

# No key is used twice: cursors hold on to one, and so do workers whose code outlives its job.
FORGOTTEN: Final = """
    INSERT INTO meta VALUES ('forgotten', ?1)
    ON CONFLICT (name) DO UPDATE SET value = max(value, ?1)
"""
EXPIRED_WAITING: Final = f"""
    SELECT key FROM job WHERE state = 0 AND expires_at IS NOT NULL AND expires_at <= ?1
    AND {UNSTARTED} LIMIT ?2
"""
EXPIRED_PARKED: Final = f"""
    SELECT key FROM job WHERE state = 6 AND expires_at IS NOT NULL AND expires_at <= ?1
    AND {UNSTARTED} LIMIT ?2
"""
EXPIRED_BLOCKED: Final = f"""
    SELECT key FROM job WHERE state = 5 AND expires_at IS NOT NULL AND expires_at <= ?1
    AND {UNSTARTED} AND NOT {AWAY.format("job.key")} LIMIT ?2
"""
EXPIRE: Final = """
    UPDATE job SET state = 4, finished_at = ?1, reason = 'expired before it started'
    WHERE key IN ({keys}) RETURNING key
"""
ENDED: Final = """
    SELECT key, created_at, finished_at FROM job
    WHERE state = ?1 AND state BETWEEN 2 AND 4 AND key > ?2 ORDER BY key LIMIT ?3
"""


def prune(ledger: Ledger, cutoff: int, now: int, limit: int) -> Pruned:
    """Removes up to `limit` jobs that ended before `cutoff`, and as many ticks, and holds that
    are over; ends what expired."""
    touched, more = 0, False
    counts.fold(ledger, now)
    flows = has_flows(ledger)
    # A flow goes before its jobs: so nobody retries it when some of them have gone.
    more_flows = forget_flows(ledger, cutoff, limit)
    for state in (State.COMPLETED, State.FAILED, State.CANCELLED) if cutoff >= 0 else ():
        more = touched >= limit
        if not more:
            removed, done = _prune_state(ledger, state, cutoff, limit - touched, flows)
            touched += removed
            more = not done
        if more:  # The next call goes on here.
            break
    for expired in (EXPIRED_BLOCKED, EXPIRED_WAITING, EXPIRED_PARKED):
        ended = [key for (key,) in ledger.run(EXPIRE.format(keys=expired), (now, limit))]
        if ended:
            loosen(ledger, ended, now)
            figures.count_cancelled(ledger, ended, now)
            ledger.wakes.add(Wake.FINISHED)
        touched += len(ended)
        more = more or len(ended) == limit
    if flows:
        mend(ledger, now)
    more_ticks = schedules.prune(ledger, cutoff, limit)
    more_holds = let_go(ledger, now, limit)
    more_figures = figures.forget(ledger, now, limit)
    return Pruned(touched, more or more_flows or more_ticks or more_holds or more_figures)


def _prune_state(
    ledger: Ledger, state: State, cutoff: int, limit: int, flows: bool
) -> tuple[int, bool]:
    """Walks a state in the order of insertion, from where it last stopped: no index on the end
    of a job is needed, since a job cannot end before it was made. Pages of jobs that must stay,
    made long ago and ended lately, are passed over.

    Returns how many it removed, and whether it has come to the end."""
    removed = 0
    for _ in range(LOOKS):
        rows = list(ledger.run(ENDED, (int(state), ledger.pruned_to.get(state, 0), limit)))
        done = len(rows) < limit or rows[-1][1] >= cutoff
        last = rows[-1][0] if rows else 0
        keys = [key for key, _, finished_at in rows if finished_at < cutoff]
        if keys and flows:
            stay = staying(ledger, keys)
            keys = [key for key in keys if key not in stay]
        if len(keys) > limit - removed:
            del keys[limit - removed :]
            done, last = False, keys[-1]
        ledger.pruned_to[state] = 0 if done else last
        if keys:
            forget(ledger, keys)
            removed += len(keys)
        if done or removed == limit:
            return removed, done
    return removed, False


def forget(ledger: Ledger, keys: Sequence[int]) -> None:
    """Removes jobs with all that is kept with them, but for unique keys that are held longer."""
    ledger.run(FORGOTTEN, (max(keys),))
    text = json.dumps(list(keys))
    for table, column in _TABLES:
        ledger.run(
            f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", (text,)
        )
