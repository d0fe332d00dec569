"""What time and flow cost: schedules."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.embedded import Bench, run_suite
from benchmarks.postgres import DatabaseBench, a_server

SCHEDULES = 10_000


def schedules(bench: Bench) -> None:
    """From a tick to the first line of its job's handler, in one process."""
    count = SCHEDULES // bench.scale
    spread, together = bench.medians(
        lambda: bench.measure("ticks", count=count, period=60.0, together=False, seconds=30),
        lambda: bench.measure("ticks", count=count, period=3600.0, together=True, seconds=10),
    )
    where = bench.table.title
    bench.bound(
        f"{where}: 10,000 schedules a minute, start p99", spread["p99"], 50, "ms",
        f"p50 {spread['p50']:.1f} ms, of {spread['count']:,.0f}",
    )  # fmt: skip
    bench.bound(
        f"{where}: 10,000 schedules at one tick, start p99", together["p99"], 50, "ms",
        f"p50 {together['p50']:.0f} ms, of {together['count']:,.0f}",
    )  # fmt: skip


ROWS: dict[str, Callable[[Bench], None]] = {row.__name__: row for row in (schedules,)}


def run(rows: list[str], quick: bool, runs: int, target: str | None) -> int:
    """Prints the tables; returns 1 if a figure was missed."""
    missed = run_suite(Bench(quick, runs), ROWS, rows, target)
    with a_server() as server:
        on_server = None if target is None else f"{target}.postgres"
        return run_suite(DatabaseBench(quick, runs, server), ROWS, rows, on_server) or missed
