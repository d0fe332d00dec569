"""What people ask of a job store in PostgreSQL: look-ups, counts, retry, cancel, delete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from backroom.errors import JobNotFoundError, JobStateError, no_cursor
from backroom.flowing import belongs, on_its_way
from backroom.inspecting import Counted, Filter, Looked, Outlook
from backroom.job import (
    FIRST,
    PRIORITIES,
    AttemptError,
    JobId,
    JobInfo,
    JobStatus,
    LogLine,
    State,
    status_of,
    to_datetime,
)
from backroom.limit import OURS, full
from backroom.stats import FailureGroup
from backroom.step import SignalRecord, StepRecord, shown
from backroom.stepping import active
from backroom.storage.matching import LOOKED, Done
from backroom.storage.postgres import counts, turns
from backroom.storage.postgres.finding import Finder, Found, identity
from backroom.storage.postgres.rearranging import Place, rearrange
from backroom.storage.postgres.reopening import apart, barred, check_keys, reopened
from backroom.storage.postgres.series import count_cancelled
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import from_text
from backroom.storage.postgres.ties import hold, hold_members, look_and_loosen
from backroom.storage.refusing import why_not_rearranged

__all__ = ["Inspector", "identity"]

# Each is looked up by itself, however many there are: nothing is gathered first.
_INFO: Final = """
    SELECT j.id, j.type, j.queue, j.priority, j.run_at, j.created_at, j.data, j.options,
           j.unique_key, j.expires_at, j.crashes, j.budget, j.progress, j.progress_message,
           e.state, e.finished_at, e.result,
           coalesce(e.attempt, j.attempt) AS attempt,
           CASE WHEN e.id IS NULL THEN j.started_at ELSE e.started_at END AS started_at,
           CASE WHEN e.id IS NULL THEN j.reason ELSE e.reason END AS reason,
           a.worker IS NOT NULL AS active, w.name AS worker,
           a.counted OR EXISTS (
               SELECT FROM {begun} AS l, unnest(l.ids, l.tokens) AS b (id, token)
               WHERE l.worker = a.worker AND b.id = j.id AND b.token = a.token) AS counted,
           EXISTS (SELECT FROM {cancels} AS c WHERE c.id = j.id) AS cancel_requested,
           EXISTS (SELECT FROM {parked} AS p WHERE p.queue = j.queue AND p.type = j.type
                   AND p.priority = j.priority AND p.run_at = j.run_at AND p.id = j.id) AS parked,
           (SELECT true FROM {waiting} AS v WHERE v.id = j.id LIMIT 1) IS NOT NULL
           OR b.name IS NOT NULL AS blocked, b.name AS limit_name, b.key AS limit_key
    FROM {source} CROSS JOIN LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = s.id LIMIT 1) AS j
    LEFT JOIN LATERAL (SELECT * FROM {ended} AS o WHERE o.id = j.id LIMIT 1) AS e ON true
    LEFT JOIN LATERAL (
        SELECT h.worker, h.token, j.id = ANY(h.started) AS counted FROM {held} AS h
        WHERE e.id IS NULL AND j.id = ANY(h.ids) LIMIT 1) AS a ON true
    LEFT JOIN {workers} AS w ON w.id = a.worker
    LEFT JOIN LATERAL (
        SELECT name, key FROM {blocked} AS o WHERE o.id = j.id AND o.called_at IS NULL LIMIT 1
    ) AS b ON true
"""
_ENDED: Final = "(SELECT true FROM {ended} AS o WHERE o.id = j.id LIMIT 1)"
_GOES_ON: Final = f"""{_ENDED} IS NULL
    AND (SELECT true FROM {{cancels}} AS c WHERE c.id = j.id LIMIT 1) IS NULL"""

_WAITS: Final = f"""{_ENDED} IS NULL
    AND (SELECT true FROM {{held}} AS h WHERE j.id = ANY(h.ids) LIMIT 1) IS NULL"""
_OF: Final = {"ended": _ENDED, "live": _GOES_ON, "wait": _WAITS}


class Inspector:
    """The people's side, on one connection."""

    def __init__(self, statements: Statements, connection: Any) -> None:
        self._statements = statements
        self._connection = connection

    async def find(self, job_id: str, now: int) -> JobInfo | None:
        """One job with its errors, its log and its steps."""
        key = identity(job_id)
        if key is None:
            return None
        rows = await self._infos(
            "(SELECT $2::uuid AS id WHERE $1::bigint IS NOT NULL) AS s", "", now, key
        )
        if not rows:
            return None
        errors = await self._connection.fetch(self._statements["errors"], key)
        lines = await self._connection.fetch(self._statements["log"], key)
        info = _info(
            rows[0],
            now,
            tuple(
                AttemptError(
                    a, to_datetime(at), from_text(kind), from_text(m), from_text(t), _moment(began)
                )
                for a, at, kind, m, t, began in errors
            ),
            tuple(LogLine(to_datetime(at), a, level, from_text(m)) for at, a, level, m in lines),
        )
        steps = await self._connection.fetch(self._statements["steps_of"], key)
        signals = await self._connection.fetch(self._statements["signals_of"], key)
        return shown(
            info, [StepRecord(*row) for row in steps], [SignalRecord(*row) for row in signals], now
        )

    async def _infos(self, source: str, rest: str, *arguments: Any) -> list[Any]:
        text = _INFO.replace("{source}", source) + rest
        rows: list[Any] = await self._connection.fetch(self._statements.named(text), *arguments)
        return rows

    async def outlook(self, ids: Sequence[str], now: int) -> dict[str, Outlook]:
        """How these jobs stand."""
        keys = [key for key in map(identity, ids) if key is not None]
        rows = await self._connection.fetch(self._statements["outlook"], keys)
        return {
            str(row["id"]): Outlook(
                from_text(row["type"]),
                status_of(_state(row), row["run_at"], now),
                row["result"],
                row["reason"],
            )
            for row in rows
        }

    async def look(
        self, which: Filter, now: int, limit: int, cursor: str | None, most: int
    ) -> Looked:
        """Of the next `most` jobs, newest first, the first ones that match."""
        finder = Finder(self._connection, self._statements, which, now)
        found = await finder.newest(_read_cursor(cursor), limit, most)
        rows = []
        if found.ids:
            source = (
                "(SELECT * FROM unnest($2::uuid[]) AS i (id) WHERE $1::bigint IS NOT NULL) AS s"
            )
            rows = await self._infos(source, "ORDER BY s.id DESC", now, found.ids)
        return Looked([_info(row, now) for row in rows], _cursor(found), found.seen)

    async def count(self, which: Filter, now: int, cursor: str | None, most: int) -> Counted:
        """How many of the next `most` jobs match."""
        finder = Finder(self._connection, self._statements, which, now)
        jobs, found = await finder.count(_read_cursor(cursor), most)
        return Counted(jobs, _cursor(found), found.seen)

    async def failures(self, limit: int) -> list[FailureGroup]:
        """The failed jobs by type and kind of error."""
        return await counts.failures(self._connection, self._statements, limit)

    async def miscounted(self) -> list[str]:
        """Which numbers that are kept are wrong."""
        return await counts.miscounted(self._connection, self._statements)

    # -- changes -----------------------------------------------------------------------------

    async def last(self) -> Any:
        """The id of the newest job; None: there is none."""
        text = self._statements.named("SELECT id FROM {jobs} ORDER BY id DESC LIMIT 1")
        rows = await self._connection.fetch(text)
        return rows[0][0] if rows else None

    async def chosen(
        self, which: Filter, now: int, of: str, after: Any, upto: Any, limit: int
    ) -> Found:
        """The ids behind `after`, up to `upto`, of jobs that are so, in order: "ended", "live" ones
        that were not asked to end, or those that "wait"."""
        more = _OF[of]
        finder = Finder(self._connection, self._statements, which, now, more)
        return await finder.oldest(after, upto, limit, LOOKED)

    async def known(self, ids: Sequence[str]) -> list[Any]:
        """Of the jobs with these ids, those that are here, in order."""
        keys = [key for key in map(identity, ids) if key is not None]
        rows = await self._connection.fetch(self._statements["whereabouts"], keys)
        return [row["id"] for row in rows]

    async def _with_flows(self, which: Filter, keys: Sequence[Any], now: int) -> list[Any]:
        """These, and all other jobs of their flows that are what was looked for: a flow is retried
        as one."""
        others = await self._connection.fetch(self._statements["ended_with"], keys)
        finder = Finder(self._connection, self._statements, which, now)
        return [*keys, *await finder.matching([row[0] for row in others])]

    async def retry(self, job_id: str, now: int, from_step: int | None) -> None:
        """One job runs again at once, with a fresh budget."""
        key, place = await self._place(job_id)
        if place["active"]:
            raise JobStateError(f"job {job_id} is active; cancel it, or wait for its end")
        if from_step is not None:  # Whoever lets go of what waits for other jobs holds its flow.
            await hold(self._connection, self._statements, [key])
        await self._check_here(key, job_id)
        if place["state"] is None:
            await self._sooner(key, job_id, now, stay=from_step is not None)
        else:
            await barred(self._connection, self._statements, [key], job_id)
            if not await self._again(Filter(), [key], now):
                raise JobStateError(
                    f"job {job_id} cannot be retried: another live job of its type holds its unique"
                    " key"
                )
        if from_step is not None:
            await self._connection.execute(self._statements["forget_steps"], key, from_step)

    async def _sooner(self, key: Any, job_id: str, now: int, *, stay: bool) -> None:
        """A job that waits for later is due now. `stay`: its flow is locked, and no worker takes it
        before this transaction has ended.

        Raises:
            JobStateError: it is to stay, and a worker has taken it since it was looked at.
        """
        fetch, text = self._connection.fetch, self._statements
        waits = stay and bool(await fetch(text["keep_waiting"], key, now))
        # Whoever sends it a signal holds this row before its place, where it waits for later.
        await fetch(text["lock_job"], key)
        if await fetch(text["sooner"], [key], now):
            await turns.take_again(self._connection, self._statements, [key], now)
        elif stay and not waits and not await fetch(text["keep_waiting"], key, now):
            raise active(job_id)  # The second look: it may have become due, or been called.

    async def retry_some(self, which: Filter, keys: Sequence[Any], now: int) -> Done:
        """Retries those of these jobs that still are what was looked for, and all others of their
        flows that are; returns how many. Where another job holds the unique key of one of a flow,
        or of one that would wait again with it, the jobs of that flow are left alone."""
        if which != Filter():  # Else these were named one by one.
            keys = await self._with_flows(which, keys, now)
        treated = set(keys)
        out = await barred(self._connection, self._statements, keys)
        keys = [key for key in keys if key not in out]
        with suppress(JobStateError):
            async with self._connection.transaction():
                changed = await self._again(which, keys, now)
                return Done(changed, len(treated) - changed, treated)
        changed = 0
        for some in await apart(self._connection, self._statements, keys):
            with suppress(JobStateError):
                async with self._connection.transaction():
                    changed += await self._again(which, some, now)
        return Done(changed, len(treated) - changed, treated)

    async def _again(self, which: Filter, keys: Sequence[Any], now: int) -> int:
        """Of jobs that may run again, and whose flows are locked."""
        states = _ended_states(which)
        await self._connection.fetch(self._statements["let_go_for"], keys, states, now)
        rows = await self._connection.fetch(self._statements["again"], keys, now, states)
        again = [row[0] for row in rows]
        left = set(keys).difference(again)
        await check_keys(self._connection, self._statements, left, states)
        await reopened(self._connection, self._statements, again, now)
        await turns.take_again(self._connection, self._statements, again, now)
        return len(again)

    async def rearrange(self, job_id: str, now: int, place: Place) -> Any:
        """One job that waits gets another moment, or another priority. None, or the key of a job
        that others are at in this moment: nothing is changed."""
        key, _ = await self._place(job_id)
        await self._check_here(key, job_id)
        if (await self.rearrange_some(Filter(), [key], now, place)).changed:
            return None
        _, found = await self._place(job_id)
        state = State.ACTIVE if found["active"] else State(found["state"] or State.WAITING)
        ends = found["expires_at"]
        if state is State.WAITING and (ends is None or place.run_at is None or place.run_at < ends):
            return key
        raise JobStateError(why_not_rearranged(job_id, state))

    async def rearrange_some(
        self, which: Filter, keys: Sequence[Any], now: int, place: Place
    ) -> Done:
        """The same of those of these jobs that wait, and still are what was looked for."""

        async def still(ids: Sequence[Any]) -> list[Any]:
            if which == Filter():
                return list(ids)
            return await Finder(self._connection, self._statements, which, now).matching(ids)

        changed = await rearrange(self._connection, self._statements, keys, now, place, still)
        return Done(len(changed), len(keys) - len(changed))

    async def cancel(self, job_id: str, now: int) -> int:
        """Cancels one job or asks for it; 0 if it had ended."""
        key, _ = await self._place(job_id)
        await self._check_here(key, job_id)
        return await self.cancel_some(Filter(), [key], now, asked_too=True)

    async def cancel_some(
        self, which: Filter, keys: Sequence[Any], now: int, *, asked_too: bool = False
    ) -> int:
        """Cancels those of these jobs that have not ended, and still are what was looked for."""
        fetch = self._connection.fetch
        members = await hold_members(self._connection, self._statements, keys)
        changed, ended = 0, []
        left = {key for key in keys if not members.get(key)}
        for _ in range(3):  # What a worker claims or gives back meanwhile is in another place.
            if which.status is not JobStatus.ACTIVE:
                rows = await fetch(self._statements["cancel_waiting"], list(left), now)
                ended += [row[0] for row in rows]
                left.difference_update(ended)
            if which.status not in (None, JobStatus.ACTIVE):
                break
            active = [row[0] for row in await fetch(self._statements["lock_active"], list(left))]
            left.difference_update(active)
            asked = await fetch(self._statements["ask"], active) if active else []
            changed += len(active) if asked_too else len(asked)
            if not left:
                break
        # After the rows of claims: gates come behind these.
        await look_and_loosen(self._connection, self._statements, ended, now)
        await count_cancelled(self._connection, self._statements, ended, now)
        return changed + len(ended)

    async def delete(self, job_id: str) -> None:
        """Forgets one job that is not active."""
        key, _ = await self._place(job_id)
        await hold(self._connection, self._statements, [key])
        for _, flow, away in await self._connection.fetch(self._statements["of_open_flow"], [key]):
            raise on_its_way(job_id) if away else belongs(job_id, str(flow))
        if not await self.delete_some(Filter(), [key], waiting=True):
            raise JobStateError(f"job {job_id} is active; cancel it before you delete it")

    async def delete_some(
        self, which: Filter, keys: Sequence[Any], *, waiting: bool = False
    ) -> int:
        """Forgets those of these jobs that ended as was looked for, or also those that wait; not
        those whose flow goes on."""
        fetch = self._connection.fetch
        await hold(self._connection, self._statements, keys)
        stay = {row[0] for row in await fetch(self._statements["of_open_flow"], keys)}
        keys = [key for key in keys if key not in stay]
        rows = await fetch(self._statements["drop_ended"], keys, _ended_states(which))
        gone = [row[0] for row in rows]
        if waiting:
            gone += [row[0] for row in await fetch(self._statements["drop_waiting"], keys)]
        if gone:
            await self._connection.execute(self._statements["forget"], gone)
        return len(gone)

    async def _check_here(self, key: Any, job_id: str) -> None:
        """Raises `JobStateError` where the flow of this job is on its way."""
        for _, _, away in await self._connection.fetch(self._statements["of_open_flow"], [key]):
            if away:
                raise on_its_way(job_id)

    async def _place(self, job_id: str) -> tuple[Any, Any]:
        key = identity(job_id)
        rows = (
            []
            if key is None
            else await self._connection.fetch(self._statements["whereabouts"], [key])
        )
        if not rows:
            raise JobNotFoundError(f"no job has the id {job_id!r}")
        return key, rows[0]


def _ended_states(which: Filter) -> list[int]:
    status = which.status
    return [state for state in (2, 3, 4) if status in (None, status_of(state, 0, 0))]


def _read_cursor(cursor: str | None) -> Any:
    if cursor is None:
        return None
    before = identity(cursor)
    if before is None:
        raise no_cursor(cursor)
    return before


def _cursor(found: Found) -> str | None:
    return None if found.following is None else str(found.following)


def _state(row: Any) -> State:
    if row["state"] is not None:
        return State(row["state"])
    if row["active"]:
        return State.ACTIVE
    if row["blocked"]:
        return State.BLOCKED
    return State.PARKED if row["parked"] else State.WAITING


def _moment(value: int | None) -> Any:
    return None if value is None else to_datetime(value)


def _readable(text: Any) -> Any:
    try:
        return msgspec.json.decode(text)
    except Exception:  # Some other program may have written it; it must not hide the others.
        return text


def _info(
    row: Any, now: int, errors: tuple[AttemptError, ...] = (), log: tuple[LogLine, ...] = ()
) -> JobInfo:
    state = _state(row)
    said = _readable(row["options"]) if row["options"] else {}
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
    return JobInfo(
        id=JobId(str(row["id"])),
        type=from_text(row["type"]),
        queue=from_text(row["queue"]),
        priority=PRIORITIES[row["priority"]],
        status=status_of(state, row["run_at"], now),
        data=_readable(row["data"]),
        result=None if row["result"] is None else _readable(row["result"]),
        error=from_text(row["reason"]),
        attempt=row["attempt"] + (state is State.ACTIVE and bool(row["counted"])),
        max_attempts=None if retries is None else row["budget"] + retries + 1,
        budget=row["budget"],
        crashes=row["crashes"],
        version=version,
        workflow=workflow,
        parked=state is State.PARKED,
        cancel_requested=row["cancel_requested"],
        created_at=to_datetime(row["created_at"]),
        run_at=to_datetime(row["run_at"]),
        expires_at=_moment(row["expires_at"]),
        started_at=_moment(row["started_at"]),
        finished_at=_moment(row["finished_at"]),
        worker=row["worker"],
        blocked_by=(
            full(from_text(row["limit_name"]), from_text(row["limit_key"]))
            if row["blocked"]
            else None
        ),
        unique_key=held_key if row["unique_key"] is None else from_text(row["unique_key"]),
        progress=row["progress"],
        progress_message=from_text(row["progress_message"]),
        tags=tags,
        metadata=metadata,
        options=said,
        errors=errors,
        log=log,
    )
