"""Numbers that are kept are those of the jobs that are there; what is not so is found (13)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.table.postgres import ROOM, on_postgres

__all__ = ["MUTANTS"]

FILE = "storage/sqlite/counts.py"
TESTS = "test_counts"


def embedded(*names: str) -> tuple[str, ...]:
    """Tests of the contract, in memory."""
    return tuple(f"contract/{TESTS}.py::{name}[memory]" for name in names)


MUTANTS = (
    Mutant(
        name="counts-fold-adds",
        promises=(13,),
        guard="what passes is added to what has passed before",
        file=FILE,
        old="SET jobs = jobs + excluded.jobs",
        new="SET jobs = excluded.jobs",
        tests=embedded("test_what_passed_long_ago_is_counted_all_the_same"),
    ),
    Mutant(
        name="counts-fold-late",
        promises=(13,),
        guard="what has passed just now is kept apart: a clock may be set back",
        file=FILE,
        old="(now >> SPAN) - PASSED",
        new="(now >> SPAN)",
        tests=embedded("test_a_clock_that_is_set_back_makes_jobs_scheduled_again"),
    ),
    Mutant(
        name="counts-present-span",
        promises=(13,),
        guard="of the present span only those count as pending that are due",
        file=FILE,
        old="THEN here - later",
        new="THEN here",
        tests=embedded("test_many_that_are_due_within_a_moment_are_told_apart"),
    ),
    Mutant(
        name="counts-from-the-front",
        promises=(13,),
        guard="the same where many of the present span are not due yet",
        file=FILE,
        old="AND run_at <= ?1)",
        new="AND run_at <= ?1 + 1000000)",
        tests=embedded("test_many_on_both_sides_of_a_moment_are_told_apart"),
    ),
    Mutant(
        name="counts-compared",
        promises=(13,),
        guard="numbers that are wrong are found",
        file=FILE,
        old="if kept.get(place, 0) != found.get(place, 0)",
        new="if not kept",
        tests=("cli/test_doctor.py::test_numbers_that_are_wrong_are_told_and_made_anew",),
    ),
    Mutant(
        name="pg-counts-present-span",
        promises=(13,),
        guard="of the present span only those count as pending that are due",
        file=f"{ROOM}/counts.sql",
        old="THEN b.here - b.later",
        new="THEN b.here",
        tests=on_postgres(TESTS, "test_many_that_are_due_within_a_moment_are_told_apart"),
    ),
    Mutant(
        name="pg-counts-not-folded-yet",
        promises=(13,),
        guard="what was changed and is not folded yet counts, too",
        file=f"{ROOM}/counts.sql",
        old="UNION ALL SELECT type, kind, jobs FROM {changed} WHERE place = 3",
        new="",
        tests=on_postgres(TESTS, "test_failed_jobs_are_grouped_by_type_and_kind_the_most_first"),
    ),
    Mutant(
        name="pg-counts-fold-adds",
        promises=(13,),
        guard="what is folded is added to what was",
        file=f"{ROOM}/counts.sql",
        old="DO UPDATE SET jobs = c.jobs + excluded.jobs",
        new="DO UPDATE SET jobs = excluded.jobs",
        tests=on_postgres(TESTS, "test_what_passed_long_ago_is_counted_all_the_same"),
    ),
)
