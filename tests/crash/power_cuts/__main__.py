"""A long run: `python -m tests.crash.power_cuts --states 200000`."""

from __future__ import annotations

import argparse
import logging
import random
import sys
from pathlib import Path

from tests.crash.power_cuts.lives import LIVES, NEXT_LIVES
from tests.crash.power_cuts.reopening import lay_out, workshop
from tests.crash.power_cuts.trial import STORE, Trial, Violation

ROUND = 5_000
"""States of one seed, after which the next one begins."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash.power_cuts", description="Cuts the power of a job store."
    )
    parser.add_argument("--states", type=int, default=200_000, help="how many are opened")
    parser.add_argument("--seed", type=int, default=None, help="where to begin; by chance if not")
    parser.add_argument("--most", type=int, default=8, help="cuts an instant beside both extremes")
    parser.add_argument("--life", choices=LIVES, help="only this one")
    parser.add_argument("--keep", type=Path, help="a folder to lay a failing disk out in")
    asked = parser.parse_args()
    logging.getLogger("backroom").setLevel(logging.CRITICAL)  # Workers die here all the time.
    seed = random.randrange(1_000_000) if asked.seed is None else asked.seed
    states = 0
    while states < asked.states:
        with workshop() as folder:
            trial = Trial(folder, seed, most=asked.most, sought="")
            rng = random.Random(seed)
            while trial.figures.states < min(ROUND, asked.states - states):
                life = asked.life or rng.choice(list(LIVES))
                trial.run(LIVES[life], rng.choice(NEXT_LIVES), rng.choice(NEXT_LIVES))
                if trial.figures.violations:
                    return _tell(trial.figures.violations, life, seed, asked.keep)
        states += trial.figures.states
        print(f"seed {seed}: {trial.figures}; {states} in all", flush=True)
        seed += 1
    return 0


def _tell(violations: list[Violation], life: str, seed: int, keep: Path | None) -> int:
    first = violations[0]
    print(f"{len(violations)} violations; the first, in the life {life!r}:\n{first}")
    if keep is not None:
        lay_out(first.tree, keep)
        print(f"that disk lies in {keep}, and the store in {keep / STORE}")
    print(f"once more, with other threads' turns: --seed {seed} --life {life}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
