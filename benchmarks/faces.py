"""The faces of a service beside the async one: what each costs."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.embedded import CONSOLE, Bench, run_suite


def blocking(bench: Bench) -> None:
    [figures] = bench.medians(lambda: bench.measure("blocking", count=10_000 // bench.scale))
    for verb in ("look", "schedule"):
        bench.bound(
            f"blocking, beyond an awaited {verb}",
            figures[f"one_{verb}"],
            100,
            "us",
            f"one core; to a loop and back, bare: {figures['one_bare']:,.0f} us",
        )
    CONSOLE.print(
        f"blocking on several cores, idle ones woken: look {figures['free_look']:,.0f} us,"
        f" schedule {figures['free_schedule']:,.0f} us; to a loop and back, bare:"
        f" {figures['free_bare']:,.0f} us"
    )
    CONSOLE.print(
        f"blocking schedule on disk {figures['disk_blocking']:,.0f} us,"
        f" awaited {figures['disk_async']:,.0f} us"
    )


def handlers(bench: Bench) -> None:
    """Jobs a second of a handler that does nothing, by where and how it runs."""
    count = 20_000 // bench.scale
    kinds = ("async", "task", "thread", "process")
    measured = bench.medians(
        *(lambda kind=kind: bench.measure("handlers", count=count, kind=kind) for kind in kinds)
    )
    plain = measured[0]["rate"]
    for kind, floor, figures in zip(kinds[1:], (0.5, 0.1, 0.02), measured[1:], strict=True):
        bench.ratio(f"{kind} handler, beside async", figures["rate"], plain, floor)
        overhead = 1e6 / figures["rate"] - 1e6 / plain
        CONSOLE.print(f"{kind}: {overhead:,.0f} us a job more than async")


def starting(bench: Bench) -> None:
    """What a shell waits for, the least of several, since a start is never faster than itself."""
    figures = bench.measure("starting", count=10)
    bench.bound("import backroom", figures["import_ms"], 100, "ms")
    bench.bound("backroom --help", figures["help_ms"], 150, "ms")


def scaling(bench: Bench) -> None:
    """CPU-bound jobs: what a second worker process gains, beside two bare Python processes."""
    count = 240 // (4 if bench.scale > 1 else 1)
    [figures] = bench.medians(lambda: bench.measure("scaling", count=count))
    bench.ratio("gain by a second process, beside bare", figures["ours"], figures["bare"], 0.9)


ROWS: dict[str, Callable[[Bench], None]] = {
    row.__name__: row for row in (blocking, handlers, starting, scaling)
}


def run(rows: list[str], quick: bool, runs: int, target: str | None) -> int:
    """Prints the table; returns 1 if a figure was missed."""
    return run_suite(Bench(quick, runs, "faces"), ROWS, rows, target)
