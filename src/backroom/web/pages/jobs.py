"""The list of jobs: a filter, which is the address of the page, and what is done with many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.responses import Response

from backroom.errors import JobNotFoundError, JobStateError
from backroom.job import PRIORITIES, JobStatus, Priority
from backroom.stats import JobStats
from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.filters import JobKey, Moment
from backroom.web.pages.numbers import iso
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, back_to, said_of
from backroom.web.pages.verbs import verbs_for
from backroom.web.problem import Problem

__all__ = [
    "FILTER",
    "Field",
    "JobsQuery",
    "SelectedForm",
    "filter_of",
    "jobs",
    "query_of",
    "selected",
]

PAGE: Final = 50
"""Jobs on one page."""
MOST_SELECTED: Final = 200
_LIKE: Final = "2026-01-31T03:00Z"

FILTER: Final = (
    "status", "text", "type", "queue", "error", "tag", "priority", "worker", "workflow", "since",
    "until",
)  # fmt: skip
"""What a filter can say, in the order in which an address says it."""


class JobsQuery(Asked, kw_only=True, forbid_unknown_fields=True):
    status: JobStatus | None = None
    type: str | None = None
    queue: str | None = None
    tag: str | None = None
    error: str | None = None
    text: str | None = None
    priority: Priority | None = None
    worker: str | None = None
    workflow: str | None = None
    since: Moment | None = None
    until: Moment | None = None
    cursor: str | None = None


class SelectedForm(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is done with the jobs that were ticked on a page."""

    verb: Literal["retry", "cancel", "delete"]
    id: list[JobKey] = []
    back: str | None = None


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
    more: bool = False
    """It is folded away until it is wanted."""


def filter_of(query: msgspec.Struct) -> dict[str, Any]:
    """What is said of the filter."""
    said = {name: getattr(query, name) for name in FILTER}
    return {name: value for name, value in said.items() if value is not None}


async def jobs(call: Call) -> Response:
    """Jobs that match, newest first."""
    query: JobsQuery = call.query
    which = filter_of(query)
    stats = await call.looking.stats()
    shown = await call.looking.jobs(limit=PAGE, cursor=query.cursor, **which)
    types_known = call.service.known_types
    types = sorted({job.type for job in shown.jobs} | {known.name for known in types_known})
    kinds = sorted({group.kind for group in await call.looking.failures()})
    return page(
        call,
        "jobs.html",
        "jobs",
        stats=stats,
        said=said_of(query),
        jobs=shown.jobs,
        next=shown.cursor,
        cursor=query.cursor,
        looked_through=None if shown.complete else shown.looked_through,
        count=await call.looking.count(within=0.02, **which),
        filter=query,
        filtered=bool(which.keys() - {"status"}),
        fields=_fields(
            query, stats, types, kinds, call.house.redaction.searched(call.who, types_known)
        ),
        statuses=[status.value for status in JobStatus],
        by_status=dict(stats.by_status),
        bulk_verbs=verbs_for(call, query.status, filtered=bool(which)),
        with_filter=_with(which),
        back="/jobs" + _with(which)(),
    )


async def selected(call: Call) -> Response:
    """Each by itself: one that is in no state for it is left alone, and not counted."""
    form: SelectedForm = call.body
    if form.verb == "delete" and not call.may(Role.ADMIN):
        raise Problem(403, "role", "deleting jobs needs the role admin", at="body.verb")
    if len(form.id) > MOST_SELECTED:
        raise Problem(
            422, "too-many",
            f"at most {MOST_SELECTED} jobs are selected at once, got {len(form.id)}; for more, use"
            " the buttons that take all that match",
            at="body.id",
        )  # fmt: skip
    verbs: dict[str, Callable[[str], Awaitable[object]]] = {
        "retry": call.operations.retry_job,
        "cancel": call.operations.cancel_job,
        "delete": call.operations.delete_job,
    }
    changed = 0
    for job_id in form.id:
        with suppress(JobNotFoundError, JobStateError):
            await verbs[form.verb](job_id)
            changed += 1
    path, query = back_to(form.back, "/jobs")
    said = dict(parse_qsl(query))
    did = f"selected-{form.verb}" if form.id else "none"
    return call.redirect(path, **{**said, "did": did, "changed": changed})


def query_of(which: Mapping[str, Any]) -> str:
    """A filter as the query of an address; with the question mark, if there is one."""
    said = {
        name: iso(value) if isinstance(value, datetime) else value
        for name, value in which.items()
        if value is not None
    }
    return f"?{urlencode(said)}" if said else ""


def _with(which: Mapping[str, Any]) -> Callable[..., str]:
    """The filter as a query, with what is changed of it and put to it."""
    return lambda **changes: query_of({**which, **changes})


def _fields(
    query: JobsQuery, stats: JobStats, types: list[str], kinds: list[str], searched: str | None
) -> list[Field]:
    """`searched`: what a text is looked for in; None: this one may not search for texts."""
    queues = tuple(queue.name for queue in stats.queues)
    search = Field(
        "text", "Search", query.text, wide=True, search=True, key="/", input="search",
        placeholder=searched or "",
    )  # fmt: skip

    def moment(at: datetime | None) -> str | None:
        return None if at is None else iso(at)

    return [
        *([] if searched is None else [search]),
        Field(
            "type",
            "Type",
            query.type,
            tuple(types),
            search=searched is None,
            key="/" if searched is None else "",
            placeholder="texts in data are hidden from you" if searched is None else "",
        ),
        Field("queue", "Queue", query.queue, queues),
        Field("error", "Kind of error", query.error, tuple(kinds)),
        Field("tag", "Tag", query.tag),
        Field("priority", "Priority", query.priority, PRIORITIES, strict=True, more=True),
        Field(
            "since", "Made since", moment(query.since), placeholder="2026-01-31T03:00Z", more=True
        ),
        Field(
            "until", "Made before", moment(query.until), placeholder="2026-01-31T04:00Z", more=True
        ),
        *(
            Field(name, name.capitalize(), getattr(query, name), more=True)
            for name in ("worker", "workflow")
        ),
    ]
