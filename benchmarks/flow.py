"""What time and flow cost: schedules, bulk handlers, keys, workflows, steps, limits, turns."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.embedded import Bench, run_suite
from benchmarks.postgres import DatabaseBench, a_server

SCHEDULES = 10_000
BATCH = 100
PAIRED = 10_000
"""Jobs, half of which wait for the other half."""
STEPPED = 10_000
BLOCKED = 100_000
MANY = 1_000_000


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


def bulk(bench: Bench) -> None:
    """What a bulk handler does beside one of single jobs, in 5 slots: where a call does nothing,
    and where it waits 5 ms for a network."""
    where = bench.table.title
    for what, count, pause, must in (("nothing", 30_000, 0.0, 1.0), ("5 ms", 10_000, 0.005, 4.0)):
        some = count // bench.scale
        many, single = bench.medians(
            lambda some=some, pause=pause: bench.measure(
                "handled", count=some, batch=BATCH, pause=pause
            ),
            lambda some=some, pause=pause: bench.measure(
                "handled", count=some, batch=0, pause=pause
            ),
        )
        bench.ratio(
            f"{where}: bulk handler, beside single jobs; a call takes {what}",
            many["rate"], single["rate"], must,
        )  # fmt: skip


def unique(bench: Bench) -> None:
    """Jobs with a unique key beside the same without one, from the call to the last record; and
    calls that find their key held beside calls that make a job."""
    count, where = 10_000 // bench.scale, bench.table.title
    plain, *keyed = bench.medians(
        *(
            lambda held=held: bench.measure("unique", count=count, producers=50, held=held)
            for held in ("", "end", "start", "period")
        )
    )
    for name, figures in zip(("its end", "its start", "a period"), keyed, strict=True):
        bench.ratio(
            f"{where}: jobs with a unique key until {name}", figures["rate"], plain["rate"], 0.5
        )
    made, *met = bench.medians(
        *(
            lambda held=held, each=each: bench.measure(
                "unique", count=count // 4, producers=10, held=held, each=each, paused=True
            )
            for held, each in (("", 1), ("end", 10), ("replace", 10))
        )
    )
    for name, figures in zip(("is answered with", "replaces"), met, strict=True):
        bench.ratio(
            f"{where}: a call that {name} a job", figures["schedule_rate"],
            made["schedule_rate"], 0.2,
        )  # fmt: skip


def edges(bench: Bench) -> None:
    """What an edge of a workflow costs: pairs of jobs, of which one waits for the other, beside as
    many jobs by themselves."""
    count = PAIRED // bench.scale
    flows, plain = bench.medians(
        lambda: bench.measure("edges", count=count, flows=True),
        lambda: bench.measure("edges", count=count, flows=False),
    )
    bench.ratio(
        f"{bench.table.title}: jobs in pairs, an edge each", flows["rate"], plain["rate"], 0.33
    )


def steps(bench: Bench) -> None:
    """What a durable step costs: it is kept before the handler goes on."""
    count = STEPPED // bench.scale
    plain, one, four = bench.medians(
        *(
            lambda steps=steps: bench.measure("stepped", count=count, steps=steps)
            for steps in (0, 1, 4)
        )
    )
    where = bench.table.title
    bench.ratio(f"{where}: jobs of one durable step", one["rate"], plain["rate"], 0.2)
    bench.ratio(f"{where}: steps a second, of jobs of four", 4 * four["rate"], one["rate"], 1.0)


def limits(bench: Bench) -> None:
    """A job with a limit key beside one without; and jobs behind many that have no room."""
    count, where = 20_000 // bench.scale, bench.table.title
    with_key, without = bench.medians(
        lambda: bench.measure("limited", count=count, limit=True),
        lambda: bench.measure("limited", count=count, limit=False),
    )
    bench.ratio(f"{where}: drain with a limit key", with_key["rate"], without["rate"], 0.3)
    behind, empty = bench.medians(
        lambda: bench.measure("behind_blocked", count=count, blocked=BLOCKED // bench.scale),
        lambda: bench.measure("behind_blocked", count=count, blocked=0),
    )
    bench.ratio(f"{where}: drain behind 100,000 blocked", behind["rate"], empty["rate"], 0.8)
    bench.bound(
        f"{where}: 100,000 scheduled, and out of the way", behind["aside"], 60, "s",
    )  # fmt: skip


def fairness(bench: Bench) -> None:
    """The single job of one tenant behind the million of another."""
    many, where = MANY // bench.scale, bench.table.title
    [fair] = bench.medians(lambda: bench.measure("turns", many=many, fair=True))
    bench.bound(
        f"{where}: one job behind a million, by turns", fair["wait"], 1000, "ms",
        f"{fair['before']:,.0f} began before it",
    )  # fmt: skip


ROWS: dict[str, Callable[[Bench], None]] = {
    row.__name__: row for row in (schedules, bulk, unique, edges, steps, limits, fairness)
}


def run(rows: list[str], quick: bool, runs: int, target: str | None) -> int:
    """Prints the tables; returns 1 if a figure was missed."""
    missed = run_suite(Bench(quick, runs), ROWS, rows, target)
    with a_server() as server:
        on_server = None if target is None else f"{target}.postgres"
        return run_suite(DatabaseBench(quick, runs, server), ROWS, rows, on_server) or missed
