"""One outcome an attempt, terminal is final; one bad job spoils no other (promises 3 and 15)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="first-outcome-is-the-last",
        promises=(3,),
        guard="an outcome counts only while its job is active",
        file="storage/sqlite/outcomes.py",
        old="""
            cancel_requested = 0
        FROM jsonb_each(?1) AS t
        WHERE job.key = t.value->>0 AND job.token = t.value->>1 AND job.state = 1
        """,
        new="""
            cancel_requested = 0
        FROM jsonb_each(?1) AS t
        WHERE job.key = t.value->>0 AND job.token = t.value->>1
        """,
        tests=("contract/test_fences.py",),
    ),
    Mutant(
        name="first-completion-is-the-last",
        promises=(3,),
        guard="the same in the short statement for jobs that went well",
        file="storage/sqlite/outcomes.py",
        old="job.key = column1 AND job.token = column2 AND job.state = 1",
        new="job.key = column1 AND job.token = column2",
        tests=("contract/test_fences.py",),
    ),
    Mutant(
        name="outcome-sent-twice-at-once",
        promises=(3,),
        guard="an outcome that is twice in a batch is applied once",
        file="storage/sqlite/outcomes.py",
        old="""
        if len(once) < len(transitions):  # Sent again while it was on its way.
            transitions = list(once.values())
        """,
        new="",
        tests=("contract/test_fences.py",),
    ),
    Mutant(
        name="active-is-not-retried",
        promises=(3, 2),
        guard="people cannot retry a job that runs",
        file="storage/sqlite/inspect.py",
        old="""
        if state == State.ACTIVE:
            raise JobStateError(f"job {job_id} is active; cancel it, or wait for its end")
        """,
        new="",
        tests=("contract/test_steering.py",),
    ),
    Mutant(
        name="active-is-not-deleted",
        promises=(3, 1),
        guard="people cannot delete a job that runs",
        file="storage/sqlite/inspect.py",
        old="""
        if state == State.ACTIVE:
            raise JobStateError(f"job {job_id} is active; cancel it before you delete it")
        """,
        new="",
        tests=("contract/test_steering.py",),
    ),
    Mutant(
        name="ended-is-not-cancelled",
        promises=(3,),
        guard="terminal is final: a cancel does not touch what has ended",
        file="storage/sqlite/inspect.py",
        old="WHERE key IN (SELECT value FROM json_each(:keys)) AND state NOT BETWEEN 2 AND 4",
        new="WHERE key IN (SELECT value FROM json_each(:keys))",
        tests=("contract/test_steering.py",),
    ),
    Mutant(
        name="bulk-change-looks-again",
        promises=(3,),
        guard="a bulk change touches only jobs that still are what was looked for",
        file="storage/sqlite/inspect.py",
        old='change + _STILL.format(f"{condition} AND {state}"),',
        new='change + _STILL.format("true"),',
        tests=(
            "contract/test_steering.py"
            "::test_a_bulk_change_among_others_touches_only_what_still_is_what_it_looks_for",
        ),
    ),
    Mutant(
        name="bulk-delete-looks-again",
        promises=(3, 1),
        guard="a bulk delete removes only jobs that nobody has retried since it looked",
        file="storage/sqlite/inspect.py",
        old="""
            " AND state BETWEEN 2 AND 4",
            (json.dumps(list(keys)),),
        """,
        new="""
            "",
            (json.dumps(list(keys)),),
        """,
        tests=("contract/test_steering.py",),
    ),
    Mutant(
        name="waiting-is-cancelled-at-once",
        promises=(3,),
        guard="a cancel ends a job that waits, instead of only asking for it",
        file="storage/sqlite/inspect.py",
        old="state = CASE WHEN state = 1 THEN 1 ELSE 4 END",
        new="state = state",
        tests=("contract/test_steering.py",),
    ),
    Mutant(
        name="cancel-wins-over-retry",
        promises=(3,),
        guard="a job that people cancelled does not run again after its attempt",
        file="storage/sqlite/outcomes.py",
        old='_STOPPED = "cancel_requested AND t.value->>2 IN (0, 6)"',
        new='_STOPPED = "cancel_requested AND t.value->>2 IN (6)"',
        tests=("contract/test_finishing.py",),
    ),
    Mutant(
        name="cancel-wins-over-coming-back",
        promises=(3, 11),
        guard="a job that people cancelled ends when it is given back",
        file="storage/sqlite/claims.py",
        old="SET state = CASE WHEN cancel_requested THEN 4 ELSE 0 END,",
        new="SET state = 0,",
        tests=("contract/test_giving_back.py", "contract/test_leases.py"),
    ),
    Mutant(
        name="group-tried-apart",
        promises=(15,),
        guard="a group commit that fails for one of its changes is tried change by change",
        file="storage/writer.py",
        old="""
                "a group of %d changes failed; trying each alone", len(changes), exc_info=True
            )
            self._apart(changes, error)
        """,
        new="""
                "a group of %d changes failed", len(changes), exc_info=True
            )
            for change in changes:
                change.error = error
        """,
        tests=("contract/test_inserting.py", "contract/test_bad_items.py"),
    ),
    Mutant(
        name="refused-group-tried-apart",
        promises=(15,),
        guard="so is one of which SQLite refuses a statement",
        file="storage/writer.py",
        old="            if isinstance(error, _OWN_FAULT):",
        new="            if not isinstance(error, apsw.Error):",
        tests=(
            "process/test_folder_faults.py"
            "::test_a_job_that_is_too_large_is_refused_with_what_to_do_and_alone",
        ),
    ),
    Mutant(
        name="outcomes-tried-apart",
        promises=(15,),
        guard="of the outcomes of one batch each is tried alone, where one cannot be written",
        file="storage/writer.py",
        old="""
            if isinstance(change, Finishes):
                self._finish_apart(change)
                continue
            try:
        """,
        new="""
            try:
        """,
        tests=("contract/test_bad_items.py",),
    ),
    Mutant(
        name="unwritable-outcome-ends",
        promises=(15, 3),
        guard="a job whose outcome cannot be written fails and says so, instead of staying active",
        file="storage/writer.py",
        old="for outcome in (transition, transition.unkept(change.now)):",
        new="for outcome in (transition,):",
        tests=("contract/test_bad_items.py",),
    ),
    Mutant(
        name="memory-tries-apart",
        promises=(15,),
        guard="the same in the memory storage",
        file="storage/embedded.py",
        old="await self._alone(outcomes.finish, worker, [one.unkept(now)], now)",
        new="pass",
        tests=("contract/test_bad_items.py",),
    ),
    Mutant(
        name="poison-data-ends-its-job",
        promises=(15,),
        guard="data that does not fit its type fails that job, and not the batch that it came with",
        file="runner.py",
        old="""
                try:
                    begun = self._begin(claim, lanes, now, uptime)
                except Exception as error:
                    self._not_begun(claim, now, error)
                    begun = False
        """,
        new="""
                begun = self._begin(claim, lanes, now, uptime)
        """,
        tests=("engine/test_types.py",),
        hangs=True,
    ),
    Mutant(
        name="exit-ends-its-attempt-only",
        promises=(15,),
        guard="a handler that calls sys.exit ends its attempt, not its worker",
        file="runner.py",
        old="""
        except BaseException as error:
            # SystemExit and the like end the attempt, never the worker.
            outcome = _of_base(error)
        """,
        new="",
        tests=("engine/test_isolation.py",),
        hangs=True,
    ),
    Mutant(
        name="backoff-that-fails",
        promises=(15, 3),
        guard="a backoff function that raises ends its job, which else had no outcome at all",
        file="runner.py",
        old="        except Exception as error:  # A backoff function of the user's.",
        new="        except TimeoutError as error:",
        tests=("engine/test_retries.py",),
        hangs=True,
    ),
    Mutant(
        name="claims-are-bounded",
        promises=(15,),
        guard="one claim does not take more data at once than a process can hold",
        file="storage/sqlite/claims.py",
        old="    bounded: bool = True,",
        new="    bounded: bool = False,",
        tests=("contract/test_claims.py",),
    ),
    Mutant(
        name="errors-are-bounded",
        promises=(15,),
        guard="a job keeps its last fifty errors, not all of them",
        file="storage/sqlite/outcomes.py",
        old="""
            if t.failure is not None and t.failure.attempt > MAX_ERRORS:
                trim_errors(ledger, t.key)
        """,
        new="""
            del t
        """,
        tests=("contract/test_finishing.py", "engine/test_retries.py"),
    ),
    Mutant(
        name="overdue-keeps-its-slot",
        promises=(9,),
        guard="code that runs on after its attempt has ended keeps its slot",
        file="runner.py",
        old="""
            self._forsake(running)
            self._settle(running, outcome)
        """,
        new="""
            self._forsake(running)
            self._settle(running, outcome)
            running.lanes.ended()
        """,
        tests=("engine/test_timeouts.py", "engine/test_threads.py"),
    ),
    Mutant(
        name="unrecorded-is-bounded",
        promises=(15,),
        guard="while a storage takes no outcomes, a worker does not go on without bound",
        file="worker.py",
        old="return self._lease.stands() and not self._recorder.full",
        new="return self._lease.stands()",
        tests=("engine/test_lease.py",),
    ),
    Mutant(
        name="limits-hold",
        promises=(9,),
        guard="no more jobs run at once than a worker has slots",
        file="lanes.py",
        old="return bool(self._ready) and self.busy < self.slots",
        new="return bool(self._ready)",
        tests=("unit/test_lanes.py", "engine/test_queues.py"),
    ),
)
