"""`python3 dev.py simulate`: replays a seed, runs many, or goes on for minutes."""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import nullcontext
from functools import partial
from typing import TypeAlias

from tests.servers.fixtures import a_postgres
from tests.simulation.simulate import Outcome, simulate
from tests.simulation.years import simulate_years

Run: TypeAlias = Callable[[int], Outcome]
"""A seed, from its plan to what is to be said of it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py simulate", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="replay this one; prints the same every time")
    which.add_argument("--seeds", type=int, help="run so many")
    which.add_argument("--minutes", type=float, help="run for so long")
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument(
        "--years", type=float, help="schedules and those who decide their ticks, for so long"
    )
    on = parser.add_mutually_exclusive_group()
    on.add_argument(
        "--files", dest="kind", action="store_const", const="files", help="over the file storage"
    )
    on.add_argument(
        "--postgres", dest="kind", action="store_const", const="postgres", help="over PostgreSQL"
    )
    parser.set_defaults(kind="memory")
    parser.add_argument("--events", action="store_true", help="with --seed: all that happens")
    said = parser.parse_args()
    if said.years is not None and said.kind != "memory":
        parser.error("--years is over memory")
    with a_postgres() if said.kind == "postgres" else nullcontext() as server:
        if server is not None:  # One for all processes.
            os.environ["TEST_DATABASE_URL"] = server.url()
        run: Run = partial(simulate, kind=said.kind)
        if said.years is not None:
            run = partial(simulate_years, years=said.years)
        if said.seed is not None:
            return replay(run, said.seed, said.events)
        if said.seeds is not None:
            return many(run, iter(range(said.first, said.first + said.seeds)), None)
        return many(run, itertools.count(said.first), time.monotonic() + said.minutes * 60)


def replay(run: Run, seed: int, events: bool) -> int:
    outcome = run(seed)
    print(f"seed {seed}: {outcome.summary}")
    if events:
        print(outcome.events)
    print(told(outcome.figures))
    print(f"history {outcome.digest}")
    print(outcome.trouble or "no promise is broken")
    return 1 if outcome.trouble else 0


def many(run: Run, seeds: Iterator[int], until: float | None) -> int:
    """On all cores. Goes on after a violation, so that one says all that was found."""
    began = time.monotonic()
    total: Counter[str] = Counter()
    broken: list[int] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        running: set[Future[Outcome]] = set()
        while True:
            while len(running) < 4 * (os.cpu_count() or 1):
                seed = next(seeds, None) if until is None or time.monotonic() < until else None
                if seed is None:
                    break
                running.add(pool.submit(run, seed))
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                outcome = future.result()
                total += outcome.figures
                if outcome.trouble:
                    broken.append(outcome.seed)
                    print(outcome.trouble, flush=True)
    took = time.monotonic() - began
    print(told(total))
    print(f"{total['seeds'] / took:.1f} seeds/s, {took:.0f} s")
    print(f"broken: {sorted(broken)}" if broken else "no promise is broken")
    return 1 if broken else 0


def told(figures: Counter[str]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in figures.items())


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
