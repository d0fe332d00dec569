"""The faces of a service beside the async one: what each costs."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.embedded import CONSOLE, Bench, run_suite


def blocking(bench: Bench) -> None:
    [figures] = bench.medians(lambda: bench.measure("blocking", count=10_000 // bench.scale))
    bench.bound("blocking, beyond an awaited look", figures["look"], 100, "us")
    disk = f"on disk {figures['disk_blocking']:,.0f} us, awaited {figures['disk_async']:,.0f} us"
    bench.bound("blocking, beyond an awaited schedule", figures["schedule"], 100, "us", disk)
    CONSOLE.print(f"blocking schedule, {disk}")


ROWS: dict[str, Callable[[Bench], None]] = {row.__name__: row for row in (blocking,)}


def run(rows: list[str], quick: bool, runs: int, target: str | None) -> int:
    """Prints the table; returns 1 if a figure was missed."""
    return run_suite(Bench(quick, runs, "faces"), ROWS, rows, target)
