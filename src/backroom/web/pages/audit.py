"""What people did: written down before it was done, and after."""

from __future__ import annotations

from starlette.responses import Response

from backroom.web.call import Call
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of

__all__ = ["AuditQuery", "audit"]

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
        next=found.cursor,
        cursor=query.cursor,
        actor=query.actor,
        verb=query.verb,
    )
