"""A start is durable before user code runs, and only starts are charged (promise 4)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="counted-before-the-run",
        promises=(4,),
        guard="the attempt is counted before user code runs, and the answer is waited for",
        file="claimer.py",
        old="await self._storage.start(worker, [claim.key for claim in claims])",
        new="self._said = asyncio.gather("
        "self._storage.start(worker, [claim.key for claim in claims]), return_exceptions=True)",
        tests=("engine/test_storage_errors.py::test_no_code_begins_before_its_start_is_counted",),
    ),
    Mutant(
        name="cleared-as-needed",
        promises=(4,),
        guard="no more is cleared to start than begins while starts are counted",
        file="lanes.py",
        old="self._cleared_ahead = min(self._ahead // 2, self._end_while_counted())",
        new="self._cleared_ahead = self._ahead // 2",
        tests=("unit/test_lanes.py::test_no_more_is_cleared_than_begins_while_starts_are_counted",),
    ),
    Mutant(
        name="claim-counts-starts",
        promises=(4,),
        guard="a claim counts what finds a free slot as started",
        file="storage/sqlite/claims.py",
        old="""
        if started:
            ledger.mark(worker, [claim.key for claim in claims[:started]])
        """,
        new="",
        tests=("contract/test_claims.py", "contract/test_leases.py"),
    ),
    Mutant(
        name="insert-counts-starts",
        promises=(4,),
        guard="a job that passes straight to a free slot counts as started",
        file="storage/sqlite/inserts.py",
        old="""
            if start:
                started.append(key)
        """,
        new="",
        tests=("contract/test_direct_claims.py",),
    ),
    Mutant(
        name="starts-are-written",
        promises=(4,),
        guard="what a worker may have started is written with the commit, not only remembered",
        file="storage/sqlite/ledger.py",
        old='self.run("UPDATE worker SET started = ?2 WHERE id = ?1", (worker, started))',
        new="del started",
        tests=("contract/test_claims.py", "contract/test_leases.py"),
    ),
    Mutant(
        name="only-starts-are-charged",
        promises=(4,),
        guard="the death of a worker is charged only to jobs that may have started",
        file="storage/sqlite/workers.py",
        old="charged = set(json.loads(started))",
        new='charged = {key for (key,) in ledger.run("SELECT key FROM job WHERE worker = ?", '
        "(worker,))}",
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="starts-are-charged",
        promises=(4,),
        guard="a crash consumes an attempt",
        file="storage/sqlite/workers.py",
        old='more=", attempt = attempt + 1, crashes = crashes + 1"',
        new='more=", crashes = crashes + 1"',
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="deaths-are-counted",
        promises=(4,),
        guard="the deaths of workers under a job are counted",
        file="storage/sqlite/workers.py",
        old='more=", attempt = attempt + 1, crashes = crashes + 1"',
        new='more=", attempt = attempt + 1"',
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="board-is-read",
        promises=(4,),
        guard="of what a killed worker might have started, only what its board names has begun",
        file="storage/file.py",
        old="dead[worker] = StartBoard.read(_board(folder, worker))",
        new="dead[worker] = None",
        tests=(
            "crash/test_orphans.py"
            "::test_orphans_run_at_once_and_only_those_that_had_begun_are_charged",
        ),
    ),
    Mutant(
        name="board-is-written",
        promises=(4,),
        guard="the board of starts is written before a handler's first line",
        file="storage/file.py",
        old="            board.note(claim)",
        new="            board.read",
        tests=(
            "crash/test_orphans.py"
            "::test_orphans_run_at_once_and_only_those_that_had_begun_are_charged",
        ),
    ),
    Mutant(
        name="thread-notes-its-start",
        promises=(4,),
        guard="the same for a handler in a thread",
        file="runner.py",
        old="""
            if self._note_start(running.claim):
                value = self._context.copy().run(_call, running, handler, job)
        """,
        new="""
            if running.claim:
                value = self._context.copy().run(_call, running, handler, job)
        """,
        tests=(
            "process/test_starts_noted.py::test_a_start_is_noted_before_the_first_line[thread]",
        ),
    ),
    Mutant(
        name="coroutine-notes-its-start",
        promises=(4,),
        guard="the same for one on the loop",
        file="runner.py",
        old="""
            if self._note_start(running.claim):
                running.group.add(running, self._loop.time())
        """,
        new="""
            if running.claim:
                running.group.add(running, self._loop.time())
        """,
        tests=("process/test_starts_noted.py::test_a_start_is_noted_before_the_first_line[loop]",),
    ),
    Mutant(
        name="lease-looked-at-before-a-child-begins",
        promises=(8, 2),
        guard="the same for a job that a child process is to run",
        file="runner.py",
        old="""
                running.why = "lost"
                return None
        """,
        new="""
                pass
        """,
        tests=(
            "process/test_isolation.py::test_what_is_not_to_begin_any_more_is_not_given_to_a_child",
        ),
    ),
    Mutant(
        name="lease-looked-at-before-the-first-line",
        promises=(8, 2),
        guard="who was stopped since it chose a job to run does not begin what is another's now",
        file="worker.py",
        old="""
        if not self._lease.stands():
            return False
        self._storage.note_start(self._lease.worker, claim)
        """,
        new="""
        self._storage.note_start(self._lease.worker, claim)
        """,
        tests=(
            "engine/test_lease.py"
            "::test_a_worker_that_was_suspended_right_before_a_first_line_does_not_run_it",
        ),
    ),
    Mutant(
        name="process-notes-its-start",
        promises=(4,),
        guard="the same for a handler in a child process",
        file="runner.py",
        old="""
            if not self._note_start(running.claim):
                running.why = "lost"
        """,
        new="""
            if not running.claim:
                running.why = "lost"
        """,
        tests=(
            "process/test_isolation.py"
            "::test_what_had_begun_in_a_child_is_charged_when_its_worker_is_killed",
        ),
    ),
    Mutant(
        name="end-of-a-start-is-written",
        promises=(4,),
        guard="an attempt that has ended is not charged to the next claim of its job",
        file="storage/sqlite/outcomes.py",
        old="        ledger.unmark(worker, [t.key for t in transitions])",
        new="        del worker",
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="returned-starts-are-unmarked",
        promises=(4, 11),
        guard="a start that was given back is not charged when its worker dies later",
        file="storage/sqlite/claims.py",
        old="ledger.unmark(worker, ledger.started.get(worker, set()) - kept)",
        new="del kept",
        tests=("contract/test_giving_back.py",),
    ),
    Mutant(
        name="poison",
        promises=(4,),
        guard="three deaths of workers fail a job, whatever retries remain",
        file="transition.py",
        old="    if claim.crashes >= MAX_CRASHES:",
        new="    if claim.crashes >= MAX_CRASHES and claim.attempt > policy.retries:",
        tests=("unit/test_transition.py", "engine/test_lease.py"),
    ),
    Mutant(
        name="poison-of-a-process",
        promises=(4,),
        guard="three deaths of a child process fail a job, whatever retries remain",
        file="transition.py",
        old="        error = msgspec.structs.replace(error, retry=False)",
        new="        error = msgspec.structs.replace(error, retry=True)",
        tests=(
            "process/test_isolation.py"
            "::test_a_job_that_kills_its_process_again_and_again_is_poison",
        ),
    ),
    Mutant(
        name="no-attempt-left-after-a-crash",
        promises=(4,),
        guard="a job whose last attempt was a crash does not run again",
        file="transition.py",
        old="""
        if made <= policy.retries:
            return None
        """,
        new="""
        return None
        """,
        tests=("unit/test_transition.py", "engine/test_lease.py"),
    ),
    Mutant(
        name="retries-plus-one",
        promises=(4,),
        guard="retries=N allows N+1 attempts",
        file="transition.py",
        old="or used > policy.retries:",
        new="or used >= policy.retries:",
        tests=("unit/test_transition.py", "engine/test_retries.py"),
    ),
    Mutant(
        name="snooze-costs-nothing",
        promises=(4,),
        guard="a snooze costs no attempt",
        file="transition.py",
        old="""
            claim.key, claim.token, State.WAITING, until, claim.attempt,
        """,
        new="""
            claim.key, claim.token, State.WAITING, until, claim.attempt + 1,
        """,
        tests=("unit/test_transition.py", "engine/test_retries.py"),
    ),
    Mutant(
        name="release-costs-nothing",
        promises=(4, 11),
        guard="a release costs no attempt",
        file="transition.py",
        old="State.WAITING, None, claim.attempt, started_at, None, None,",
        new="State.WAITING, None, claim.attempt + 1, started_at, None, None,",
        tests=("unit/test_transition.py::test_every_outcome_has_one_transition",),
    ),
    Mutant(
        name="parking-costs-nothing",
        promises=(4,),
        guard="parking costs no attempt",
        file="transition.py",
        old="State.PARKED, None, claim.attempt, None,",
        new="State.PARKED, None, claim.attempt + 1, None,",
        tests=("unit/test_transition.py", "engine/test_types.py"),
    ),
    Mutant(
        name="unknown-types-are-parked",
        promises=(4, 15),
        guard="a job whose type a worker does not know is parked, not failed",
        file="runner.py",
        old="""
        if known is None or known.handler is None:
            self._skip(claim, Parked(), None)
        """,
        new="""
        if known is None or known.handler is None:
            self._skip(claim, Errored("JobTypeError", "no handler", retry=False), None)
        """,
        tests=("engine/test_types.py",),
    ),
    Mutant(
        name="parked-for-those-who-know",
        promises=(15,),
        guard="a worker gets parked jobs only of types that it knows",
        file="storage/sqlite/claims.py",
        old="            if queue in served and type_ in want.types:",
        new="            if queue in served:",
        tests=("contract/test_parking.py",),
    ),
    Mutant(
        name="fresh-budget",
        promises=(4,),
        guard="a job that people retry has all its attempts again",
        file="storage/sqlite/inspect.py",
        old="run_at = :now, budget = attempt, crashes = 0,",
        new="run_at = :now, crashes = 0,",
        tests=("contract/test_steering.py",),
    ),
    Mutant(
        name="disowned-costs-nothing",
        promises=(4, 11),
        guard="a thread that outlives its worker is not charged when the process ends",
        file="storage/sqlite/claims.py",
        old="    ledger.unmark(worker, keys)",
        new="    ledger.mark(worker, keys)",
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="expired-is-not-run",
        promises=(4,),
        guard="a job that expired while it waited inside a worker is not run",
        file="runner.py",
        old="if claim.expires_at is not None and claim.expires_at <= now:",
        new="if claim.expires_at is not None and claim.expires_at < 0:",
        tests=(
            "engine/test_moments.py"
            "::test_a_job_that_has_not_started_in_time_is_cancelled_unstarted",
        ),
    ),
    Mutant(
        name="begun-does-not-expire",
        promises=(4,),
        guard="a job that has begun in time does not expire while it waits to go on",
        file="storage/sqlite/claims.py",
        old='UNSTARTED: Final = "attempt = 0 AND started_at IS NULL"',
        new='UNSTARTED: Final = "attempt = 0"',
        tests=(
            "contract/test_retention.py"
            "::test_a_job_that_started_in_time_does_not_expire_while_it_waits_to_go_on",
        ),
    ),
)
