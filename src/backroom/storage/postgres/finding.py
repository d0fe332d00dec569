"""Which jobs people mean, in SQL, and looks that go through some of the jobs at a time.

A look goes along the ids, newest first, in the narrowest table that has them in that order, and
says where it ended: so it takes as long as the jobs that it went through, however many there are,
and whatever is looked for. Its statement is made for what is looked for; all values are bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from backroom.inspecting import Filter
from backroom.job import JobStatus, State
from backroom.storage.matching import is_id, needle
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import to_text

__all__ = ["FIRST", "Finder", "Found", "identity"]

FIRST: Final = UUID(int=0)
LAST: Final = UUID(int=2**128 - 1)
FEW: Final = 10_000
"""Waiting jobs that are sorted to be seen in order; where there are more, all jobs are gone
through, of which these are a good part then."""

_READY: Final = """(SELECT true FROM {ready} AS r
    WHERE r.queue = j.queue AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id
    LIMIT 1)"""
_PARKED: Final = """(SELECT true FROM {parked} AS p WHERE p.queue = j.queue AND p.type = j.type
    AND p.priority = j.priority AND p.run_at = j.run_at AND p.id = j.id LIMIT 1)"""
_ENDED: Final = "(SELECT o.state FROM {ended} AS o WHERE o.id = j.id LIMIT 1)"
_HELD: Final = "(SELECT true FROM {held} AS h WHERE j.id = ANY(h.ids) LIMIT 1)"
_ASKED: Final = "(SELECT true FROM {cancels} AS c WHERE c.id = j.id LIMIT 1)"
_STATUS: Final = {
    JobStatus.SCHEDULED: f"j.run_at > $1 AND {_READY}",
    JobStatus.PENDING: f"(j.run_at <= $1 AND {_READY} OR {_PARKED})",
    JobStatus.BLOCKED: """((SELECT true FROM {waiting} AS w WHERE w.id = j.id LIMIT 1)
        OR (SELECT true FROM {blocked} AS b WHERE b.id = j.id AND b.called_at IS NULL LIMIT 1))""",
    JobStatus.ACTIVE: _HELD,
    JobStatus.COMPLETED: f"{_ENDED} = 2",
    JobStatus.FAILED: f"{_ENDED} = 3",
    JobStatus.CANCELLED: f"{_ENDED} = 4",
}
# "C": letters of the alphabet alone, whatever the database knows of languages. What stands in the
# options is looked at as JSON only where its text has it.
_NAMES: Final = """(
    strpos(j.id::text, {text}) > 0 OR strpos(lower(j.type COLLATE "C"), {text}) > 0)"""
_DATA: Final = """(
    strpos(lower(j.data COLLATE "C"), {text}) > 0
    OR strpos(lower(j.data COLLATE "C"), {escaped}) > 0)"""
_TEXT: Final = """({names} OR {data}
    OR strpos(lower(j.unique_key COLLATE "C"), {text}) > 0
    OR CASE WHEN strpos(lower(j.options COLLATE "C"), {escaped}) > 0 THEN
        EXISTS (SELECT FROM json_array_elements_text(j.options::json->'tags') AS t (tag)
                WHERE strpos(lower(t.tag COLLATE "C"), {text}) > 0)
        OR strpos(lower((j.options::json->'unique_key')::text COLLATE "C"), {escaped}) > 0
        ELSE false END
    OR strpos(lower(coalesce((SELECT coalesce(o.reason, '') FROM {{ended}} AS o WHERE o.id = j.id
                              LIMIT 1), j.reason) COLLATE "C"), {text}) > 0)
"""
_CONDITIONS: Final = {
    "type": "j.type = {}",
    "queue": "j.queue = {}",
    "priority": "j.priority = {}",
    "since": "j.created_at >= {}",
    "until": "j.created_at < {}",
    "tag": "(j.options::json->'tags')::jsonb @> to_jsonb({}::text)",
    "workflow": "(SELECT m.flow FROM {{members}} AS m WHERE m.job = j.id LIMIT 1) = {}",
    "worker": """(SELECT true FROM {{held}} AS h JOIN {{workers}} AS w ON w.id = h.worker
        WHERE j.id = ANY(h.ids) AND w.name = {} LIMIT 1)""",
    "error": """(SELECT x.kind FROM {{errors}} AS x WHERE x.job = j.id
        ORDER BY x.seq DESC LIMIT 1) = {}""",
}
_ALL: Final = "{jobs} AS s"
_OF_WORKERS: Final = "(SELECT i.id FROM {held} AS h, unnest(h.ids) AS i (id)) AS s"
# Either may be long: of each the next ones, in order.
_OF_BLOCKED: Final = """(
    (SELECT s.id FROM {waiting} AS s WHERE @bound ORDER BY s.id @order LIMIT @most)
    UNION ALL (SELECT s.id FROM {blocked} AS s WHERE s.called_at IS NULL AND @bound
               ORDER BY s.id @order LIMIT @most)) AS s"""


class Found(NamedTuple):
    """What a look has found, and where it ended."""

    ids: list[Any]
    following: Any
    """Where the next look goes on; None: there is nothing behind this one."""
    seen: int


def identity(job_id: str) -> UUID | None:
    """The id as the tables hold it; None for what cannot be one."""
    try:
        read = UUID(job_id)
    except (ValueError, AttributeError, TypeError):
        return None
    return read if str(read) == job_id else None


class Finder:
    """Looks for the jobs that a filter means."""

    def __init__(
        self, link: Any, statements: Statements, which: Filter, now: int, *more: str
    ) -> None:
        """`more`: what else must be so of a job `j`."""
        self._link = link
        self._statements = statements
        self._which = which
        self._arguments: list[Any] = [now]
        self._conditions = ["$1::bigint IS NOT NULL", *more]
        self._never = False
        for name, condition in _CONDITIONS.items():
            value = getattr(which, name)
            if value is not None:
                self._conditions.append(condition.format(self._bind(self._kept(name, value))))
        if which.text is not None:
            text, escaped = map(to_text, needle(which.text))
            self._text = text
            self._conditions.append(self._has(text, escaped, which.unseen))

    def _has(self, text: str, escaped: str, unseen: tuple[str, ...] | Literal["*"]) -> str:
        """That a job has a text in it."""
        where = {"text": self._bind(text)}
        names = _NAMES.format(**where)
        if unseen == "*":
            return names
        where["escaped"] = self._bind(escaped)
        data = _DATA.format(**where)
        if unseen:
            self._arguments.append([to_text(one) for one in unseen])
            data = f"(j.type <> ALL(${len(self._arguments)}::text[]) AND {data})"
        return _TEXT.format(names=names, data=data, **where)

    def _kept(self, name: str, value: Any) -> Any:
        if name == "workflow":
            flow = identity(value)
            self._never = flow is None
            return flow
        return to_text(value) if isinstance(value, str) and name != "tag" else value

    def _bind(self, value: Any) -> str:
        self._arguments.append(value)
        number = f"${len(self._arguments)}"
        if isinstance(value, str):
            return f"{number}::text"
        return f"{number}::{'uuid' if isinstance(value, UUID) or value is None else 'bigint'}"

    async def newest(self, before: Any, limit: int, most: int) -> Found:
        """Of the next `most` jobs, newest first, the first `limit` that match."""
        bound = "s.id < " + self._bind(LAST if before is None else before)
        found = await self._look(bound, limit, most, down=True)
        found.ids.sort(reverse=True)
        return found

    async def oldest(self, after: Any, upto: Any, limit: int, most: int) -> Found:
        """The same, oldest first, behind one job and up to another."""
        bound = f"s.id > {self._bind(after)} AND s.id <= {self._bind(upto)}"
        found = await self._look(bound, limit, most, down=False)
        found.ids.sort()
        return found

    async def count(self, before: Any, most: int) -> tuple[int, Found]:
        """How many of the next `most` jobs match."""
        bound = "s.id < " + self._bind(LAST if before is None else before)
        found = await self._look(bound, most + 1, most, down=True)
        return len(found.ids), found

    async def matching(self, ids: Sequence[Any]) -> list[Any]:
        """Those of these jobs that match."""
        if self._never:
            return []
        self._conditions += self._of_status(None)
        text = (
            f"SELECT s.id FROM unnest(${len(self._arguments) + 1}::uuid[]) AS s (id)"
            " CROSS JOIN LATERAL"
            " (SELECT * FROM {jobs} AS o WHERE o.id = s.id LIMIT 1) AS j"
            f" WHERE {' AND '.join(self._conditions)}"
        )
        rows = await self._link.fetch(self._statements.named(text), *self._arguments, list(ids))
        return [row[0] for row in rows]

    async def _look(self, bound: str, limit: int, most: int, *, down: bool) -> Found:
        if self._never:
            return Found([], None, 0)
        source, implied = await self._source()
        conditions = [*self._conditions, *self._of_status(implied)]
        if len(conditions) == 1:  # All that it looks at match: these, and whether there are more.
            most = min(most, limit + 1)
        most_, limit_ = self._bind(most), self._bind(limit)
        order, upto, back = ("DESC", ">=", "") if down else ("", "<=", "DESC")
        for place, value in (("@bound", bound), ("@order", order), ("@most", most_)):
            source = source.replace(place, value)
        # Of so many, those behind the last one that was found were not seen.
        text = f"""
            WITH seen AS MATERIALIZED (
                SELECT s.id FROM {source} WHERE {bound} ORDER BY s.id {order} LIMIT {most_}
            ), found AS MATERIALIZED (
                SELECT s.id FROM seen AS s
                CROSS JOIN LATERAL (SELECT * FROM {{jobs}} AS o WHERE o.id = s.id LIMIT 1) AS j
                WHERE {" AND ".join(conditions)} LIMIT {limit_}
            )
            SELECT ARRAY(SELECT id FROM found) AS ids, f.last,
                   (SELECT count(*) FROM seen AS s WHERE f.last IS NULL OR s.id {upto} f.last),
                   (SELECT count(*) FROM seen),
                   (SELECT id FROM seen ORDER BY id {back} LIMIT 1)
            FROM (SELECT CASE WHEN count(*) = {limit_} THEN (
                SELECT id FROM found ORDER BY id {back} LIMIT 1) END AS last FROM found) AS f"""
        [row] = await self._link.fetch(self._statements.named(text), *self._arguments)
        ids, last, seen, had, end = row
        if last is not None:
            return Found(list(ids), last if had == most or seen < had else None, seen)
        return Found(list(ids), end if had == most else None, seen)

    def _of_status(self, implied: JobStatus | None) -> list[str]:
        status = self._which.status
        return [] if status is None or status is implied else [_STATUS[status]]

    async def _source(self) -> tuple[str, JobStatus | None]:
        """The narrowest that has all jobs that match, and of which status they all are there."""
        which, status = self._which, self._which.status
        if which.text is not None and is_id(self._text):
            row = await self._link.fetch(
                self._statements.named("SELECT id FROM {jobs} WHERE id = $1::uuid"),
                UUID(self._text),
            )
            if row:
                return f"(SELECT {self._bind(UUID(self._text))} AS id) AS s", None
        if which.workflow is not None:
            flow = self._bind(identity(which.workflow))
            return f"(SELECT job AS id FROM {{members}} WHERE flow = {flow}) AS s", None
        if status is JobStatus.ACTIVE or which.worker is not None:
            return _OF_WORKERS, JobStatus.ACTIVE
        if status is JobStatus.BLOCKED:
            return _OF_BLOCKED, status
        if status in (JobStatus.FAILED, JobStatus.CANCELLED):
            state = State.FAILED if status is JobStatus.FAILED else State.CANCELLED
            return f"(SELECT id FROM {{ended}} WHERE state = {state:d} AND state > 2) AS s", status
        if status is JobStatus.COMPLETED:
            return "{ended} AS s", None
        if status is not None and await self._few():
            return self._waiting(self._bind), None
        return _ALL, None

    async def _few(self) -> bool:
        arguments: list[Any] = []

        def bind(value: str) -> str:
            arguments.append(value)
            return f"${len(arguments)}::text"

        text = f"SELECT count(*) FROM (SELECT FROM {self._waiting(bind)} LIMIT {FEW + 1}) AS few"
        [(few,)] = await self._link.fetch(self._statements.named(text), *arguments)
        return bool(few <= FEW)

    def _waiting(self, bind: Any) -> str:
        queue = self._which.queue
        where = "" if queue is None else f" WHERE queue = {bind(to_text(queue))}"
        parked = f" UNION ALL SELECT id FROM {{parked}}{where}"
        return (
            f"(SELECT id FROM {{ready}}{where}"
            f"{parked if self._which.status is JobStatus.PENDING else ''}) AS s"
        )
