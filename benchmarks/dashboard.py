"""The dashboard over a million jobs: how soon each page and each answer of the API is there while
jobs run, and what those who look cost the workers."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.embedded import CONSOLE, Bench, Figures, run_suite
from benchmarks.postgres import a_server
from benchmarks.viewing import timed, viewing

JOBS: Final = 1_000_000
RATE: Final = 2_000
"""Jobs a second that run meanwhile."""
ROUNDS: Final = 200
VIEWERS: Final = 20
DRAINED: Final = 200_000
BOUND: Final = 100.0
"""Milliseconds, of ninety-nine answers in a hundred."""

PAGES: Final = (
    "/", "/?last=24h", "/?last=7d", "/jobs", "/jobs?status=failed", "/jobs?status=pending",
    "/jobs?type=TYPE7&queue=cold", "/jobs?tag=shop7&status=failed", "/jobs?text=needle",
    "/jobs?error=OSError", "/jobs/{failed}", "/jobs/{first}", "/failures", "/queues", "/workers",
    "/schedules", "/workflows", "/audit", "/bulk?verb=retry&status=failed",
)  # fmt: skip
ANSWERS: Final = (
    "/api/v1/stats", "/api/v1/jobs", "/api/v1/jobs?status=failed&limit=100",
    "/api/v1/jobs?text=needle", "/api/v1/jobs?error=OSError&type=FAILING3",
    "/api/v1/jobs/{failed}", "/api/v1/jobs/count?status=failed", "/api/v1/jobs/count?text=needle",
    "/api/v1/queues",
    "/api/v1/queues/cold", "/api/v1/workers", "/api/v1/history?last=3600",
    "/api/v1/history?last=604800", "/api/v1/totals", "/api/v1/failures", "/api/v1/types",
    "/api/v1/limits", "/api/v1/schedules", "/api/v1/workflows", "/api/v1/audit", "/metrics",
    "/api/v1/autoscale",
)  # fmt: skip
SEEN: Final = ("/", "/jobs", "/jobs?status=failed", "/failures", "/queues", "/workers")
"""What those who look have open."""


class Role:
    """A process of `dashboard_roles`, until this block ends."""

    def __init__(self, name: str, **arguments: Any) -> None:
        command = [sys.executable, "-m", "benchmarks.dashboard_roles", name, json.dumps(arguments)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answer: dict[str, Any] = {}

    def __enter__(self) -> Role:
        return self

    def __exit__(self, *error: object) -> None:
        said, _ = self._process.communicate("")
        if self._process.returncode:
            raise RuntimeError(f"a process of the measurement failed: {self._process.args}")
        self.answer = json.loads(said.splitlines()[-1])

    def line(self) -> str:
        """The next one that it says."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def role(name: str, **arguments: Any) -> dict[str, Any]:
    """What one answers that ends by itself."""
    with Role(name, **arguments) as one:
        pass
    return one.answer


@contextmanager
def places(kinds: tuple[str, ...]) -> Iterator[dict[str, Callable[[], str]]]:
    """By kind of storage, what makes a fresh one and tells where it is."""
    with tempfile.TemporaryDirectory(prefix="backroom-bench-") as folder, a_server() as server:
        made = iter(range(1_000_000))

        def database() -> str:
            return server.create_database(f"bench{next(made)}")

        def directory() -> str:
            return str(Path(folder, f"jobs{next(made)}"))

        makers = {"file": directory, "PostgreSQL": database}
        yield {kind: makers[kind] for kind in kinds}


def pages(bench: Bench) -> None:
    """The slowest answer in a hundred of each path."""
    with places(KINDS) as makers:
        for kind, make in makers.items():
            place = make()
            known = role("fill", place=place, jobs=JOBS // bench.scale)
            CONSOLE.print(f"{kind}: {JOBS // bench.scale:,} jobs are there")
            paths = [path.format(**known) for path in (*PAGES, *ANSWERS)]
            with Role("web", place=place) as web, Role("hot", place=place, rate=RATE) as hot:
                url = web.line()
                hot.line()
                took = timed(url, paths, ROUNDS // (4 if bench.scale > 1 else 1))
            for path, said in zip((*PAGES, *ANSWERS), paths, strict=True):
                p50, p99 = statistics.median(took[said]), _p99(took[said])
                bench.bound(f"{path}, {kind}", p99, BOUND, "ms", f"p50 {p50:.1f}")
            CONSOLE.print(f"{kind}: {hot.answer['rate']:,.0f} jobs a second ran meanwhile")


def viewers(bench: Bench) -> None:
    """Jobs a second of a worker while twenty look, beside the same while nobody does."""
    count = DRAINED // bench.scale
    with places(KINDS) as makers:
        for kind, make in makers.items():
            place = make()
            role("fill", place=place, jobs=100_000 // bench.scale)
            with Role("web", place=place) as web:
                url = web.line()

                def alone(place: str = place) -> Figures:
                    return role("drain", place=place, jobs=count)

                def seen(place: str = place, url: str = url) -> Figures:
                    with viewing(url, SEEN, VIEWERS):
                        return role("drain", place=place, jobs=count)

                quiet, busy = bench.medians(alone, seen)
            bench.ratio(
                f"a worker that {VIEWERS} look at, {kind}", busy["rate"], quiet["rate"], 0.95
            )


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


KINDS: Final = tuple(os.environ.get("BENCH_STORAGES", "file,PostgreSQL").split(","))
"""Where it is measured."""
ROWS: dict[str, Callable[[Bench], None]] = {row.__name__: row for row in (pages, viewers)}


def run(rows: list[str], quick: bool, runs: int, target: str | None) -> int:
    """Prints the table; returns 1 if a figure was missed."""
    return run_suite(Bench(quick, runs, "dashboard"), ROWS, rows, target)
