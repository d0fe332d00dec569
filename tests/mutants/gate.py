"""Removes one guard after the other, and finds out which test notices."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

from tests.mutants.mutant import Mutant
from tests.mutants.scratch import Run, Scratch, end_all

__all__ = ["KILLED", "Verdict", "judge", "verdicts"]

AT_ONCE: Final = 2
"""Mutants that are tried at a time."""
WHOLE_SUITE: Final = 1800.0
"""Seconds that all tests may take, for a survivor."""
KILLED: Final = ("killed", "killed (hung)")
"""The verdicts that are as they should be."""


class Verdict(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    verdict: str
    """One of `KILLED`, "SURVIVED", "timed out", or "no verdict": the run says nothing of it."""
    red: str
    """The test that noticed."""
    why: str
    seconds: float


def judge(mutant: Mutant, run: Run, red_without: Sequence[str] = ()) -> Verdict:
    """`red_without`: tests that are red without any mutant."""
    spoiled = [red for red in red_without if red.startswith(mutant.tests)]
    red, why = next(iter(run.red), ""), run.why
    verdict = "no verdict"
    if spoiled:
        red, why = spoiled[0], "it is red without the mutant"
    elif run.strangers:
        why = f"another Backroom was imported: {', '.join(sorted(run.strangers))}"
    elif run.code is None:
        verdict = "killed (hung)" if mutant.hangs else "timed out"
    elif run.code == 0 and run.processes:
        verdict = "SURVIVED"
    elif run.code == 1 and red:
        verdict = "killed"
    else:
        why = f"pytest ended with {run.code}: {run.said.strip()[-300:]}"
    return Verdict(mutant, verdict, red, why, run.seconds)


def verdicts(
    checkout: Path, mutants: Sequence[Mutant], *, all_tests: bool = False
) -> Iterator[Run | Verdict]:
    """First the run of all tests of these mutants without any of them; then the mutants, as they
    are done. `all_tests`: for those that their own tests let live, the whole suite is run."""
    with tempfile.TemporaryDirectory(prefix="backroom-mutants-") as place:
        os.chmod(place, 0o755)  # Some tests become another user, who reads these sources too.
        whole = Scratch.of(checkout, Path(place, "whole"))
        tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
        limit = sum(mutant.limit for mutant in mutants)
        without = whole.run(tests, limit, "-n", str(AT_ONCE))
        yield without
        if without.code not in (0, 1) or not without.sound:
            return

        one_at_a_time = Lock()

        def tried(mutant: Mutant) -> Verdict:
            scratch = Scratch.of(whole.checkout, Path(place, mutant.name))
            try:
                scratch.apply(mutant)
                found = judge(mutant, scratch.run(mutant.tests, mutant.limit, "-x"), without.red)
                if found.verdict == "SURVIVED" and all_tests:
                    run = scratch.run([""], WHOLE_SUITE, "-x", "--ignore=tests/mutants")
                    mutant = replace(mutant, tests=tuple(run.red) or mutant.tests)
                    with one_at_a_time:  # Its report is one file.
                        sane = whole.run(mutant.tests, mutant.limit)
                    found = judge(mutant, run, sane.red)
                return found
            finally:
                shutil.rmtree(scratch.folder)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                yield from pool.map(tried, mutants)
            except BaseException:  # Ctrl-C: nobody waits for what is under way.
                end_all()
                raise
