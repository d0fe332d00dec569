"""Failed jobs, grouped by what went wrong: the page for a night on which one thing broke."""

from __future__ import annotations

from starlette.responses import Response

from backroom.web.call import Call
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of

__all__ = ["failures"]


async def failures(call: Call) -> Response:
    """The groups of most jobs first."""
    query: Asked = call.query
    return page(
        call,
        "failures.html",
        "failures",
        stats=await call.looking.stats(),
        said=said_of(query),
        groups=await call.looking.failures(),
    )
