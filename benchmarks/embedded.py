"""The embedded storage, figure by figure, each beside the raw limit of the same run."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw
from rich.console import Console
from rich.table import Table

import backroom

Figures = dict[str, float]
CONSOLE = Console()


class Bench:
    """Runs measurements, each in a process of its own, and keeps the medians."""

    def __init__(self, quick: bool, runs: int, title: str = "embedded storage") -> None:
        self.scale = 10 if quick else 1
        self.runs = 1 if quick else runs
        self.figures: dict[str, Any] = {}
        self.table = Table(title=title, box=None, pad_edge=False)
        for heading in ("figure", "measured", "beside it", "ratio", "must reach", ""):
            self.table.add_column(heading, justify="left" if heading == "figure" else "right")
        self.missed = 0

    def measure(self, name: str, **arguments: Any) -> Figures:
        """One run of one case."""
        command = [sys.executable, "-m", "benchmarks.cases", name, json.dumps(arguments)]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        result: Figures = json.loads(ran.stdout.splitlines()[-1])
        return result

    def medians(self, *cases: Callable[[], Figures], times: int = 1) -> list[Figures]:
        """Several cases in turn, A B A B, and the median of each figure; so many times the usual
        runs, where a small difference counts."""
        taken: list[list[Figures]] = [[] for _ in cases]
        for _ in range(self.runs * times):
            for case, results in zip(cases, taken, strict=True):
                results.append(case())
        return [
            {key: statistics.median(run[key] for run in results) for key in results[0]}
            for results in taken
        ]

    def ratio(self, name: str, ours: float, raw: float, must: float, unit: str = "/s") -> None:
        """A rate as a part of a limit."""
        self._row(name, f"{ours:,.0f}{unit}", f"{raw:,.0f}{unit}", ours / raw, must, ours, raw)

    def _row(
        self, name: str, ours: str, raw: str, ratio: float, must: float, *values: float
    ) -> None:
        self.figures[name] = {
            "measured": values[0], "beside": values[1], "ratio": ratio, "must": must,
        }  # fmt: skip
        self._add(name, ours, raw, f"{ratio:.2f}", f"{must:.2f}", ratio >= must)

    def bound(self, name: str, value: float, must: float, unit: str, beside: str = "") -> None:
        """A figure that must stay under a bound."""
        self.figures[name] = {"measured": value, "must_be_under": must, "unit": unit}
        self._add(name, f"{value:,.2f} {unit}", beside, "", f"under {must:g} {unit}", value < must)

    def floor(self, name: str, value: float, must: float, unit: str, beside: str = "") -> None:
        """A figure that must reach a bound."""
        self.figures[name] = {"measured": value, "must_reach": must, "unit": unit}
        self._add(name, f"{value:,.0f}{unit}", beside, "", f"{must:,.0f}{unit}", value >= must)

    def _add(self, name: str, ours: str, raw: str, ratio: str, must: str, reached: bool) -> None:
        self.missed += not reached
        verdict = "[green]ok[/green]" if reached else "[red]missed[/red]"
        self.table.add_row(name, ours, raw, ratio, must, verdict)
        CONSOLE.print(f"{name}: {ours}  {raw}  {ratio}  (must reach {must}) {verdict}")


def end_to_end_500(bench: Bench) -> None:
    count = 50_000 // bench.scale
    ours, raw = bench.medians(
        lambda: bench.measure("together", count=count, producers=500),
        lambda: bench.measure("raw", count=count, group=500),
    )
    bench.ratio("end to end, 500 producers", ours["rate"], raw["lifecycle"], 0.5)


def end_to_end_50(bench: Bench) -> None:
    count = 30_000 // bench.scale
    ours, raw = bench.medians(
        lambda: bench.measure("together", count=count, producers=50),
        lambda: bench.measure("raw", count=count, group=50),
    )
    bench.ratio("end to end, 50 producers", ours["rate"], raw["lifecycle"], 0.5)


def end_to_end_apart(bench: Bench) -> None:
    count = 30_000 // bench.scale
    ours, raw = bench.medians(
        lambda: bench.measure("apart", count=count, producers=50),
        lambda: bench.measure("raw", count=2_000, group=500),
    )
    syncs = 1000 / raw["commit_ms"]
    bench.floor(
        "end to end, two processes, 50 producers", ours["rate"], 10_000, "/s",
        f"{syncs:,.0f} commits/s",
    )  # fmt: skip


def drain(bench: Bench) -> None:
    count = 100_000 // bench.scale
    ours, raw = bench.medians(
        lambda: bench.measure("drain", count=count),
        lambda: bench.measure("raw", count=count // 2, group=500),
    )
    bench.ratio("drain of 100,000", ours["rate"], raw["work"], 0.4)


def bulk(bench: Bench) -> None:
    count = 50_000 // bench.scale
    ours, raw = bench.medians(
        lambda: bench.measure("bulk", count=count),
        lambda: bench.measure("raw", count=count, group=500),
    )
    bench.ratio("schedule_many of 50,000", ours["rate"], raw["insert"], 0.5)


def latency(bench: Bench) -> None:
    count = 300 // (3 if bench.scale > 1 else 1)
    same, other, raw = bench.medians(
        lambda: bench.measure("latency", count=count, elsewhere=False),
        lambda: bench.measure("latency", count=count, elsewhere=True),
        lambda: bench.measure("raw", count=2_000, group=500),
    )
    commit = raw["paced_commit_ms"]
    bench.bound(
        "idle latency p50, same process", same["p50"], commit + 1, "ms", f"commit {commit:.2f} ms"
    )
    bench.bound("idle latency p50, another process", other["p50"], 3, "ms")
    bench.bound("idle latency p99, another process", other["p99"], 6, "ms")


def lateness(bench: Bench) -> None:
    count = 10_000 // bench.scale
    [late] = bench.medians(lambda: bench.measure("lateness", count=count, seconds=10 / bench.scale))
    bench.bound("lateness p99, 10,000 jobs due over 10 s", late["p99"], 20, "ms")


def backlog(bench: Bench) -> None:
    count, many = 100_000 // bench.scale, 1_000_000 // bench.scale
    empty, full = bench.medians(
        lambda: bench.measure("drain", count=count),
        lambda: bench.measure("drain", count=count, backlog=many),
    )
    bench.ratio("drain with 1,000,000 pending and future", full["rate"], empty["rate"], 0.9)
    bench.bound("memory with that backlog", full["rss_mb"], 70, "MB")


def beside(bench: Bench) -> None:
    count = 30_000 // bench.scale
    alone, busy = bench.medians(
        lambda: bench.measure("drain", count=count),
        lambda: bench.measure("drain", count=count, beside=True),
    )
    bench.ratio("drain beside a CPU-bound thread", busy["rate"], alone["rate"], 0.25)


def idle(bench: Bench) -> None:
    [figures] = bench.medians(lambda: bench.measure("idle", seconds=10))
    bench.bound("idle CPU over 10 s", figures["cpu_percent"], 0.5, "%")
    bench.bound("memory of an idle worker", figures["rss_mb"], 45, "MB")


def where(bench: Bench) -> None:
    """Where a job's microseconds go: processor time of the loop's and of the writer's thread."""
    [figures] = bench.medians(lambda: bench.measure("where", count=50_000 // bench.scale))
    for name, spent in figures.items():
        bench.figures[f"processor time a job, {name}"] = {"measured": spent, "unit": "us"}
        CONSOLE.print(f"processor time a job, {name}: {spent:.1f} us")


def leak(bench: Bench) -> None:
    figures = bench.measure("leak", count=1_000_000 // bench.scale)
    growth = figures["late_mb"] - figures["early_mb"]
    bench.bound(
        "growth of memory, 100,000 to 1,000,000 jobs", growth, 5, "MB",
        f"from {figures['early_mb']:.0f} MB",
    )  # fmt: skip


ROWS: dict[str, Callable[[Bench], None]] = {
    row.__name__: row
    for row in (
        end_to_end_500, end_to_end_50, end_to_end_apart, drain, bulk, latency, lateness,
        backlog, beside, idle, where, leak,
    )
}  # fmt: skip


def run(rows: list[str], quick: bool, runs: int, target: str | None) -> int:
    """Prints the table; returns 1 if a figure was missed."""
    return run_suite(Bench(quick, runs), ROWS, rows, target)


B = TypeVar("B", bound=Bench)


def run_suite(
    bench: B, suite: dict[str, Callable[[B], None]], rows: list[str], target: str | None
) -> int:
    """Runs these rows of a suite, or all; prints the table; returns 1 if a figure was missed."""
    CONSOLE.print(
        f"backroom {backroom.__version__}, Python {platform.python_version()},"
        f" SQLite {apsw.sqlite_lib_version()}, medians of {bench.runs}"
    )
    for name in rows or suite:
        suite[name](bench)
    CONSOLE.print()
    CONSOLE.print(bench.table)
    if target:
        Path(target).write_text(json.dumps(bench.figures, indent=2) + "\n")
    return 1 if bench.missed else 0
