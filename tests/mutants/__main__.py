"""`python -m tests.mutants`: each guard is removed, and a test must notice."""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatch
from pathlib import Path

from tests.mutants.gate import KILLED, Verdict, verdicts
from tests.mutants.report import HEAD, line, markdown, summary
from tests.mutants.scratch import Run
from tests.mutants.table import MUTANTS

COMMAND = "python3 dev.py mutants --markdown docs/mutants.md"
CHECKOUT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py mutants", description=__doc__)
    parser.add_argument("--list", action="store_true", help="show the mutants, run nothing")
    parser.add_argument(
        "--only", metavar="NAME", action="append", help="this one; * for any text; more than once"
    )
    parser.add_argument(
        "--all-tests", action="store_true", help="run the whole suite for those that survive"
    )
    parser.add_argument("--why", action="store_true", help="show what the red tests said")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the result there")
    arguments = parser.parse_args()
    chosen = [
        mutant
        for mutant in MUTANTS
        if not arguments.only or any(fnmatch(mutant.name, name) for name in arguments.only)
    ]
    if not chosen:
        parser.error(f"no mutant is called {' or '.join(arguments.only)}; --list shows all")
    if arguments.markdown and arguments.only:
        parser.error("--markdown is for the result of all mutants, not with --only")
    if arguments.list:
        for mutant in chosen:
            print(f"{mutant.name}  ({mutant.file})\n    {mutant.guard}")
        return 0
    found: list[Verdict] = []
    for one in verdicts(CHECKOUT, chosen, all_tests=arguments.all_tests):
        if isinstance(one, Run):
            print(_without(one), f"\n{HEAD}", sep="\n", flush=True)
        else:
            found.append(one)
            print(line(one, why=arguments.why), flush=True)
    print(f"\n{summary(found)}")
    if arguments.markdown:
        arguments.markdown.write_text(markdown(found, COMMAND))
    done = len(found) == len(chosen)
    return 0 if done and all(one.verdict in KILLED for one in found) else 1


def _without(run: Run) -> str:
    """What the run without a mutant said."""
    if not run.sound:
        return f"the copy's own Backroom was not what was tested:\n{run.said[-2000:]}"
    if run.code not in (0, 1):
        return f"the tests do not run without a mutant, so nothing can be said:\n{run.said[-2000:]}"
    last = run.said.strip().splitlines()[-1]
    red = "".join(f"\nred without a mutant: {test}" for test in run.red)
    return (
        f"without a mutant: {last.strip('= ')}; {run.processes} processes, all of them on the"
        f" copy's Backroom{red}"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
