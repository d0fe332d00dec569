"""The first page: what is wrong, if anything is, and how much of everything there is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from starlette.responses import Response

from backroom.history import History
from backroom.job import JobStatus
from backroom.stats import JobStats
from backroom.web.call import Call
from backroom.web.pages import numbers, texts
from backroom.web.pages.charts import charts_of
from backroom.web.pages.jobs import Field, query_of
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of

__all__ = ["OverviewQuery", "overview"]

SPANS: Final = {"1h": ("1 h", 3600), "24h": ("24 h", 86_400), "7d": ("7 d", 604_800)}
"""What can be looked back on: its name, and its seconds."""
LONG: Final = timedelta(minutes=5)
"""A job that is due and has waited longer than this is worth a word."""


Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class OverviewQuery(Asked, kw_only=True, forbid_unknown_fields=True):
    last: Literal["1h", "24h", "7d"] = "1h"
    queue: Name | None = None
    type: Name | None = None


class Tile(msgspec.Struct, frozen=True):
    name: str
    number: str
    link: str
    tone: str = ""


class Alarm(msgspec.Struct, frozen=True):
    """Something that somebody should look at, and where."""

    text: str
    link: str
    link_text: str
    tone: Literal["warn", "bad"] = "warn"


async def overview(call: Call) -> Response:
    """What is going on: counts, queues, workers, failures."""
    query: OverviewQuery = call.query
    stats = await call.looking.stats()
    history = await call.service.get_history(
        SPANS[query.last][1], queue=query.queue, type=query.type
    )
    failures = await call.looking.failures(10)
    queues = tuple(one.name for one in stats.queues)
    types = tuple(sorted({known.name for known in call.service.known_types}))
    alarms = alarms_of(stats, datetime.now(UTC))
    return page(
        call,
        "overview.html",
        "overview",
        stats=stats,
        said=said_of(query),
        draws=True,
        spans=[(key, name) for key, (name, _) in SPANS.items()],
        last=query.last,
        alarms=alarms,
        worst="bad" if any(alarm.tone == "bad" for alarm in alarms) else "warn",
        tiles=tiles_of(stats),
        charts=charts_of(history, of_type=query.type is not None),
        fields=[
            Field("queue", "Queue", query.queue, queues, placeholder="all"),
            Field("type", "Type", query.type, types, placeholder="all"),
        ],
        filtered=query.queue is not None or query.type is not None,
        with_filter=lambda **said: query_of({"queue": query.queue, "type": query.type, **said}),
        failures=failures,
        unknown=unknown_of(query, queues, types, history),
    )


def unknown_of(
    query: OverviewQuery, queues: Sequence[str], types: Sequence[str], history: History
) -> str | None:
    """What the filter names that is not there, and of which nothing was counted; None: all is."""
    counted = any(
        point.scheduled or point.completed or point.failed or point.retried or point.cancelled
        or point.put_off or point.rescued or (query.queue is not None and point.depth)
        for point in history.points
    )  # fmt: skip
    if counted:
        return None
    missing: list[str] = []
    if query.queue is not None and query.queue not in queues:
        missing.append(f"There is no queue {texts.plain(query.queue)}.")
    if query.type is not None and query.type not in types:
        missing.append(f"No job type {texts.plain(query.type)} is known here.")
    return " ".join([*missing, "Nothing was counted of it in this time."]) if missing else None


def tiles_of(stats: JobStats) -> list[Tile]:
    """The counts of all states, as links to their jobs."""
    found: list[Tile] = []
    for status in JobStatus:
        number = stats.by_status.get(status, 0)
        tone = "bad" if status is JobStatus.FAILED and number else ""
        name = status.value.capitalize()
        found.append(Tile(name, numbers.count(number), f"/jobs?status={status.value}", tone))
    return found


def alarms_of(stats: JobStats, now: datetime) -> list[Alarm]:
    """What an operator is woken for, the worst first."""
    waiting = stats.by_status.get(JobStatus.PENDING, 0)
    found: list[Alarm] = []
    if waiting and not stats.workers:
        found.append(
            Alarm(
                f"No worker is alive, and {numbers.count(waiting)} jobs wait.",
                "/workers", "How to start one", "bad",
            )
        )  # fmt: skip
    elif waiting and all(worker.draining for worker in stats.workers):
        found.append(
            Alarm(
                f"All workers drain, and {numbers.count(waiting)} jobs wait.",
                "/workers", "Resume one", "bad",
            )
        )  # fmt: skip
    for queue in stats.queues:
        if queue.paused and queue.pending:
            found.append(
                Alarm(
                    f"The queue {queue.name} is paused, and {numbers.count(queue.pending)} of its"
                    " jobs wait.",
                    "/queues", "To the queues",
                )
            )  # fmt: skip
        elif queue.oldest_pending is not None and now - queue.oldest_pending > LONG:
            waits = numbers.seconds(now - queue.oldest_pending)
            found.append(
                Alarm(f"A job of the queue {queue.name} has been due for {waits}.",
                      "/jobs?status=pending", "Jobs that wait")
            )  # fmt: skip
    found += [
        Alarm(
            f"{numbers.count(parked.jobs)} jobs of the type {parked.name} wait for a worker that"
            " knows it.",
            "/jobs?status=pending", "Jobs that wait",
        )
        for parked in stats.parked[:5]
    ]  # fmt: skip
    return sorted(found, key=lambda alarm: alarm.tone != "bad")[:8]
