"""The PostgreSQL storage, figure by figure, each beside the raw limit of the same run: the same
rows through psycopg, with hand-written batch statements and no framework.

The server runs on the same machine, with fsync and `synchronous_commit` on; it is the newest
that is found, or the one of `TEST_POSTGRES_VERSION`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.embedded import CONSOLE, Bench, Figures, run_suite
from tests.servers.postgres import PostgresServer, find_binaries

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min"}


class DatabaseBench(Bench):
    """Each measurement in a database of its own."""

    def __init__(self, quick: bool, runs: int, server: PostgresServer) -> None:
        super().__init__(quick, runs, "PostgreSQL storage")
        self.server = server
        self._names = (f"bench{number}" for number in itertools.count())

    def measure(self, name: str, **arguments: Any) -> Figures:
        database = next(self._names)
        url = self.server.create_database(database)
        try:
            return super().measure(name, directory=url, **arguments)
        finally:
            self.server.drop_database(database)

    def raw(self, count: int, group: int) -> Figures:
        """The bare loop, in a process of its own."""
        return self.measure("raw_postgres", count=count, group=group)


def drain(bench: DatabaseBench) -> None:
    count = 50_000 // bench.scale
    ours, raw_ = bench.medians(
        lambda: bench.measure("drain", count=count), lambda: bench.raw(count, 500)
    )
    bench.ratio("drain of 50,000", ours["rate"], raw_["work"], 0.5)
    bench.ratio("the same, beside raw that keeps no history", ours["rate"], raw_["forgetting"], 0.5)


def end_to_end(bench: DatabaseBench) -> None:
    count = 20_000 // bench.scale
    ours, raw_ = bench.medians(
        lambda: bench.measure("apart", count=count, producers=50), lambda: bench.raw(count, 50)
    )
    bench.ratio("end to end, 50 producers, one worker", ours["rate"], raw_["lifecycle"], 0.5)
    bench.floor("end to end, 50 producers, one worker, plainly", ours["rate"], 5_000, "/s")


def scheduling(bench: DatabaseBench) -> None:
    [ours] = bench.medians(
        lambda: bench.measure("scheduling", count=20_000 // bench.scale, producers=50)
    )
    bench.floor("schedule, awaited one by one by 50", ours["rate"], 8_000, "/s")


def bulk(bench: DatabaseBench) -> None:
    count = 50_000 // bench.scale
    ours, raw_ = bench.medians(
        lambda: bench.measure("bulk", count=count), lambda: bench.measure("raw_copy", count=count)
    )
    bench.ratio("schedule_many of 50,000, beside COPY", ours["rate"], raw_["rate"], 0.7)


def latency(bench: DatabaseBench) -> None:
    """One job after the other; and one that comes after a silence, when the machine itself has to
    wake up for each word that is said."""
    _one_alone(bench, "one after the other", 0.002)
    _one_alone(bench, "after 20 ms of silence", 0.02)


def _one_alone(bench: DatabaseBench, rhythm: str, pause: float) -> None:
    count = 300 // (3 if bench.scale > 1 else 1)
    same, other, raw_ = bench.medians(
        lambda: bench.measure("latency", count=count, elsewhere=False, pause=pause),
        lambda: bench.measure("latency", count=count, elsewhere=True, pause=pause),
        lambda: bench.measure("raw_latency", count=count, pause=pause),
    )
    for place, waits in (("another process", other), ("same process", same)):
        for name, bound in (("p50", 2), ("p99", 4)):
            bench.bound(
                f"idle latency {name}, {place}, {rhythm}", waits[name], bound, "ms",
                f"bare: {raw_[name]:.2f} ms, NOTIFY alone {raw_['word']:.2f}",
            )  # fmt: skip


def backlog(bench: DatabaseBench) -> None:
    count, many = 50_000 // bench.scale, 1_000_000 // bench.scale
    empty, full = bench.medians(
        lambda: bench.measure("drain", count=count),
        lambda: bench.measure("drain", count=count, backlog=many),
    )
    bench.ratio("drain with 1,000,000 pending and future", full["rate"], empty["rate"], 0.9)


def snapshot(bench: DatabaseBench) -> None:
    figures = bench.measure("held", seconds=180 / bench.scale)
    bench.ratio("with a snapshot held for 3 minutes", figures["held"], figures["before"], 0.8)


def traces(bench: DatabaseBench) -> None:
    figures = bench.measure("traces", count=1_000_000 // bench.scale)
    raw_ = bench.raw(50_000 // bench.scale, 500)
    bench.bound(
        "WAL a job, beside one table", figures["wal"] / raw_["lifecycle_wal"], 0.7, "",
        f"{figures['wal']:,.0f} of {raw_['lifecycle_wal']:,.0f} bytes",
    )  # fmt: skip
    # Autovacuum comes once a minute: what has died since the last time is there.
    bench.bound("dead rows after 1,000,000 jobs", figures["dead"] / 1000, 1500, "thousand")
    bench.bound("tables of what is live, after them", figures["live_mb"], 200, "MB")


def workers(bench: DatabaseBench) -> None:
    """Beside each other on one backlog; and, so that what the machine itself takes for more
    processes than it has cores can be told from it, each on its own."""
    count = 400_000 // bench.scale
    one, two, four, two_apart, four_apart = bench.medians(
        *(_shared(bench, count, number) for number in (1, 2, 4)),
        *(_shared(bench, count, number, apart=True) for number in (2, 4)),
        times=2,
    )
    [eight] = bench.medians(_shared(bench, count, 8))
    bench.ratio("2 workers beside 1", two["rate"], one["rate"], 0.95)
    bench.ratio("4 workers beside 2", four["rate"], two["rate"], 0.95)
    bench.ratio(
        "2 workers, beside 2 on backlogs of their own", two["rate"], two_apart["rate"], 0.95
    )
    bench.ratio(
        "4 workers, beside 4 on backlogs of their own", four["rate"], four_apart["rate"], 0.95
    )
    bench.ratio("8 workers beside 4", eight["rate"], four["rate"], 0.0)
    bench.bound("claims in vain, 2 workers", two["conflicts"], 1, "%")
    bench.bound("claims in vain, 4 workers", four["conflicts"], 1, "%")


def _shared(
    bench: DatabaseBench, count: int, workers: int, apart: bool = False
) -> Callable[[], Figures]:
    return lambda: bench.measure("shared", count=count, workers=workers, apart=apart)


def orphans(bench: DatabaseBench) -> None:
    [figures] = bench.medians(lambda: bench.measure("orphans", count=500))
    bench.bound("500 jobs of a killed worker run elsewhere after", figures["seconds"], 1, "s")


def idle(bench: DatabaseBench) -> None:
    figures, bare = bench.medians(
        lambda: bench.measure("idle", seconds=10), lambda: bench.measure("bare_idle", seconds=10)
    )
    bench.bound(
        "idle CPU over 10 s", figures["cpu_percent"], 0.5, "%",
        f"a bare loop that wakes ten times a second: {bare['cpu_percent']:.2f} %",
    )  # fmt: skip


ROWS: dict[str, Callable[[DatabaseBench], None]] = {
    row.__name__: row
    for row in (
        drain, end_to_end, scheduling, bulk, latency, backlog, snapshot, traces, workers, orphans,
        idle,
    )
}  # fmt: skip


@contextmanager
def a_server() -> Iterator[PostgresServer]:
    """Durable, of the newest version that is here, or of the one that is asked for."""
    wanted = os.environ.get("TEST_POSTGRES_VERSION", "")
    found = [one for one in find_binaries() if str(one.version).startswith(wanted)]
    if not found:
        raise SystemExit(f"this machine has no PostgreSQL {wanted}")
    newest = max(found, key=lambda one: one.version)
    with PostgresServer(newest, durable=True, settings=SETTINGS) as server:
        CONSOLE.print(f"PostgreSQL {server.binaries.version}, fsync on, on this machine")
        yield server


def run(rows: list[str], quick: bool, runs: int, target: str | None) -> int:
    """Prints the table; returns 1 if a figure was missed."""
    with a_server() as server:
        return run_suite(DatabaseBench(quick, runs, server), ROWS, rows, target)
