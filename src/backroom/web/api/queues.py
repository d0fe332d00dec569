"""Queues: how much waits in them, and since when; pause, resume and limit."""

from __future__ import annotations

from typing import Annotated

import msgspec

from backroom.stats import QueueStats
from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.problem import Problem
from backroom.web.route import Route

__all__ = ["routes"]


async def list_queues(call: Call) -> tuple[QueueStats, ...]:
    """Every queue that has ever held a job, or is paused."""
    return (await call.looking.stats()).queues


async def get_queue(call: Call) -> QueueStats:
    """One queue."""
    name = call.params["name"]
    for queue in (await call.looking.stats()).queues:
        if queue.name == name:
            return queue
    raise Problem(404, "not-found", f"no queue is called {name!r}: none of its jobs was ever here",
                  at="path.name")  # fmt: skip


async def pause_queue(call: Call) -> None:
    """No job of this queue is started, by any worker, until it is resumed."""
    await call.operations.pause_queue(call.params["name"])


async def resume_queue(call: Call) -> None:
    """Ends a pause."""
    await call.operations.resume_queue(call.params["name"])


class LimitQueue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many of its jobs may run at once; null: as code says."""

    most: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None


async def limit_queue(call: Call) -> None:
    """At most so many jobs of this queue run at once, across all workers, whatever code says."""
    body: LimitQueue = call.body
    await call.operations.limit_queue(call.params["name"], body.most)


def routes() -> list[Route]:
    return [
        Route("GET", "/api/v1/queues", Role.READ, list_queues, returns=tuple[QueueStats, ...],
              tag="queues"),
        Route("GET", "/api/v1/queues/{name:path}", Role.READ, get_queue, returns=QueueStats,
              tag="queues"),
        Route("POST", "/api/v1/queues/{name:path}/pause", Role.OPERATE, pause_queue, tag="queues"),
        Route("POST", "/api/v1/queues/{name:path}/resume", Role.OPERATE, resume_queue,
              tag="queues"),
        Route("POST", "/api/v1/queues/{name:path}/limit", Role.OPERATE, limit_queue,
              body=LimitQueue, tag="queues"),
    ]  # fmt: skip
