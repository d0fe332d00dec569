"""Templates -> pages: what every page has, and the words that templates use."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

from backroom.job import JobStatus
from backroom.stats import JobStats
from backroom.web.access import Role
from backroom.web.assets import asset_url
from backroom.web.call import Call
from backroom.web.pages import numbers, texts
from backroom.web.pages.saying import Said

__all__ = ["compile_templates", "page"]


OURS: Final = "Backroom-Page"
"""A header of every page, by which a script knows that it was not a proxy that answered."""


class _Page(msgspec.Struct, frozen=True):
    """An entry of the list of pages."""

    key: str
    name: str
    path: str
    badge: str = ""
    tone: str = ""
    means: str = ""


_PAGES: Final = (
    _Page("overview", "Overview", "/"),
    _Page("jobs", "Jobs", "/jobs"),
    _Page("failures", "Failures", "/failures"),
    _Page("queues", "Queues", "/queues"),
    _Page("workers", "Workers", "/workers"),
    _Page("schedules", "Schedules", "/schedules"),
    _Page("workflows", "Workflows", "/workflows"),
    _Page("audit", "Audit", "/audit"),
)


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("backroom.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        visible=texts.visible,
        plain=texts.plain,
        compact_json=texts.compact_json,
        first_line=texts.first_line,
        paint_json=texts.paint_json,
        count=numbers.count,
        short=numbers.short,
        seconds=numbers.seconds,
        memory=numbers.memory,
        moment=numbers.moment,
        clock=numbers.clock,
        iso=numbers.iso,
        urlpart=texts.urlpart,
    )
    return made


_templates: Final = _environment()


def compile_templates() -> None:
    """All of them, once in a process, so that nobody's first look waits for it, and no other
    request behind it. Takes some tenths of a second."""
    for name in _templates.list_templates():
        _templates.get_template(name)


def page(
    call: Call,
    template: str,
    here: str = "",
    *,
    stats: JobStats | None = None,
    said: Said | None = None,
    status: int = 200,
    draws: bool = False,
    events: str = "/api/v1/events",
    **context: Any,
) -> Response:
    """One page for this one who asks.

    Args:
        here: the key of the page in the list of pages.
        stats: for the numbers beside that list.
        said: what was done, or refused, just before.
        draws: it has charts.
        events: what tells it that something has changed; empty: it is not looked at again.
    """
    now = datetime.now(UTC)
    text = _templates.get_template(template).render(
        url=lambda path: _address(call, path),
        static=lambda name: asset_url(call, name),
        ago=lambda at: numbers.ago(at, now),
        now=now,
        who=call.who,
        title=call.house.title,
        pages=_numbered(stats),
        here=here,
        events=events,
        said=said,
        draws=draws,
        signed_out=call.who.role is Role.PUBLIC,
        can_operate=call.may(Role.OPERATE),
        can_delete=call.may(Role.ADMIN),
        stats=stats,
        **context,
    )
    body = text.encode("utf-8", "backslashreplace")
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-store, private", OURS: "1"}
    return Response(body, status, headers, media_type="text/html")


def _address(call: Call, path: str) -> str:
    """Of a path of ours; behind a question mark stands a query that is encoded already."""
    before, mark, query = path.partition("?")
    return call.url(before) + mark + query


def _numbered(stats: JobStats | None) -> Sequence[_Page]:
    if stats is None:
        return _PAGES
    failed = stats.by_status.get(JobStatus.FAILED, 0)
    paused = sum(queue.paused for queue in stats.queues)
    claims = any(not worker.draining for worker in stats.workers)
    badges = {
        "failures": (failed, "bad", "failed jobs"),
        "queues": (paused, "warn", "paused"),
        "workers": (len(stats.workers), *(("", "alive") if claims else ("warn", "draining"))),
    }
    numbered: list[_Page] = []
    for one in _PAGES:
        number, tone, means = badges.get(one.key, (0, "", ""))
        if number:
            one = msgspec.structs.replace(one, badge=numbers.short(number), tone=tone, means=means)
        numbered.append(one)
    return numbered
