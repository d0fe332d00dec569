"""What is counted is counted once, and bounded; a worker that drains claims nothing."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="telling-that-was-taken-is-not-added-again",
        promises=(3,),
        guard="a telling whose reply was lost is told again, and its number was taken",
        file="storage/sqlite/figures.py",
        old="if taken is not None and taken[0] >= number:",
        new="if False:",
        tests=("contract/test_figures.py::test_a_telling_that_is_repeated_counts_once[memory]",),
    ),
    Mutant(
        name="telling-stays-until-it-was-taken",
        promises=(3,),
        guard="what a storage that is away could not take is told the next time",
        file="reporter.py",
        old="telling = self._untold[0]",
        new="telling = self._untold.popleft()",
        tests=(
            "engine/test_figures.py::test_figures_wait_for_a_storage_that_is_away_and_none_is_lost",
        ),
    ),
    Mutant(
        name="names-of-figures-are-those-in-use",
        promises=(15,),
        guard="a name without figures for a day makes room for another",
        file="storage/sqlite/figures.py",
        old="    if series >= MOST_SERIES:",
        new="    if False:",
        tests=("contract/test_figures.py::test_the_thousand_are_those_that_are_used[memory]",),
    ),
    Mutant(
        name="who-ends-while-it-waits-is-counted",
        promises=(3,),
        guard="jobs that are cancelled while they wait are in the figures",
        file="storage/sqlite/steering.py",
        old="    figures.count_cancelled(ledger, ended, now)",
        new="    pass",
        tests=(
            "contract/test_figures.py"
            "::test_who_ends_while_it_waits_is_counted_with_those_that_workers_end[memory]",
        ),
    ),
    Mutant(
        name="pg-who-ends-while-it-waits-is-counted",
        promises=(3,),
        guard="jobs that are cancelled while they wait are in the figures",
        file="storage/postgres/looking.py",
        old="        await count_cancelled(self._connection, self._statements, ended, now)\n",
        new="",
        tests=(
            "contract/test_figures.py"
            "::test_who_ends_while_it_waits_is_counted_with_those_that_workers_end[postgres]",
        ),
    ),
    Mutant(
        name="begin-of-the-run-that-died",
        promises=(4,),
        guard="what was told of a run that was over is not the begin of the one that died",
        file="storage/sqlite/workers.py",
        old="began if began > before else None",
        new="began or None",
        tests=(
            "contract/test_figures.py"
            "::test_what_a_dead_worker_told_says_when_its_attempts_began[memory]",
        ),
    ),
    Mutant(
        name="unreadable-report-keeps-no-job",
        promises=(5, 15),
        guard="a report of a dead worker that cannot be read does not keep its jobs",
        file="storage/told.py",
        old="with suppress(msgspec.MsgspecError, TypeError):",
        new="with suppress(TypeError):",
        tests=(
            "contract/test_figures.py"
            "::test_a_report_that_cannot_be_read_keeps_no_job_of_the_dead[memory]",
        ),
    ),
    Mutant(
        name="pg-begin-of-the-run-that-died",
        promises=(4,),
        guard="what was told of a run that was over is not the begin of the one that died",
        file="storage/postgres/claims.sql",
        old=" AND t.began > coalesce(c.started_at, 0);",
        new=";",
        tests=(
            "contract/test_figures.py"
            "::test_what_a_dead_worker_told_says_when_its_attempts_began[postgres]",
        ),
    ),
    Mutant(
        name="tellings-that-wait-are-bounded",
        promises=(15,),
        guard="beyond sixty tellings that wait, the oldest become one",
        file="reporter.py",
        old="if len(self._untold) <= MOST_UNTOLD:",
        new="if True:",
        tests=(
            "engine/test_figures.py::test_a_storage_that_is_away_for_long_costs_a_bounded_memory",
        ),
    ),
    Mutant(
        name="kinds-of-jobs-are-bounded-in-memory",
        promises=(15,),
        guard="beyond two hundred queues and types the others are counted together",
        file="counting.py",
        old="if self._size >= MOST_SERIES and (queue, type_) != (OTHER, OTHER):",
        new="if False:",
        tests=(
            "unit/test_counting.py::test_queues_and_types_beyond_two_hundred_are_counted_together",
        ),
    ),
    Mutant(
        name="kinds-of-jobs-are-bounded-in-a-store",
        promises=(15,),
        guard="beyond a thousand queues and types the others are counted together",
        file="storage/told.py",
        old="if len(series) < MOST_SERIES:",
        new="if True:",
        tests=(
            "contract/test_figures.py"
            "::test_beyond_a_thousand_kinds_of_jobs_the_others_are_counted_together[memory]",
        ),
    ),
    Mutant(
        name="figures-are-forgotten-in-time",
        promises=(10,),
        guard="stretches whose time has passed go",
        file="storage/told.py",
        old="return now - KEPT[step] * SECOND",
        new="return 0",
        tests=(
            "contract/test_figures.py"
            "::test_figures_go_when_their_time_has_passed_and_sums_stay[memory]",
        ),
    ),
    Mutant(
        name="drained-worker-keeps-no-claim-that-was-on-its-way",
        promises=(11,),
        guard="what a claim brings that was asked for before the worker was drained goes back",
        file="claimer.py",
        old="if self._lanes.drained or not self._stands_for(worker):",
        new="if not self._stands_for(worker):",
        tests=(
            "engine/test_figures.py::test_a_claim_on_its_way_while_a_worker_is_drained_goes_back",
        ),
    ),
    Mutant(
        name="drained-worker-looks-for-nothing",
        promises=(11,),
        guard="a worker that drains claims nothing",
        file="claimer.py",
        old="if self._lanes.drained:  # Who ends that rings.",
        new="if False:",
        hangs=True,  # It claims and gives back, again and again.
        limit=15.0,
        tests=(
            "engine/test_figures.py"
            "::test_a_worker_that_drains_ends_what_it_runs_and_begins_nothing",
            "engine/test_figures.py::test_a_worker_that_drained_claims_again_when_it_is_told",
        ),
    ),
    Mutant(
        name="drained-worker-stays-so-under-another-number",
        promises=(11,),
        guard="who lost its lease and enlists anew was still asked to claim nothing",
        file="lease.py",
        old="spec = msgspec.structs.replace(self._spec, draining=self._draining)",
        new="spec = self._spec",
        tests=("engine/test_figures.py::test_a_worker_that_lost_its_lease_goes_on_draining",),
    ),
)
