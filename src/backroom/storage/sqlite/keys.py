"""Unique keys: who holds which, and what becomes of a job whose key another one has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from msgspec.structs import replace

from backroom.errors import DuplicateJobError
from backroom.job import JobRecord, State
from backroom.ports import Wake
from backroom.storage.sqlite.claims import UNSTARTED
from backroom.storage.sqlite.ledger import Ledger

__all__ = ["DROP", "HOLDS", "KEEP", "LOOK", "WOVEN", "Keys", "as_kept", "free", "let_go"]

Name: TypeAlias = tuple[str, str]
"""A job type and a unique key."""

WOVEN: Final = "EXISTS (SELECT 1 FROM member WHERE member.job = job.key)"
"""Whether a job belongs to a flow."""
# The job that holds a key until it ends, and the one that holds it until something else.
LOOK: Final = f"""
    SELECT id, state, {UNSTARTED}, NULL, NULL, key, worker, {WOVEN} FROM job
    WHERE type = ?1 AND unique_key = ?2 AND unique_key IS NOT NULL AND state NOT BETWEEN 2 AND 4
    UNION ALL
    SELECT hold.job, state, {UNSTARTED}, until, last, key, worker, {WOVEN}
    FROM hold LEFT JOIN job ON job.id = hold.job WHERE hold.type = ?1 AND hold.unique_key = ?2
"""
KEEP: Final = "INSERT OR REPLACE INTO hold VALUES (?, ?, ?, ?, ?)"
DROP: Final = "DELETE FROM hold WHERE type = ? AND unique_key = ?"
REPLACE: Final = """
    UPDATE job SET queue = ?2, priority = ?3, run_at = ?4, data = ?5, options = ?6,
        expires_at = ?7, state = 0
    WHERE id = ?1
"""
STARTED: Final = """
    EXISTS (SELECT 1 FROM worker, json_each(worker.started) AS s
            WHERE worker.id = job.worker AND s.value = job.key)
"""
"""Whether a job that a worker holds counts as started."""
HOLDS: Final = f"""
    CASE hold.until
        WHEN 0 THEN EXISTS (SELECT 1 FROM job WHERE job.id = hold.job AND {UNSTARTED}
                            AND (state IN (0, 5, 6) OR state = 1 AND NOT {STARTED}))
        ELSE hold.until > :now
    END
"""
"""Whether a row of `hold` still does, at the moment `:now`."""

_FRESH: Final = (State.WAITING, State.BLOCKED, State.PARKED)
_NOBODYS: Final = (State.WAITING, State.PARKED)


class _Holder(NamedTuple):
    """Who has a key."""

    id: str
    state: int | None
    """None: the job is gone."""
    unstarted: int | None
    until: int | None
    last: str | None
    key: int | None
    worker: int | None
    woven: int = False
    """It belongs to a flow: what it does, and when, is part of that."""
    at: int = -1
    """Where it is among the jobs that wait to be written, if it is one of them: else it goes
    straight to a worker."""
    starts: bool = False
    """It counts as started then."""


class Group(Protocol):
    """Jobs of one call."""

    start: bool


_NOBODY: Final = _Holder("", None, None, None, None, None, None)


class Keys:
    """The unique keys of the jobs of one transaction. Decides first: nothing is written before
    `write`, so that the jobs of a call that is refused leave no trace."""

    def __init__(self, ledger: Ledger, waiting: list[JobRecord]) -> None:
        """`waiting`: the jobs that are to be written as such."""
        self._ledger = ledger
        self._waiting = waiting
        self._holders: dict[Name, _Holder] = {}
        self._rows: dict[Name, tuple[str, int, str | None] | None] = {}
        """What is to become of rows of `hold`; None: they go."""
        self._replaced: dict[str, JobRecord] = {}
        """By the id of a job: whose data and time it is to have."""
        self._before: list[tuple[Any, Any, Any]] = []
        self._group: Group | None = None

    def twin(self, job: JobRecord, group: Group) -> str | None:
        """The id of the job that answers for this one of a group: the holder of its unique key;
        or itself, if it was inserted before, whoever holds its key by now. None: it is new, and
        has its key.

        Raises:
            DuplicateJobError: it is to be told so; `undo` what its group did before.
        """
        if group is not self._group:
            self._group = group
            self._before.clear()
        if self._ledger.run("SELECT 1 FROM job WHERE id = ?", (job.id,)).fetchone():
            return job.id
        name = (job.type, job.unique_key or "")
        holder = self._holders.get(name)
        if holder is None:
            holder = self._look(name)
        if holder is not _NOBODY:
            if job.id in (holder.id, holder.last):  # An earlier call, whose reply was lost.
                return holder.id
            if self._holds(holder, job):
                self._meet(name, holder, job)
                return holder.id
        self._take(name, holder, job, group.start)
        return None

    def _look(self, name: Name) -> _Holder:
        row = self._ledger.run(LOOK, name).fetchone()
        holder = _NOBODY if row is None else _Holder(*row)
        self._holders[name] = holder
        return holder

    def _holds(self, holder: _Holder, job: JobRecord) -> bool:
        """Whether this job finds its key held."""
        if holder.until is None:
            return True
        if holder.until:
            return job.created_at < holder.until
        if holder.woven and _how(job) == "replace":
            return False
        # Nor can anything be replaced of one in the lanes of a worker.
        return self._waits(holder, _FRESH) or (_how(job) != "replace" and self._in_a_lane(holder))

    def _waits(self, holder: _Holder, states: Sequence[State]) -> bool:
        """Whether it has not started, and is in one of these states."""
        if holder.at >= 0:
            at = holder.at
            return at < len(self._waiting) and self._waiting[at].id == holder.id
        return bool(holder.unstarted) and holder.state in states

    def _in_a_lane(self, holder: _Holder) -> bool:
        """Whether a worker holds it, and has not begun it."""
        if holder.at >= 0:
            return not holder.starts
        if holder.state != State.ACTIVE or not holder.unstarted:
            return False
        started = self._ledger.started.get(holder.worker or 0)
        if started is not None:  # A worker of this process: its row is not yet written.
            return holder.key not in started
        [(begun,)] = self._ledger.run(f"SELECT {STARTED} FROM job WHERE key = ?", (holder.key,))
        return not begun

    def _meet(self, name: Name, holder: _Holder, job: JobRecord) -> None:
        """Another job has its key."""
        how = _how(job)
        if how == "raise":
            raise DuplicateJobError(
                f"{job.type}: job {holder.id} holds the unique key {job.unique_key!r}", holder.id
            )
        if how != "replace" or holder.woven or not self._waits(holder, _NOBODYS):
            return
        if holder.at >= 0:
            mine = self._waiting[holder.at]
            self._set(self._waiting, holder.at, _with(mine, job))
        else:
            self._set(self._replaced, holder.id, job)
        if holder.until is not None:
            self._set(self._holders, name, holder._replace(last=job.id))
            self._set(self._rows, name, (holder.id, holder.until, job.id))

    def _take(self, name: Name, before: _Holder, job: JobRecord, start: bool) -> None:
        until = None if job.hold is None else job.hold.until
        at = len(self._waiting)
        now = _Holder(job.id, State.WAITING, True, until, None, None, None, False, at, start)
        self._set(self._holders, name, now)
        if until is not None:
            self._set(self._rows, name, (job.id, until, None))
        elif before.until is not None:
            self._set(self._rows, name, None)

    def _set(self, into: Any, name: Any, value: Any) -> None:
        old = into[name] if isinstance(into, list) else into.get(name, self)
        self._before.append((into, name, old))
        into[name] = value

    def undo(self) -> None:
        """What the jobs of the last group did is as it was."""
        while self._before:
            into, name, old = self._before.pop()
            if old is self:
                del into[name]
            else:
                into[name] = old

    def write(self) -> None:
        """Carries out what was decided but the new jobs themselves."""
        run = self._ledger.run
        for name, row in self._rows.items():
            if row is None:
                run(DROP, name)
            else:
                run(KEEP, (*name, *row))
        for id_, job in self._replaced.items():
            run(
                REPLACE,
                (id_, job.queue, job.priority, job.run_at, job.data, job.options, job.expires_at),
            )
        if self._replaced:
            self._ledger.wakes.add(Wake.JOBS)


def _how(job: JobRecord) -> str:
    return "existing" if job.hold is None else job.hold.on_conflict


def as_kept(job: JobRecord) -> JobRecord:
    """A new job as it is written: a key that is not held until it ends is a row of its own."""
    if job.hold is None or job.hold.until is None:
        return job
    return replace(job, unique_key=None)


def _with(job: JobRecord, other: JobRecord) -> JobRecord:
    """A job with the data, the options and the time of another one."""
    return replace(
        job, queue=other.queue, priority=other.priority, run_at=other.run_at, data=other.data,
        options=other.options, expires_at=other.expires_at,
    )  # fmt: skip


# -- what else may become of those who hold them ---------------------------------------------------


def free(ledger: Ledger, keys: Sequence[int]) -> None:
    """Jobs that are forgotten, or go elsewhere, hold nothing any more."""
    ledger.run(
        "DELETE FROM hold WHERE job IN"
        " (SELECT id FROM job WHERE key IN (SELECT value FROM json_each(?)))",
        (json.dumps(list(keys)),),
    )


# A job that has started never holds anything until it starts. One that ended before it started may
# be retried, so it keeps its row for as long as it is there.
PASSED: Final = """
    DELETE FROM hold WHERE (type, unique_key) IN (
        SELECT type, unique_key FROM hold WHERE until > 0 AND until <= ?1 LIMIT ?2)
"""
STARTING: Final = f"""
    SELECT hold.job, hold.type, hold.unique_key, job.id IS NULL OR NOT ({UNSTARTED})
    FROM hold LEFT JOIN job ON job.id = hold.job
    WHERE hold.until = 0 AND hold.job > ?1 ORDER BY hold.job LIMIT ?2
"""


def let_go(ledger: Ledger, now: int, limit: int) -> bool:
    """Removes up to `limit` holds that are over; whether it has not seen all."""
    ledger.run(PASSED, (now, limit))
    more = ledger.connection.changes() == limit
    rows = list(ledger.run(STARTING, (ledger.holds_pruned_to, limit)))
    for _, type_, key, over in rows:
        if over:
            ledger.run(DROP, (type_, key))
    ledger.holds_pruned_to = rows[-1][0] if len(rows) == limit else ""
    return more or len(rows) == limit
