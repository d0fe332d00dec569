"""What people ask of a store of a million jobs while 2,000 a second run there."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.embedded import Bench, run_suite
from benchmarks.postgres import DatabaseBench, a_server

MANY = 1_000_000
RATE = 2_000
"""Jobs a second that run meanwhile."""


def counts(bench: Bench) -> None:
    """Counts by status and by queue, and the failed jobs by what failed them."""
    where, many = bench.table.title, MANY // bench.scale
    figures = bench.measure("watched", many=many, rate=RATE, looks=200)
    beside = f"p50 {figures['stats_p50']:.1f} ms; {figures['rate']:,.0f} jobs/s ran"
    bench.bound(f"{where}: counts at {many:,}, p99", figures["stats_p99"], 100, "ms", beside)
    beside = f"p50 {figures['failures_p50']:.1f} ms"
    bench.bound(f"{where}: failures, p99", figures["failures_p99"], 100, "ms", beside)


ROWS: dict[str, Callable[[Bench], None]] = {"counts": counts}


def run(rows: list[str], quick: bool, runs: int, target: str | None) -> int:
    """Prints the tables; returns 1 if a figure was missed."""
    missed = run_suite(Bench(quick, runs), ROWS, rows, target)
    with a_server() as server:
        on_server = None if target is None else f"{target}.postgres"
        return run_suite(DatabaseBench(quick, runs, server), ROWS, rows, on_server) or missed
