"""What people did: written down before it was done, and after."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlencode

from starlette.responses import Response

from backroom.action import ActionInfo
from backroom.web.call import Call
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of

__all__ = ["AuditQuery", "audit", "made_by", "target_of"]

PAGE = 100


class AuditQuery(Asked, kw_only=True, forbid_unknown_fields=True):
    actor: str | None = None
    verb: str | None = None
    cursor: str | None = None


async def audit(call: Call) -> Response:
    """Newest first; of one who did it, or of one kind."""
    query: AuditQuery = call.query
    found = await call.looking.actions(
        limit=PAGE, cursor=query.cursor, actor=query.actor, verb=query.verb
    )
    return page(
        call,
        "audit.html",
        "audit",
        stats=await call.looking.stats(),
        said=said_of(query),
        actions=found.actions,
        target_of=target_of,
        made_by=made_by,
        next=found.cursor,
        cursor=query.cursor,
        actor=query.actor,
        verb=query.verb,
    )


_PAGES: Final = {"job": "/jobs/", "schedule": "/schedules/", "workflow": "/workflows/"}
_LISTS: Final = {"queue": "queue", "worker": "worker"}
"""What has no page of its own, and the filter that finds its jobs."""


def target_of(action: ActionInfo) -> str | None:
    """Where that to which something was done can be looked at; None: nowhere."""
    if action.verb == "delete" and action.outcome == "done":
        return None
    if action.verb == "schedule":
        return f"/jobs?{urlencode({'type': action.target})}"
    kind, blank, name = action.target.partition(" ")
    if not blank:
        return None if action.target == "jobs" else _PAGES["job"] + quote(action.target, safe="")
    if kind in _LISTS:
        return f"/jobs?{urlencode({_LISTS[kind]: name})}"
    return _PAGES[kind] + quote(name) if kind in _PAGES else None


def made_by(action: ActionInfo) -> str | None:
    """Where the job that it has made can be looked at; None: it has made none."""
    kind, _, job_id = (action.reason or "").partition(" ")
    return _PAGES["job"] + quote(job_id) if action.outcome == "done" and kind == "job" else None
