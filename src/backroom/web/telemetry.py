"""Health, metrics, and figures for those who scale workers."""

from __future__ import annotations

from starlette.responses import PlainTextResponse, Response

from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.route import Route

__all__ = ["routes"]


async def live(call: Call) -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


def routes() -> list[Route]:
    return [
        Route("GET", "/health/live", Role.PUBLIC, live, api=False),
    ]
