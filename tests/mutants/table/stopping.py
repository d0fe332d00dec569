"""Retention removes only what has ended, and who stops gives back what has not begun (promises 10
and 11)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="retention-of-ended-only",
        promises=(10,),
        guard="retention removes only jobs that have ended",
        file="storage/sqlite/retention.py",
        old="for state in (State.COMPLETED, State.FAILED, State.CANCELLED) if cutoff >= 0 else ():",
        new="for state in State if cutoff >= 0 else ():",
        also=(
            (
                "SELECT key, created_at, finished_at FROM job",
                "SELECT key, created_at, ifnull(finished_at, created_at) FROM job",
            ),
            (
                "WHERE state = ?1 AND state BETWEEN 2 AND 4 AND key > ?2",
                "WHERE state = ?1 AND key > ?2",
            ),
        ),
        tests=("contract/test_retention.py",),
    ),
    Mutant(
        name="retention-cutoff",
        promises=(10,),
        guard="retention removes only what ended before the cutoff",
        file="storage/sqlite/retention.py",
        old="keys = [key for key, _, finished_at in rows if finished_at < cutoff]",
        new="keys = [key for key, _, finished_at in rows if finished_at]",
        tests=("contract/test_retention.py",),
    ),
    Mutant(
        name="retention-from-the-end",
        promises=(10,),
        guard="retention counts from the end of a job, not from when it was made",
        file="storage/sqlite/retention.py",
        old="keys = [key for key, _, finished_at in rows if finished_at < cutoff]",
        new="keys = [key for key, created_at, _ in rows if created_at < cutoff]",
        tests=("contract/test_retention.py",),
    ),
    Mutant(
        name="retention-for-ever",
        promises=(10,),
        guard="without a retention everything is kept",
        file="storage/embedded.py",
        old="cutoff = -1 if keep is None else now - round(keep * SECOND)",
        new="cutoff = now - round((keep or 0) * SECOND)",
        tests=("contract/test_retention.py",),
    ),
    Mutant(
        name="retention-leaves-nothing",
        promises=(10,),
        guard="what is kept with a job goes with it",
        file="storage/sqlite/retention.py",
        old="for table, column in _TABLES:",
        new="for table, column in _TABLES[:1]:",
        tests=(
            "process/test_folder_faults.py"
            "::test_deleted_jobs_are_gone_with_all_that_was_kept_with_them",
        ),
    ),
    Mutant(
        name="expiry-spares-what-began",
        promises=(10, 4),
        guard="only what has not begun expires while it waits",
        file="storage/sqlite/retention.py",
        old="""
            SELECT key FROM job WHERE state = 0 AND expires_at IS NOT NULL AND expires_at <= ?1
            AND {UNSTARTED} LIMIT ?2
        """,
        new="""
            SELECT key FROM job WHERE state = 0 AND expires_at IS NOT NULL AND expires_at <= ?1
            LIMIT ?2
        """,
        tests=("contract/test_retention.py",),
    ),
    Mutant(
        name="give-back-at-stop",
        promises=(11,),
        guard="who stops gives back what has not begun, at once",
        file="worker.py",
        old="        await self._give_back_unstarted()",
        new="        await asyncio.sleep(0)",
        tests=(
            "engine/test_stop.py"
            "::test_what_has_not_begun_goes_back_at_once_and_not_after_the_grace",
        ),
    ),
    Mutant(
        name="give-back-when-retiring",
        promises=(11, 5),
        guard="a worker that retires gives back whatever it holds",
        file="storage/sqlite/workers.py",
        old="""
            give_back(ledger, worker, (), now)
            ledger.dismiss(worker)


        def workers(ledger: Ledger) -> list[Enlisted]:
        """,
        new="""
            ledger.dismiss(worker)


        def workers(ledger: Ledger) -> list[Enlisted]:
        """,
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="gives-back-its-own-only",
        promises=(11, 2),
        guard="a worker gives back only its own claims",
        file="storage/sqlite/claims.py",
        old="""
            worker = NULL, cancel_requested = 0, token = ?2 {more}
        WHERE worker = ?1 AND state = 1
        """,
        new="""
            worker = NULL, cancel_requested = 0, token = ?2 {more}
        WHERE ?1 AND state = 1
        """,
        tests=("contract/test_giving_back.py",),
    ),
    Mutant(
        name="kept-is-not-given-back",
        promises=(11, 2),
        guard="what runs is kept when a worker gives back the rest",
        file="storage/sqlite/claims.py",
        old='+ "AND (key, token) NOT IN (SELECT value->>0, value->>1 FROM json_each(?4))"',
        new='+ "AND ?4 IS NOT NULL"',
        tests=("contract/test_giving_back.py",),
    ),
    Mutant(
        name="claims-are-kept-by-token",
        promises=(5, 11),
        guard="a second claim of a job, whose reply was lost, comes back though the first is kept",
        file="storage/sqlite/claims.py",
        old='+ "AND (key, token) NOT IN (SELECT value->>0, value->>1 FROM json_each(?4))"',
        new='+ "AND key NOT IN (SELECT value->>0 FROM json_each(?4))"',
        tests=("contract/test_giving_back.py", "engine/test_storage_errors.py"),
    ),
    Mutant(
        name="no-claim-while-stopping",
        promises=(11,),
        guard="who stops claims no more",
        file="worker.py",
        old="""
        for claimer in self._claimers.values():
            await claimer.stop()
        """,
        new="",
        also=(
            (
                """
                for lanes in self._lanes:
                    lanes.closed += 1
                while any(lanes.coming for lanes in self._lanes):
                """,
                """
                while any(lanes.coming for lanes in self._lanes):
                """,
            ),
        ),
        tests=("engine/test_stop.py", "crash/test_stop.py"),
        limit=180,
    ),
    Mutant(
        name="loops-end",
        promises=(11,),
        guard="the loops of a worker that has stopped have ended",
        file="worker.py",
        old="""
        for claimer in self._claimers.values():
            await claimer.stop()
        """,
        new="",
        tests=("engine/test_stop.py",),
        limit=120,
    ),
    Mutant(
        name="no-start-while-stopping",
        promises=(11,),
        guard="who stops starts nothing of what is ready",
        file="worker.py",
        old="if self.draining or self._leaving:",
        new="if self.draining:",
        tests=("engine/test_stop.py::test_nothing_begins_while_the_loops_are_being_stopped",),
    ),
    Mutant(
        name="grace-ends",
        promises=(11,),
        guard="what runs beyond the grace period is released",
        file="worker.py",
        old='            self._runner.stop_all("release")',
        new="            self._runner.stop_all",
        tests=(
            "engine/test_stop.py"
            "::test_a_job_that_does_not_end_in_time_is_released_and_costs_no_attempt",
        ),
        hangs=True,
    ),
    Mutant(
        name="outcomes-written-before-leaving",
        promises=(11, 3),
        guard="who stops writes the outcomes that it has before it leaves",
        file="worker.py",
        old="""
        await self._processes.close()
        await self._recorder.stop(min(LEAVE, max(0.0, self._left_of(GONE))))
        """,
        new="""
        await self._processes.close()
        """,
        tests=("engine/test_stop.py", "crash/test_stop.py"),
        limit=180,
    ),
    Mutant(
        name="unknown-claims-go-back",
        promises=(5, 11),
        guard="claims whose reply was lost are given back, since nobody here knows of them",
        file="claimer.py",
        old="            await self._return_unknown()\n            raise",
        new="            raise",
        tests=(
            "engine/test_storage_errors.py"
            "::test_claims_whose_reply_was_lost_come_back_though_giving_back_fails_too",
        ),
    ),
    Mutant(
        name="abandoned-inserts-go-before",
        promises=(5, 11),
        guard="giving back comes after the inserts that were asked for before it",
        file="storage/changes.py",
        old="if type(change) is GivesBack and added:",
        new="if False:",
        tests=(
            "contract/test_giving_back.py"
            "::test_an_insert_that_nobody_waits_for_any_more_is_found_by_a_later_give_back",
        ),
    ),
    Mutant(
        name="unknown-claims-wait",
        promises=(5, 2),
        guard="claims are not given back as unknown while the answer of another one is on its way",
        file="worker.py",
        old="""
                if any(lanes.coming for lanes in self._lanes) or any(
                    claimer.claiming for claimer in self._claimers.values()
                ):
                    await asyncio.sleep(0.01)
                    continue
        """,
        new="",
        tests=("engine/test_storage_errors.py", "engine/test_queues.py"),
    ),
    Mutant(
        name="unwanted-is-not-run",
        promises=(3,),
        guard="a job that people cancelled or paused while its start was counted does not begin",
        file="claimer.py",
        old="unwanted = [claim for claim in claims if self._unwanted(claim)]",
        new="unwanted: list[Claim] = []",
        tests=("engine/test_queues.py", "engine/test_cancel.py"),
    ),
    Mutant(
        name="unknown-inserts-go-back",
        promises=(5, 11),
        guard="jobs that an insert gave to this worker, with a reply that was lost, are given back",
        file="worker.py",
        old="""
            self._spawn(self._return_unknown())
            raise
        """,
        new="""
            raise
        """,
        tests=(
            "engine/test_storage_errors.py"
            "::test_a_job_whose_insert_was_answered_with_an_error_runs_if_it_was_kept",
        ),
    ),
    Mutant(
        name="inserts-carried-out-twice",
        promises=(5, 6),
        guard="a claim that the first of two answers told, and only the second arrived, goes back",
        file="worker.py",
        old="            if not inserted.created and inserted.id == job.id:",
        new="            if not inserted.id:",
        tests=(
            "engine/test_storage_errors.py::test_a_job_whose_insert_was_carried_out_twice_runs",
        ),
    ),
    Mutant(
        name="uncounted-starts-go-back",
        promises=(5, 15),
        guard="claims whose start could not be counted are given back",
        file="claimer.py",
        old="""
            )  # fmt: skip
            self._lanes.returned(claims)
            self._release(claims)
        """,
        new="""
            )
            self._lanes.returned(claims)
        """,
        tests=("engine/test_storage_errors.py::test_starts_that_could_not_be_counted_go_back",),
    ),
    Mutant(
        name="thread-keeps-its-lease",
        promises=(11, 5),
        guard="a thread that outlives the grace period keeps its lease until it ends",
        file="worker.py",
        old="        if left and self._lease.stands():",
        new="        if not left and self._lease.stands() and left:",
        tests=("engine/test_stop.py::test_code_that_ignores_the_end_of_its_grace_keeps_its_lease",),
    ),
    Mutant(
        name="return-unknown-past-a-moment",
        promises=(5,),
        guard="unknown claims go back also after a moment in which the lease did not stand",
        file="worker.py",
        old="""
                if not self._lease.stands():
                    await asyncio.sleep(SHUT)
                    continue
        """,
        new="""
                if not self._lease.stands():
                    break
        """,
        tests=(
            "engine/test_storage_errors.py"
            "::test_claims_whose_reply_was_lost_come_back_though_the_lease_stands_not_for_a_moment",
        ),
    ),
)
