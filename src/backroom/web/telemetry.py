"""Health, metrics, and figures for those who scale workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from starlette.responses import PlainTextResponse, Response

from backroom.crew import WorkerInfo
from backroom.figure import Percentiles
from backroom.health import troubles
from backroom.scaling import MOST, Demand, wanted_workers
from backroom.stats import JobStats, QueueStats
from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.problem import Problem
from backroom.web.route import Route

__all__ = ["routes"]

log = logging.getLogger("backroom.web")

FRESH: Final = 1.0
"""Seconds for which an answer about health holds: whoever asks more often costs nothing."""


LATELY: Final = 600.0
"""Seconds over which it is looked how long jobs take."""


async def live(call: Call) -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


class Readiness:
    """Whether the storage answers, asked once a second at most, however many want to know."""

    def __init__(self) -> None:
        self._asked_at = float("-inf")
        self._ready = False
        self._asking = asyncio.Lock()

    async def __call__(self, call: Call) -> Response:
        """The process can do its work: its storage answers, and the lease of its worker stands."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now - self._asked_at >= FRESH:
                found = await troubles(call.house.service)
                if found and self._ready:
                    log.warning("not ready: %s", "; ".join(found))
                self._ready, self._asked_at = not found, asyncio.get_running_loop().time()
        # No word of why: anybody may ask.
        return PlainTextResponse("ok\n" if self._ready else "not ready\n",
                                 200 if self._ready else 503)  # fmt: skip


async def metrics(call: Call) -> Response:
    """The figures for Prometheus, in its own format or as OpenMetrics."""
    try:
        from backroom.metrics import exposition
    except ImportError:
        raise Problem(
            501, "no-metrics", "install backroom[metrics] where this runs, for its figures"
        ) from None
    text, content_type = await exposition(
        call.house.service, call.request.headers.get("accept", "")
    )
    return Response(text, media_type=content_type, headers={"Cache-Control": "no-store"})


class Scope(msgspec.Struct, forbid_unknown_fields=True):
    """Of what is asked, and what a worker can do."""

    queue: str | None = None
    """One queue; without it, all."""
    slots: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    """Jobs that one worker runs at once; without it, as many as this service is told."""
    target: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 30.0
    """Seconds in which the backlog is to be done."""
    least: Annotated[int, msgspec.Meta(ge=0, le=MOST)] = 0
    most: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = MOST


class Autoscale(msgspec.Struct, frozen=True):
    """What there is to do, and how many workers it needs."""

    backlog: int
    """Jobs that are due and wait, of queues that are not paused."""
    active: int
    oldest_pending_seconds: float
    """For how long the oldest of them has been due; 0 if there is none."""
    workers: int
    """Those that live, and are not asked to drain."""
    seconds_per_job: float | None
    """The median of the last ten minutes; None: nothing ran."""
    wanted_workers: int


async def autoscale(call: Call) -> Autoscale:
    """Figures for an autoscaler, such as KEDA's `metrics-api`: scale on `wanted_workers`."""
    asked: Scope = call.query
    if asked.least > asked.most:
        raise Problem(422, "bad-query", "least is more than most", at="query.least")
    service = call.house.service
    stats = await service.get_stats()
    workers = await service.get_workers()
    lately = await service.get_history(LATELY, queue=asked.queue)
    demand = _demand(stats, asked.queue, datetime.now(UTC), workers, lately.running)
    wanted = wanted_workers(
        demand, slots=asked.slots or service.concurrency, target=asked.target,
        least=asked.least, most=asked.most,
    )  # fmt: skip
    return Autoscale(
        demand.backlog, demand.active, demand.oldest, demand.workers, demand.duration, wanted
    )


def _demand(
    stats: JobStats,
    queue: str | None,
    now: datetime,
    workers: Sequence[WorkerInfo],
    running: Percentiles,
) -> Demand:
    """A paused queue wants nobody, but what runs of it does."""
    named = [one for one in stats.queues if queue is None or one.name == queue]
    waiting = [one for one in named if not one.paused]
    return Demand(
        backlog=sum(one.pending for one in waiting),
        active=sum(one.active for one in named),
        oldest=max((_age(one, now) for one in waiting), default=0.0),
        workers=sum(one.alive and not one.draining for one in workers),
        duration=running.p50,
    )


def _age(queue: QueueStats, now: datetime) -> float:
    due = queue.oldest_pending
    return 0.0 if due is None else max(0.0, (now - due).total_seconds())


def routes() -> list[Route]:
    """None of them changes anything; health is for everybody, and says nothing but yes or no."""
    return [
        Route("GET", "/health/live", Role.PUBLIC, live, api=False, light=True),
        Route("GET", "/health/ready", Role.PUBLIC, Readiness(), api=False, light=True),
        Route("GET", "/metrics", Role.READ, metrics, api=False),
        Route("GET", "/api/v1/autoscale", Role.READ, autoscale, query=Scope, returns=Autoscale,
              tag="store"),
    ]  # fmt: skip
