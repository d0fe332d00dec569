"""Workers: who is alive, and what each runs right now."""

from __future__ import annotations

from datetime import datetime

import msgspec
from starlette.responses import Response

from backroom.web.call import Call
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of

__all__ = ["workers"]


class Worker(msgspec.Struct, frozen=True):
    id: str
    name: str
    started_at: datetime
    claimed: int
    alive: bool = True
    draining: bool = False
    report: None = None


async def workers(call: Call) -> Response:
    """All that have enlisted and have not ended."""
    query: Asked = call.query
    stats = await call.looking.stats()
    workers = [Worker(one.name, one.name, one.started_at, one.active) for one in stats.workers]
    return page(call, "workers.html", "workers", stats=stats, said=said_of(query), workers=workers)
