"""What one PostgreSQL carries, and several: measured costs of a job, and a plain model of them.

The model: a job costs processor time of the server, processor time of the processes that schedule
and work, and bytes of WAL. Costs add up, and of a server's cores a part stays free. What the model
leaves out makes it slower than it says: locks among many cores, network, vacuum under long
snapshots, disks that cannot take the WAL.
"""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table

from benchmarks.embedded import CONSOLE, run_suite
from benchmarks.postgres import DatabaseBench, a_server

BUSY = 0.6
"""Of a server's processor time, so much goes to jobs; the rest is room for peaks and look-ups."""
CORES = (2, 4, 8, 16, 32)


def costs(bench: DatabaseBench) -> None:
    """The costs, and from them what servers of several sizes carry."""
    [figures] = bench.medians(lambda: bench.measure("costs", count=40_000 // bench.scale))
    shown = Table(title="a job costs", box=None, pad_edge=False)
    for heading in ("", "server, us", "client, us", "WAL, bytes", "a second here"):
        shown.add_column(heading, justify="right" if heading else "left")
    names = {"one": "schedule, 50 at once", "many": "schedule_many", "work": "claim, run, finish"}
    for name, words in names.items():
        shown.add_row(
            words,
            *(f"{figures[f'{name}_{what}']:,.0f}" for what in ("server", "client", "wal", "rate")),
        )
    CONSOLE.print(shown)
    for key, value in figures.items():
        bench.figures[key] = {"measured": value}
    for name, words in (("one", "scheduled one by one"), ("many", "scheduled many at once")):
        server = (figures[f"{name}_server"] + figures["work_server"]) / 1e6
        client = (figures[f"{name}_client"] + figures["work_client"]) / 1e6
        wal = figures[f"{name}_wal"] + figures["work_wal"]
        CONSOLE.print(carried(words, server, client, wal))


def carried(words: str, server: float, client: float, wal: float) -> Table:
    """By cores of the server: jobs a second, processes for the rest, WAL, jobs a day. Costs in
    seconds and bytes a job."""
    table = Table(title=f"whole lives of jobs, {words}: the model", box=None, pad_edge=False)
    for heading in ("cores of the server", "jobs/s", "cores of clients", "WAL, MB/s", "a day"):
        table.add_column(heading, justify="right")
    for cores in CORES:
        rate = cores * BUSY / server
        table.add_row(
            str(cores), f"{rate:,.0f}", f"{rate * client:.1f}", f"{rate * wal / 1e6:,.1f}",
            f"{rate * 86_400 / 1e6:,.0f} million",
        )  # fmt: skip
    return table


ROWS: dict[str, Callable[[DatabaseBench], None]] = {"costs": costs}


def run(rows: list[str], quick: bool, runs: int, target: str | None) -> int:
    """Prints the tables."""
    with a_server() as server:
        return run_suite(DatabaseBench(quick, runs, server), ROWS, rows, target)
