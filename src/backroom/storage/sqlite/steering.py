"""What people change of jobs, with what hangs on them, within a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from backroom.errors import JobStateError
from backroom.inspecting import Filter
from backroom.job import State
from backroom.ports import Wake
from backroom.storage.matching import Done
from backroom.storage.sqlite import away, figures, limits, reopening, retention, steps, turns
from backroom.storage.sqlite.inspect import Inspector
from backroom.storage.sqlite.keys import free
from backroom.storage.sqlite.ledger import Ledger, encode
from backroom.storage.sqlite.ties import loosen

__all__ = ["cancel", "cancel_some", "delete", "delete_some", "pause", "retry", "retry_some"]

WAITS: Final = f"NOT BETWEEN {State.ACTIVE:d} AND {State.CANCELLED:d}"


def retry(ledger: Ledger, job_id: str, now: int, from_step: int | None) -> int:
    """See `Inspection.retry`, of one job."""
    jobs = Inspector(ledger.connection)
    key = jobs.key(job_id)
    reopening.check_retriable(ledger, key, job_id)
    if jobs.retry(job_id, now):
        reopening.reopened(ledger, [key], now)
        turns.take_again(ledger, [key], now)
    if from_step is not None:
        steps.forget(ledger, key, from_step)
    ledger.wakes.add(Wake.JOBS)
    return 1


def retry_some(ledger: Ledger, which: Filter, now: int, keys: Sequence[int]) -> Done:
    """Of those of these jobs that still are what was looked for, and of all others of their flows
    that are; how many. Where another job holds the unique key of one of a flow, or of one that
    would wait again with it, the jobs of that flow are left alone."""
    if which != Filter():  # Else these were named one by one.
        keys = sorted({*keys, *Inspector(ledger.connection).with_flows(which, now, keys)})
    treated = set(keys)
    keys = reopening.retriable(ledger, keys)
    ledger.wakes.add(Wake.JOBS)
    with suppress(JobStateError), ledger.connection:
        changed = _again(ledger, which, now, keys)
        return Done(changed, len(treated) - changed, treated)
    changed = 0
    for some in reopening.apart(ledger, keys):
        with suppress(JobStateError), ledger.connection:
            changed += _again(ledger, which, now, some)
    return Done(changed, len(treated) - changed, treated)


def _again(ledger: Ledger, which: Filter, now: int, keys: Sequence[int]) -> int:
    jobs = Inspector(ledger.connection)
    changed = jobs.retry_some(which, now, keys)
    if changed < len(keys):
        reopening.check_keys(ledger, jobs.left(which, now, keys))
    reopening.reopened(ledger, keys, now)
    turns.take_again(ledger, keys, now)
    return changed


def cancel(ledger: Ledger, job_id: str, now: int) -> int:
    """See `Inspection.cancel`, of one job."""
    jobs = Inspector(ledger.connection)
    away.check(ledger, jobs.key(job_id), job_id)
    waited = _in_state(ledger, [jobs.key(job_id)], WAITS)
    key, changed = jobs.cancel(job_id, now)
    _cancelled(ledger, [key], waited, now)
    return changed


def cancel_some(ledger: Ledger, which: Filter, now: int, keys: Sequence[int]) -> Done:
    """Of those of these jobs that have not ended, and still are what was looked for."""
    gone = away.away(ledger, keys)
    here = [key for key in keys if key not in gone]
    waited = _in_state(ledger, here, WAITS)
    changed = Inspector(ledger.connection).cancel_some(which, now, here)
    _cancelled(ledger, here, waited, now)
    return Done(changed, len(keys) - changed)


def _cancelled(ledger: Ledger, keys: Sequence[int], waited: Sequence[int], now: int) -> None:
    ended = _in_state(ledger, waited, f"= {State.CANCELLED:d}")
    loosen(ledger, keys, now)
    figures.count_cancelled(ledger, ended, now)
    ledger.wakes |= {Wake.CONTROL, Wake.FINISHED}


def _in_state(ledger: Ledger, keys: Sequence[int], state: str) -> list[int]:
    some = f"SELECT key FROM job WHERE key IN (SELECT value FROM json_each(?1)) AND state {state}"
    return [key for (key,) in ledger.run(some, (encode(list(keys)),))]


def delete(ledger: Ledger, job_id: str) -> int:
    """See `Inspection.delete`, of one job."""
    key = Inspector(ledger.connection).deletable(job_id)
    reopening.check_deletable(ledger, key, job_id)
    _forget(ledger, [key])
    return 1


def delete_some(ledger: Ledger, which: Filter, now: int, keys: Sequence[int]) -> Done:
    """Of those of these jobs that nobody has retried since, and whose flows do not go on; how
    many."""
    stay = reopening.of_open_flow(ledger, keys).keys() | away.away(ledger, keys)
    gone = Inspector(ledger.connection).still_ended([key for key in keys if key not in stay])
    if gone:
        _forget(ledger, gone)
    return Done(len(gone), len(keys) - len(gone))


def _forget(ledger: Ledger, keys: Sequence[int]) -> None:
    free(ledger, keys)
    retention.forget(ledger, keys)
    limits.leave(ledger, keys)


def pause(ledger: Ledger, queue: str, paused: bool, now: int) -> None:
    """See `Inspection.pause`."""
    Inspector(ledger.connection).pause(queue, paused)
    if not paused:  # Its jobs were passed over in the lines of limits.
        limits.free_up(ledger, now)
    ledger.wakes |= {Wake.CONTROL} if paused else {Wake.CONTROL, Wake.JOBS}
