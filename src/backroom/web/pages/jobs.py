"""The list of jobs: a filter, which is the address of the page, and what is done with many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from backroom.job import JobStats, JobStatus
from backroom.web.call import Call
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of

__all__ = ["FILTER", "JobsQuery", "filter_of", "jobs"]

PAGE: Final = 50
"""Jobs on one page."""

FILTER: Final = ("status", "type", "queue", "tag")
"""What a filter can say, in the order in which an address says it."""


class JobsQuery(Asked, kw_only=True, forbid_unknown_fields=True):
    status: JobStatus | None = None
    type: str | None = None
    queue: str | None = None
    tag: str | None = None
    cursor: str | None = None


class Field(msgspec.Struct, frozen=True):
    """One field of the filter."""

    name: str
    label: str
    value: str | None
    options: tuple[str, ...] | None = None
    strict: bool = False
    """Only its options can be said."""
    wide: bool = False
    search: bool = False
    """Where the key for searching leads."""
    key: str = ""
    input: str = "text"
    placeholder: str = ""


def filter_of(query: msgspec.Struct) -> dict[str, str]:
    """What is said of the filter."""
    said = {name: getattr(query, name) for name in FILTER}
    return {name: str(value) for name, value in said.items() if value is not None}


async def jobs(call: Call) -> Response:
    """Jobs that match, newest first."""
    query: JobsQuery = call.query
    which = filter_of(query)
    stats = await call.looking.stats()
    shown = await call.looking.jobs(limit=PAGE, cursor=query.cursor, **which)
    types = sorted({job.type for job in shown.jobs} | set(call.service.handled_types))
    return page(
        call,
        "jobs.html",
        "jobs",
        stats=stats,
        said=said_of(query),
        jobs=shown.jobs,
        next=shown.cursor,
        cursor=query.cursor,
        looked_through=None,
        count=None,
        filter=query,
        filtered=bool(which.keys() - {"status"}),
        fields=_fields(query, stats, types),
        statuses=[status.value for status in JobStatus],
        by_status=dict(stats.by_status),
        bulk_verbs=(),
        with_filter=_with(which),
        back="/jobs" + _with(which)(),
    )


def _with(which: Mapping[str, str]) -> Callable[..., str]:
    """The filter as a query string, with what is changed of it and put to it."""

    def make(**changes: Any) -> str:
        said = {name: value for name, value in {**which, **changes}.items() if value is not None}
        return f"?{urlencode(said)}" if said else ""

    return make


def _fields(query: JobsQuery, stats: JobStats, types: list[str]) -> list[Field]:
    queues = tuple(queue.name for queue in stats.queues)
    return [
        Field("type", "Type", query.type, tuple(types), wide=True, search=True, key="/"),
        Field("queue", "Queue", query.queue, queues),
        Field("tag", "Tag", query.tag),
    ]
