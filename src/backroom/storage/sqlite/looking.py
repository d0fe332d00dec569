"""Which jobs people mean, in SQL, and looks that go through some of the jobs at a time.

A look goes along the keys, newest first, in the narrowest index that has them in that order, and
says where it ended. So it takes as long as the jobs that it went through, however many there are,
and whatever is looked for; and who goes on from there sees each job once.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from backroom.errors import no_cursor
from backroom.inspecting import Filter
from backroom.job import JobStatus
from backroom.storage.matching import is_id, needle

__all__ = ["Chosen", "Look", "Range", "matching", "read_cursor"]

MOST_KEY: Final = 2**62
"""Above every key."""
FEW: Final = 10_000
"""Waiting jobs that are sorted to be seen in order; where there are more, all jobs are gone
through, of which these are a good part then."""

STATUS: Final = {
    JobStatus.SCHEDULED: "j.state = 0 AND j.run_at > :now",
    JobStatus.PENDING: "(j.state = 0 AND j.run_at <= :now OR j.state = 6)",
    JobStatus.BLOCKED: "j.state = 5",
    JobStatus.ACTIVE: "j.state = 1",
    JobStatus.COMPLETED: "j.state = 2 AND j.state BETWEEN 2 AND 4",
    JobStatus.FAILED: "j.state = 3 AND j.state BETWEEN 2 AND 4",
    JobStatus.CANCELLED: "j.state = 4 AND j.state BETWEEN 2 AND 4",
}
# What stands in the options is looked at as JSON only where its text has it.
_NAMES: Final = "(instr(lower(j.id), :text) OR instr(lower(j.type), :text))"
_DATA: Final = "(instr(lower(j.data), :text) OR instr(lower(j.data), :escaped))"
_SEEN: Final = f"(j.type NOT IN (SELECT value FROM json_each(:unseen)) AND {_DATA})"
_TEXT: Final = """(
    {names} OR {data} OR instr(lower(j.reason), :text)
    OR instr(lower(j.unique_key), :text)
    OR CASE WHEN instr(lower(j.options), :escaped) AND json_valid(j.options) THEN
        EXISTS (SELECT 1 FROM json_each(j.options, '$.tags') WHERE instr(lower(value), :text))
        OR instr(lower(json_extract(j.options, '$.unique_key')), :text) END)
"""
_CONDITIONS: Final = {
    "type": "j.type = :type",
    "queue": "j.queue = :queue",
    "tag": "EXISTS (SELECT 1 FROM json_each(j.options, '$.tags') WHERE value = :tag)",
    "error": "j.error_kind = :error",
    "worker": "j.state = 1 AND j.worker IN (SELECT id FROM worker WHERE name = :worker)",
    "workflow": """j.key IN (SELECT job FROM member WHERE flow IN (
        SELECT key FROM flow WHERE id = :workflow UNION ALL
        SELECT key FROM away WHERE id = :workflow))""",
    "priority": "j.priority = :priority",
    "since": "j.created_at >= :since",
    "until": "j.created_at < :until",
}
_ALL: Final = "job AS j"
# SQLite believes that any state is common, and would go through all jobs in order.
_ACTIVE: Final = "job AS j INDEXED BY job_active"
_ENDED: Final = "job AS j INDEXED BY job_ended"
_BLOCKED: Final = "job AS j INDEXED BY job_blocked"
_WAITING: Final = (
    "SELECT key FROM job INDEXED BY job_ready WHERE state = 0",
    "SELECT key FROM job INDEXED BY job_parked_kind WHERE state = 6",
)
_OF_FLOW: Final = """
    (SELECT job AS key FROM member WHERE flow IN (
        SELECT key FROM flow WHERE id = :workflow UNION ALL
        SELECT key FROM away WHERE id = :workflow)) AS s"""


class Source(NamedTuple):
    """Where jobs are looked for, in the order of their keys."""

    tables: str
    where: str = "true"
    """Of which rows: all of them are found without one of the others being read."""
    key: str = "j.key"
    keys: str | None = None
    """The same without what is not needed for the keys."""

    @property
    def seen(self) -> str:
        """Where the keys are looked for alone."""
        return f"{self.keys or self.tables} WHERE {self.where}"


class Range(NamedTuple):
    """The jobs that one look goes through: those whose keys are in it."""

    low: int
    high: int
    seen: int
    """How many of the source there are."""
    whole: bool
    """There is nothing behind it."""


class Chosen(NamedTuple):
    """Jobs that are to be changed."""

    keys: list[int]
    after: int | None
    """Where the next look goes on; None: there is nothing behind this one."""
    seen: int


class Look:
    """Looks for the jobs that a filter means."""

    def __init__(self, run: Any, which: Filter, now: int, more: str = "true") -> None:
        """`run`: `Connection.execute`. `more`: what else must be so of a job `j`."""
        self._run = run
        condition, self.arguments = matching(which, now)
        self._condition = f"{condition} AND {more}"
        self._source = _source(run, which, self.arguments)

    def rows(self, columns: str, cursor: str | None, limit: int, most: int) -> tuple[Any, Range]:
        """The first `limit` of the next `most` jobs, newest first, and what it went through. The
        key is the first of the columns."""
        some = self._newest(cursor, most)
        if self._source is None or not some.seen:
            return [], some
        rows = self._run(
            columns.format(self._source.tables) + f"WHERE {self._some}"
            f" ORDER BY {self._source.key} DESC LIMIT :limit",
            {**self.arguments, "low": some.low, "high": some.high, "limit": limit},
        ).fetchall()
        if len(rows) < limit:
            return rows, some
        low = rows[-1][0]
        [(seen,)] = self._run(
            f"SELECT count(*) FROM {self._source.seen}"
            f" AND {self._source.key} BETWEEN :low AND :high",
            {**self.arguments, "low": low, "high": some.high},
        )
        return rows, Range(low, some.high, seen, some.whole and seen == some.seen)

    def count(self, cursor: str | None, most: int) -> tuple[int, Range]:
        """How many of the next `most` jobs match, and what it went through."""
        some = self._newest(cursor, most)
        if self._source is None or not some.seen:
            return 0, some
        [(jobs,)] = self._run(
            f"SELECT count(*) FROM {self._source.tables} WHERE {self._some}",
            {**self.arguments, "low": some.low, "high": some.high},
        )
        return jobs, some

    def choose(self, after: int, upto: int, limit: int, most: int) -> Chosen:
        """The first `limit` of the `most` jobs behind a key, up to another, oldest first."""
        if self._source is None:
            return Chosen([], None, 0)
        key = self._source.key
        [(seen, high)] = self._run(
            f"SELECT count(*), max(key) FROM (SELECT {key} AS key FROM {self._source.seen}"
            f" AND {key} > :after AND {key} <= :upto"
            f" ORDER BY {key} LIMIT :most)",
            {**self.arguments, "after": after, "upto": upto, "most": most},
        )
        if not seen:
            return Chosen([], None, 0)
        rows = self._run(
            f"SELECT {key} FROM {self._source.tables} WHERE {self._some}"
            f" ORDER BY {key} LIMIT :limit",
            {**self.arguments, "low": after + 1, "high": high, "limit": limit},
        )
        keys = [key for (key,) in rows]
        if len(keys) == limit:  # Those behind the last one are for the next look.
            [(seen,)] = self._run(
                f"SELECT count(*) FROM {self._source.seen} AND {key} > :after AND {key} <= :last",
                {**self.arguments, "after": after, "last": keys[-1]},
            )
            return Chosen(keys, keys[-1], seen)
        return Chosen(keys, high if seen == most else None, seen)

    @property
    def _some(self) -> str:
        assert self._source is not None
        return (
            f"{self._source.where} AND {self._source.key} BETWEEN :low AND :high"
            f" AND {self._condition}"
        )

    def _newest(self, cursor: str | None, most: int) -> Range:
        before = MOST_KEY if cursor is None else read_cursor(cursor)
        if self._source is None:
            return Range(0, 0, 0, True)
        key = self._source.key
        [(seen, low)] = self._run(
            f"SELECT count(*), min(key) FROM (SELECT {key} AS key FROM {self._source.seen}"
            f" AND {key} < :before ORDER BY {key} DESC LIMIT :most)",
            {**self.arguments, "before": before, "most": most},
        )
        return Range(low or 0, before - 1, seen, seen < most)


def matching(which: Filter, now: int) -> tuple[str, dict[str, Any]]:
    """The condition for a job `j`, and its parameters."""
    conditions = ["true"]
    arguments: dict[str, Any] = {"now": now}
    if which.status is not None:
        conditions.append(STATUS[which.status])
    for name, condition in _CONDITIONS.items():
        value = getattr(which, name)
        if value is not None:
            conditions.append(condition)
            arguments[name] = value
    if which.text is not None:
        arguments["text"], arguments["escaped"] = needle(which.text)
        if which.unseen == "*":
            conditions.append(_NAMES)
        else:
            arguments["unseen"] = json.dumps(which.unseen)
            conditions.append(_TEXT.format(names=_NAMES, data=_SEEN if which.unseen else _DATA))
    return " AND ".join(conditions), arguments


def read_cursor(cursor: str) -> int:
    """The key before which a page begins.

    Raises:
        OptionError: it is none of ours.
    """
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise no_cursor(cursor)
    return int(cursor)


def _source(run: Any, which: Filter, arguments: dict[str, Any]) -> Source | None:
    """The narrowest that has all jobs that match; None: there are none."""
    if which.queue is not None:
        known = run("SELECT 1 FROM queue WHERE name = ?", (which.queue,))
        if known.fetchone() is None:  # No need to go through all others'.
            return None
    of_id = "SELECT 1 FROM job WHERE id = :text"
    if which.text is not None and is_id(arguments["text"]) and run(of_id, arguments).fetchone():
        return Source(_ALL, "j.id = :text")
    if which.workflow is not None:
        jobs = f"{_OF_FLOW} CROSS JOIN job AS j ON j.key = s.key"
        return Source(jobs, key="s.key", keys=_OF_FLOW)
    status = which.status
    if status is JobStatus.ACTIVE or which.worker is not None:
        return Source(_ACTIVE, "j.state = 1")
    if status is None:
        return Source(_ALL)
    if status.terminal:
        return Source(_ENDED, STATUS[status])
    if status is JobStatus.BLOCKED:
        return Source(_BLOCKED, STATUS[status])
    waiting = _WAITING[:1] if status is JobStatus.SCHEDULED else _WAITING
    of_queue = "" if which.queue is None else " AND queue = :queue"
    some = " UNION ALL ".join(one + of_queue for one in waiting)
    [(few,)] = run(
        f"SELECT count(*) <= :few FROM (SELECT 1 FROM ({some}) LIMIT :few + 1)",
        {**arguments, "few": FEW},
    )
    if few:
        keys = f"({some}) AS s"
        return Source(f"{keys} CROSS JOIN job AS j ON j.key = s.key", key="s.key", keys=keys)
    return Source(_ALL)
