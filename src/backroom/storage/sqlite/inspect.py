"""What people ask of an embedded store, in SQL: look-ups, counts, retry, cancel, delete.

Nothing here begins a transaction, waits or reads a clock. A look may have to go through many
jobs; a change never does: it is told which jobs were found, and looks at these again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from backroom.errors import JobNotFoundError, JobStateError
from backroom.inspecting import Counted, Filter, Looked, Outlook
from backroom.job import (
    FIRST,
    PRIORITIES,
    AttemptError,
    JobId,
    JobInfo,
    LogLine,
    State,
    status_of,
    to_datetime,
)
from backroom.limit import OURS, full
from backroom.stats import FailureGroup, JobStats
from backroom.step import shown
from backroom.storage.matching import LOOKED
from backroom.storage.sqlite import counts
from backroom.storage.sqlite.keys import HOLDS
from backroom.storage.sqlite.looking import Chosen, Look, matching
from backroom.storage.sqlite.steps import signals_of, steps_of

__all__ = ["AGAIN", "CANCEL", "LET_GO", "Inspector", "Unreadable"]

_INFO: Final = """
    SELECT j.key, j.id, j.type, j.queue, j.priority, j.state, j.run_at, j.created_at, j.data,
           j.options, j.unique_key, j.expires_at, j.attempt, j.crashes, j.budget,
           j.cancel_requested, j.started_at, j.finished_at, j.result, j.reason, j.progress,
           j.progress_message, w.name, j.worker
    FROM {} LEFT JOIN worker AS w ON w.id = j.worker
"""

AGAIN: Final = """
    UPDATE OR IGNORE job SET state = 0, run_at = :now, budget = attempt, crashes = 0,
        finished_at = NULL, result = NULL, expires_at = NULL, progress = NULL,
        progress_message = NULL
    WHERE key IN (SELECT value FROM json_each(:keys))
    AND NOT (state BETWEEN 2 AND 4 AND unique_key IS NOT NULL AND EXISTS (
        SELECT 1 FROM hold WHERE hold.type = job.type AND hold.unique_key = job.unique_key))
"""
# Before them: of the keys that they need, those that nobody holds any more.
LET_GO: Final = f"""
    DELETE FROM hold WHERE (type, unique_key) IN (
        SELECT type, unique_key FROM job
        WHERE key IN (SELECT value FROM json_each(:keys)) AND unique_key IS NOT NULL)
    AND NOT ({HOLDS})
"""

# One statement for jobs that wait (they end at once) and jobs that run (they are asked).
CANCEL: Final = """
    UPDATE job SET
        cancel_requested = (state = 1),
        finished_at = CASE WHEN state = 1 THEN finished_at ELSE :now END,
        reason = CASE WHEN state = 1 THEN reason ELSE 'cancelled by request' END,
        state = CASE WHEN state = 1 THEN 1 ELSE 4 END
    WHERE key IN (SELECT value FROM json_each(:keys)) AND state NOT BETWEEN 2 AND 4
"""

_STILL: Final = """
    AND key IN (SELECT j.key FROM job AS j
                WHERE j.key IN (SELECT value FROM json_each(:keys)) AND {})
"""
_ENDED: Final = "j.state BETWEEN 2 AND 4"
_WAITS: Final = "j.state IN (0, 5, 6)"
_GOES_ON: Final = "j.state NOT BETWEEN 2 AND 4 AND NOT j.cancel_requested"


class Unreadable(Exception):
    """A column of a job holds what nobody writes there: the file was damaged."""


class Inspector:
    """The people's side of a store in one SQLite connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._run = connection.execute

    def find(self, job_id: str, now: int) -> JobInfo | None:
        """One job with its errors, its log and its steps."""
        row = self._run(_INFO.format("job AS j") + "WHERE j.id = ?", (job_id,)).fetchone()
        if row is None:
            return None
        key = row[0]
        errors = tuple(
            AttemptError(attempt, to_datetime(at), kind, message, traceback, _moment(began))
            for attempt, at, kind, message, traceback, began in self._run(
                "SELECT attempt, at, kind, message, traceback, began FROM job_error"
                " WHERE job = ? ORDER BY rowid",
                (key,),
            )
        )
        log = tuple(
            LogLine(to_datetime(at), attempt, level, message)
            for attempt, at, level, message in self._run(
                "SELECT attempt, at, level, message FROM job_log WHERE job = ? ORDER BY rowid",
                (key,),
            )
        )
        why = self._why_blocked([row]).get(key)
        info = _info(row, now, self._started(row[23]), errors, log, why)
        return shown(info, steps_of(self._run, key), signals_of(self._run, key), now)

    def _started(self, worker: int | None) -> frozenset[int]:
        """The keys of a worker's claims whose attempt is charged already."""
        row = self._run("SELECT started FROM worker WHERE id = ?", (worker,)).fetchone()
        return frozenset(json.loads(row[0])) if row else frozenset()

    def _why_blocked(self, rows: Sequence[Sequence[Any]]) -> dict[int, str]:
        """By key, of those that wait for room in a limit."""
        keys = [row[0] for row in rows if row[5] == State.BLOCKED]
        if not keys:
            return {}
        found = self._run(
            "SELECT job, name, key FROM blocked WHERE job IN (SELECT value FROM json_each(?))",
            (json.dumps(keys),),
        )
        return {job: full(name, key) for job, name, key in found}

    def outlook(self, ids: Sequence[str], now: int) -> dict[str, Outlook]:
        """How these jobs stand."""
        return {
            id_: Outlook(type_, status_of(state, run_at, now), result, reason)
            for id_, type_, state, run_at, result, reason in self._run(
                "SELECT id, type, state, run_at, result, reason FROM job"
                " WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(ids)),),
            )
        }

    def look(self, which: Filter, now: int, limit: int, cursor: str | None, most: int) -> Looked:
        """Of the next `most` jobs, newest first, the first ones that match."""
        rows, some = Look(self._run, which, now).rows(_INFO, cursor, limit, most)
        started: dict[int | None, frozenset[int]] = {None: frozenset()}
        for row in rows:
            if row[23] not in started:
                started[row[23]] = self._started(row[23])
        why = self._why_blocked(rows)
        jobs = [_info(row, now, started[row[23]], blocked_by=why.get(row[0])) for row in rows]
        return Looked(jobs, None if some.whole else str(some.low), some.seen)

    def count(self, which: Filter, now: int, cursor: str | None, most: int) -> Counted:
        """How many of the next `most` jobs match."""
        jobs, some = Look(self._run, which, now).count(cursor, most)
        return Counted(jobs, None if some.whole else str(some.low), some.seen)

    def stats(self, now: int) -> JobStats:
        """Counts, queues and workers."""
        return counts.stats(self.connection, now)

    def failures(self, limit: int) -> list[FailureGroup]:
        """The failed jobs by type and kind of error."""
        return counts.failures(self.connection, limit)

    def miscounted(self) -> list[str]:
        """See `Inspection.miscounted`."""
        return counts.miscounted(self.connection)

    def queues(self) -> dict[str, bool]:
        """Every queue that ever held a job, and whether it is paused."""
        return {name: bool(paused) for name, paused in self._run("SELECT name, paused FROM queue")}

    def last(self) -> int:
        """The key of the newest job."""
        [(key,)] = self._run("SELECT ifnull(max(key), -1) FROM job")
        return key  # type: ignore[no-any-return]  # apsw types rows loosely

    def ended(self, which: Filter, now: int, after: int, upto: int, limit: int) -> Chosen:
        """The keys behind `after`, up to `upto`, of jobs that `retry_some` retries, in order."""
        return Look(self._run, which, now, _ENDED).choose(after, upto, limit, LOOKED)

    def waiting(self, which: Filter, now: int, after: int, upto: int, limit: int) -> Chosen:
        """Like `ended`, of jobs that wait."""
        return Look(self._run, which, now, _WAITS).choose(after, upto, limit, LOOKED)

    def live(self, which: Filter, now: int, after: int, upto: int, limit: int) -> Chosen:
        """Like `ended`, for `cancel_some`."""
        return Look(self._run, which, now, _GOES_ON).choose(after, upto, limit, LOOKED)

    # -- changes -----------------------------------------------------------------------------

    def retry(self, job_id: str, now: int) -> bool:
        """One job runs again at once, with a fresh budget; False: it was about to anyway."""
        key, state, run_at = self._key(job_id)
        if state == State.ACTIVE:
            raise JobStateError(f"job {job_id} is active; cancel it, or wait for its end")
        if state in (State.BLOCKED, State.PARKED) or (state == State.WAITING and run_at <= now):
            return False
        self._let_go([key], now)
        self._run(AGAIN, {"keys": json.dumps([key]), "now": now})
        if not self.connection.changes():
            raise JobStateError(
                f"job {job_id} cannot be retried: another live job of its type holds its unique key"
            )
        return True

    def retry_some(self, which: Filter, now: int, keys: Sequence[int]) -> int:
        """Retries those of these jobs that still are what was looked for; returns how many."""
        self._let_go(keys, now)
        return self._change(AGAIN, which, now, keys, _ENDED)

    def with_flows(self, which: Filter, now: int, keys: Sequence[int]) -> list[int]:
        """All jobs of the flows of these that are what was looked for: a flow is retried as one."""
        condition, arguments = matching(which, now)
        rows = self._run(
            "SELECT m.job FROM member AS m CROSS JOIN job AS j ON j.key = m.job WHERE m.flow IN ("
            "SELECT flow FROM member WHERE job IN (SELECT value FROM json_each(:keys)))"
            f" AND {condition} AND {_ENDED}",
            {**arguments, "keys": json.dumps(list(keys))},
        )
        return [key for (key,) in rows]

    def keys(self, ids: Sequence[str]) -> list[int]:
        """Of the jobs with these ids that are here, in order."""
        rows = self._run(
            "SELECT key FROM job WHERE id IN (SELECT value FROM json_each(?)) ORDER BY key",
            (json.dumps(list(ids)),),
        )
        return [key for (key,) in rows]

    def left(self, which: Filter, now: int, keys: Sequence[int]) -> list[int]:
        """Those of these jobs that still are what was looked for, after `retry_some`: others hold
        their unique keys."""
        condition, arguments = matching(which, now)
        rows = self._run(
            "SELECT j.key FROM job AS j WHERE j.key IN (SELECT value FROM json_each(:keys))"
            f" AND {condition} AND {_ENDED}",
            {**arguments, "keys": json.dumps(list(keys))},
        )
        return [key for (key,) in rows]

    def _let_go(self, keys: Sequence[int], now: int) -> None:
        self._run(LET_GO, {"keys": json.dumps(list(keys)), "now": now})

    def cancel(self, job_id: str, now: int) -> tuple[int, int]:
        """Cancels one job or asks for it; its key, and 0 if it had ended."""
        key, _, _ = self._key(job_id)
        self._run(CANCEL, {"keys": json.dumps([key]), "now": now})
        return key, self.connection.changes()

    def cancel_some(self, which: Filter, now: int, keys: Sequence[int]) -> int:
        """Like `retry_some`, for jobs that have not ended."""
        return self._change(CANCEL, which, now, keys, _GOES_ON)

    def deletable(self, job_id: str) -> int:
        """The key of a job that may be forgotten."""
        key, state, _ = self._key(job_id)
        if state == State.ACTIVE:
            raise JobStateError(f"job {job_id} is active; cancel it before you delete it")
        return key

    def still_ended(self, keys: Sequence[int]) -> list[int]:
        """Those of these jobs that nobody has retried since."""
        rows = self._run(
            "SELECT key FROM job WHERE key IN (SELECT value FROM json_each(?))"
            " AND state BETWEEN 2 AND 4",
            (json.dumps(list(keys)),),
        )
        return [key for (key,) in rows]

    def pause(self, queue: str, paused: bool) -> None:
        """Whether jobs of this queue are claimed."""
        self._run(
            "INSERT INTO queue (name, paused) VALUES (?1, ?2)"
            " ON CONFLICT (name) DO UPDATE SET paused = ?2",
            (queue, int(paused)),
        )

    def key(self, job_id: str) -> int:
        """The number of a job in this store."""
        return self._key(job_id)[0]

    def _key(self, job_id: str) -> tuple[int, int, int]:
        row = self._run("SELECT key, state, run_at FROM job WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise JobNotFoundError(f"no job has the id {job_id!r}")
        return row  # type: ignore[no-any-return]  # apsw types rows loosely

    def _change(self, change: str, which: Filter, now: int, keys: Sequence[int], state: str) -> int:
        condition, arguments = matching(which, now)
        self._run(
            change + _STILL.format(f"{condition} AND {state}"),
            {**arguments, "keys": json.dumps(list(keys)), "now": now},
        )
        return self.connection.changes()


def _moment(value: int | None) -> Any:
    return None if value is None else to_datetime(value)


def _readable(text: Any) -> Any:
    """The value of JSON text; the text itself where it cannot be read, as some other program
    may have written it: one such row must not hide the others of its page."""
    try:
        return msgspec.json.decode(text)
    except Exception:
        return text


def _info(
    row: Sequence[Any],
    now: int,
    started: frozenset[int],
    errors: tuple[AttemptError, ...] = (),
    log: tuple[LogLine, ...] = (),
    blocked_by: str | None = None,
) -> JobInfo:
    (
        key, id_, type_, queue, priority, state, run_at, created_at, data, options, unique_key,
        expires_at, attempt, crashes, budget, cancel_requested, started_at, finished_at, result,
        reason, progress, progress_message, worker, _,
    ) = row  # fmt: skip
    said = _readable(options) if options else {}
    if not isinstance(said, dict):
        said = {"unreadable": said}
    tags = tuple(said.pop("tags", ()))
    metadata = said.pop("metadata", {})
    held_key = said.pop("unique_key", None)
    version = said.pop("version", FIRST)
    workflow = said.pop("workflow", None)
    for own in OURS:
        said.pop(own, None)
    retries = said.get("retries")
    try:
        return JobInfo(
            id=JobId(id_),
            type=type_,
            queue=queue,
            priority=PRIORITIES[priority],
            status=status_of(state, run_at, now),
            data=_readable(data),
            result=None if result is None else _readable(result),
            error=reason,
            attempt=attempt + (state == State.ACTIVE and key in started),
            max_attempts=None if retries is None else budget + retries + 1,
            budget=budget,
            crashes=crashes,
            version=version,
            workflow=workflow,
            parked=state == State.PARKED,
            cancel_requested=bool(cancel_requested),
            created_at=to_datetime(created_at),
            run_at=to_datetime(run_at),
            expires_at=_moment(expires_at),
            started_at=_moment(started_at),
            finished_at=_moment(finished_at),
            worker=worker,
            blocked_by=blocked_by,
            unique_key=held_key if unique_key is None else unique_key,
            progress=progress,
            progress_message=progress_message,
            tags=tags,
            metadata=metadata,
            options=said,
            errors=errors,
            log=log,
        )
    except (LookupError, TypeError) as error:
        raise Unreadable(f"the row of job {id_}: {error!r}") from error
