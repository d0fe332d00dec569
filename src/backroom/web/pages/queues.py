"""Queues: how deep they are, and what holds them."""

from __future__ import annotations

from starlette.responses import Response

from backroom.web.call import Call
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of

__all__ = ["pause", "queues", "resume"]


async def queues(call: Call) -> Response:
    """All queues, and the limits beside them."""
    query: Asked = call.query
    stats = await call.looking.stats()
    return page(
        call,
        "queues.html",
        "queues",
        stats=stats,
        said=said_of(query),
        can_limit=False,
        limits={},
        rates=await call.looking.limits(),
    )


async def pause(call: Call) -> Response:
    """None of its jobs starts until it is resumed."""
    await call.operations.pause_queue(call.params["name"])
    return call.redirect("/queues", did="paused")


async def resume(call: Call) -> Response:
    """Ends that."""
    await call.operations.resume_queue(call.params["name"])
    return call.redirect("/queues", did="resumed")
