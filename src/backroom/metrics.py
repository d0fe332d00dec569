"""Figures for Prometheus: of the whole store, and of this process. Extra `backroom[metrics]`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from backroom import __version__
from backroom.crew import WorkerInfo
from backroom.figure import Histogram
from backroom.history import Totals
from backroom.schedule import ScheduleInfo
from backroom.service import JobService
from backroom.sizes import BOUNDS, Sizes
from backroom.stats import JobStats

__all__ = ["MOST_QUEUES", "MOST_SCHEDULES", "Slots", "exposition"]

MOST_QUEUES: Final = 500
"""Queues that are told by name; of more, `backroom_queues_left_out` says how many are missing."""
MOST_SCHEDULES: Final = 500


class Slots(msgspec.Struct, frozen=True):
    """The slots of one group of queues in this process."""

    queues: str
    """For people: "all queues", or their names."""
    slots: int
    taken: int


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """All that is told at one moment."""

    now: datetime
    stats: JobStats
    totals: Sequence[Totals]
    workers: Sequence[WorkerInfo]
    schedules: Sequence[ScheduleInfo]
    slots: Sequence[Slots]
    commits: Sizes


async def exposition(service: JobService, accept: str = "") -> tuple[bytes, str]:
    """The figures as text, and its content type, which `accept` (the HTTP header) chooses:
    that of Prometheus, or OpenMetrics.

    What is told of the store is the same whichever process tells it: one scraper of one web
    process, or of one worker, is enough. Those named `backroom_process_...` are of this process.

    Raises:
        StorageError: the storage did not answer.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(await _look(service)))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


async def _look(service: JobService) -> Picture:
    stats = await service.get_stats()
    planning = service.storage.capabilities.planning
    schedules = await service.get_schedules() if planning else []
    return Picture(
        now=datetime.now(UTC),
        stats=stats,
        totals=await service.get_totals(),
        workers=await service.get_workers(),
        schedules=schedules,
        slots=[Slots(name, slots, taken) for name, slots, taken in service.slots],
        commits=service.storage.commits,
    )


class _Collector:
    """What the client library asks for metrics."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def collect(self) -> Iterable[Metric]:
        picture = self._picture
        yield from _of_store(picture.stats, picture.now)
        yield from _of_totals(picture.totals)
        yield from _of_workers(picture.workers)
        yield from _of_schedules(picture.schedules, picture.now)
        yield from _of_process(picture.slots, picture.commits)


def _of_store(stats: JobStats, now: datetime) -> Iterable[Metric]:
    jobs = GaugeMetricFamily(
        "backroom_jobs", "Jobs in the store, by status.", labels=["status"]
    )  # fmt: skip
    for status, count in stats.by_status.items():
        jobs.add_metric([status], count)
    yield jobs
    depth = GaugeMetricFamily(
        "backroom_queue_jobs", "Jobs of a queue that have not ended, by status.",
        labels=["queue", "status"],
    )  # fmt: skip
    oldest = GaugeMetricFamily(
        "backroom_queue_oldest_pending_seconds",
        "For how long the longest waiting job of a queue has been due; 0 if none is.",
        labels=["queue"],
    )
    paused = GaugeMetricFamily(
        "backroom_queue_paused", "Whether a queue is paused.", labels=["queue"]
    )
    for queue in stats.queues[:MOST_QUEUES]:
        for status in ("scheduled", "pending", "blocked", "active"):
            depth.add_metric([queue.name, status], getattr(queue, status))
        due = queue.oldest_pending
        oldest.add_metric([queue.name], 0 if due is None else max(0.0, (now - due).total_seconds()))
        paused.add_metric([queue.name], queue.paused)
    yield from (depth, oldest, paused)
    yield GaugeMetricFamily(
        "backroom_queues_left_out",
        f"Queues that are not told of, beyond the first {MOST_QUEUES}.",
        max(0, len(stats.queues) - MOST_QUEUES),
    )
    unknown = GaugeMetricFamily(
        "backroom_unknown_type_jobs", "Jobs that wait for a worker that knows their type.",
        labels=["type"],
    )  # fmt: skip
    for type_, count in stats.unknown_types.items():
        unknown.add_metric([type_], count)
    yield unknown


COUNTS: Final = {
    "scheduled": "Jobs that were made.",
    "completed": "Jobs that completed.",
    "failed": "Jobs that are out of retries.",
    "retried": "Attempts that failed, whose job is tried again.",
    "cancelled": "Jobs that were cancelled under a worker.",
    "rescued": "Jobs that were taken back from workers that had died.",
}
SECONDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
    3600.0, 21_600.0, 86_400.0,
)  # fmt: skip
"""The bounds of the buckets of durations."""


def _of_totals(totals: Sequence[Totals]) -> Iterable[Metric]:
    """What became of jobs since the store began to count, as workers have told it."""
    labels = ["queue", "type"]
    for name, help_ in COUNTS.items():
        counter = CounterMetricFamily(f"backroom_jobs_{name}", help_, labels=labels)
        for one in totals:
            counter.add_metric([one.queue, one.type], getattr(one, name))
        yield counter
    started = CounterMetricFamily("backroom_attempts_started", "Attempts that began.",
                                  labels=labels)  # fmt: skip
    waiting = HistogramMetricFamily(
        "backroom_job_waiting_seconds",
        "From the moment that a job was due to the begin of its attempt.", labels=labels,
    )  # fmt: skip
    running = HistogramMetricFamily(
        "backroom_job_running_seconds", "From the begin of an attempt to its end.", labels=labels
    )
    errors = CounterMetricFamily(
        "backroom_job_errors", "Attempts that failed, by the kind of their error.",
        labels=[*labels, "kind"],
    )  # fmt: skip
    for one in totals:
        started.add_metric([one.queue, one.type], one.waiting.count)
        for family, histogram in ((waiting, one.waiting), (running, one.running)):
            family.add_metric([one.queue, one.type], _buckets(histogram), histogram.total)
        for kind, count in one.errors.items():
            errors.add_metric([one.queue, one.type, kind], count)
    yield from (started, waiting, running, errors)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    below = histogram.below(SECONDS)
    buckets = [(str(bound), float(count)) for bound, count in zip(SECONDS, below, strict=True)]
    return [*buckets, ("+Inf", float(histogram.count))]


def _of_workers(workers: Sequence[WorkerInfo]) -> Iterable[Metric]:
    alive = [one for one in workers if one.alive]
    reports = [one.report for one in alive if one.report is not None]
    yield GaugeMetricFamily("backroom_workers", "Workers that live.", len(alive))
    yield GaugeMetricFamily(
        "backroom_workers_draining", "Workers that claim nothing, since they were asked to.",
        sum(one.draining for one in alive),
    )  # fmt: skip
    yield GaugeMetricFamily(
        "backroom_workers_lost", "Workers that are gone, whose jobs are about to be taken back.",
        len(workers) - len(alive),
    )  # fmt: skip
    yield GaugeMetricFamily(
        "backroom_worker_slots", "Slots for jobs that all workers have together, as they told.",
        sum(one.concurrency for one in reports),
    )  # fmt: skip
    yield GaugeMetricFamily(
        "backroom_worker_running", "Jobs that all workers run now, as they told.",
        sum(one.active for one in reports),
    )  # fmt: skip
    yield GaugeMetricFamily(
        "backroom_worker_memory_bytes", "Memory that the processes of all workers hold together.",
        sum(one.memory or 0 for one in reports),
    )  # fmt: skip


def _of_schedules(schedules: Sequence[ScheduleInfo], now: datetime) -> Iterable[Metric]:
    lag = GaugeMetricFamily(
        "backroom_schedule_lag_seconds",
        "For how long a schedule's next tick has been due; 0 if it has not come.",
        labels=["schedule"],
    )
    paused = GaugeMetricFamily(
        "backroom_schedule_paused", "Whether a schedule is paused.", labels=["schedule"]
    )
    for schedule in schedules[:MOST_SCHEDULES]:
        due = schedule.next_runs[0] if schedule.next_runs else now
        lag.add_metric([schedule.name], max(0.0, (now - due).total_seconds()))
        paused.add_metric([schedule.name], schedule.paused)
    yield from (lag, paused)


def _of_process(slots: Sequence[Slots], commits: Sizes) -> Iterable[Metric]:
    yield _info()
    have = GaugeMetricFamily(
        "backroom_process_slots", "How many jobs this process runs at once.", labels=["queues"]
    )
    taken = GaugeMetricFamily(
        "backroom_process_slots_taken", "How many it runs now.", labels=["queues"]
    )
    for one in slots:
        have.add_metric([one.queues], one.slots)
        taken.add_metric([one.queues], one.taken)
    yield from (have, taken)
    yield _histogram_of_sizes(commits)


def _info() -> Metric:
    info = GaugeMetricFamily(
        "backroom_process_info", "The process that tells this: always 1.", labels=["version", "pid"]
    )
    info.add_metric([__version__, str(os.getpid())], 1)
    return info


def _histogram_of_sizes(sizes: Sizes) -> Metric:
    buckets: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip((*BOUNDS, None), sizes.counts, strict=True):
        seen += count
        buckets.append(("+Inf" if bound is None else str(float(bound)), seen))
    return HistogramMetricFamily(
        "backroom_process_commit_changes",
        "Changes that one commit of this process to the store carried.",
        buckets,
        sizes.total,
    )
