"""Queues: how deep they are, and what holds them."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from backroom.web.call import Call
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of

__all__ = ["LimitForm", "limit", "pause", "queues", "resume"]


class LimitForm(msgspec.Struct, forbid_unknown_fields=True):
    most: int | None = None


async def queues(call: Call) -> Response:
    """All queues, and the limits beside them."""
    query: Asked = call.query
    stats = await call.looking.stats()
    limits = await call.looking.limits()
    return page(
        call,
        "queues.html",
        "queues",
        stats=stats,
        said=said_of(query),
        can_limit=True,
        limits={one.queue: one for one in limits if one.queue is not None},
        rates=limits,
    )


async def pause(call: Call) -> Response:
    """None of its jobs starts until it is resumed."""
    await call.operations.pause_queue(call.params["name"])
    return call.redirect("/queues", did="paused")


async def resume(call: Call) -> Response:
    """Ends that."""
    await call.operations.resume_queue(call.params["name"])
    return call.redirect("/queues", did="resumed")


async def limit(call: Call) -> Response:
    """At most so many of its jobs at once, over what code says; or what code says again."""
    form: LimitForm = call.body
    await call.operations.limit_queue(call.params["name"], form.most)
    return call.redirect("/queues", did="unlimited" if form.most is None else "limited")
