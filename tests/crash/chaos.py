"""The soak: `python -m tests.crash.chaos --minutes 30` goes round all scenarios with new seeds.

    --minutes N       how long (default 30)
    --seconds N       how long one play is (default 20)
    --only NAME       only scenarios whose name has this in it; repeatable
    --storage NAME    only on this storage: file, postgres; repeatable
    --seed N          of the first round; a violation names the one to repeat it with
    --rounds N        so many rounds, instead of minutes

It ends with the first round in which a promise was broken, with exit code 1, the seed, the story
and the folder it left; with 0 when the time is over.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.crash.grounds import GROUNDS
from tests.crash.scenarios import SCENARIOS, chosen
from tests.crash.stage import Scenario, Story, play

SHOWN = 20
"""Violations of one play that are told; there may be thousands alike."""


def main() -> int:
    options = _options()
    plays = chosen(options.only, options.storage or list(GROUNDS))
    if not plays:
        names = ", ".join(f"{one.name} ({', '.join(one.storages)})" for one in SCENARIOS)
        print(f"no scenario has that in its name there; there are: {names}", file=sys.stderr)
        return 2
    began, seed = time.monotonic(), options.seed
    counts: Counter[str] = Counter()
    rounds = 0
    while rounds < options.rounds if options.rounds else _minutes(began) < options.minutes:
        broken = [one.name for one, storage in plays
                  if not _played(one, storage, options.seconds, seed, counts)]  # fmt: skip
        rounds += 1
        if broken:
            print(f"BROKEN with seed {seed}: {', '.join(broken)}", flush=True)
            return 1
        seed += 1
    all_of_it = ", ".join(f"{count} x {name}" for name, count in counts.items())
    print(f"kept in {_minutes(began):.1f} minutes, seeds {options.seed} to {seed - 1}: {all_of_it}")
    return 0


def _options() -> argparse.Namespace:
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("dev.py chaos", description=__doc__, formatter_class=text)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--storage", action="append", choices=list(GROUNDS))
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    return parser.parse_args()


def _minutes(began: float) -> float:
    return (time.monotonic() - began) / 60


def _played(
    scenario: Scenario, storage: str, seconds: float, seed: int, counts: Counter[str]
) -> bool:
    """Plays it once and tells of it; whether every promise was kept."""
    folder = Path(tempfile.mkdtemp(prefix="backroom-chaos-"))
    began = time.monotonic()
    story = play(scenario, folder, seconds, seed, storage)
    name = f"{scenario.name}, {storage}"
    counts[name] += 1
    verdict = "BROKEN" if story.violations else "kept"
    took = f"{time.monotonic() - began:.1f} s"
    print(f"{verdict:<6} {name:<24} seed {seed} {took:>7}: {story.figures}", flush=True)
    if story.violations:
        _tell(story, folder)
    else:
        shutil.rmtree(folder)
    return not story.violations


def _tell(story: Story, folder: Path) -> None:
    for violation in story.violations[:SHOWN]:
        print(f"    {violation}")
    if len(story.violations) > SHOWN:
        print(f"    and {len(story.violations) - SHOWN} more")
    print(f"{story.log}    everything is left in {folder}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
