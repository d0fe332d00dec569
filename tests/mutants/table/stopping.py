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
        old='for table, column in (("job", "key"), ("job_error", "job"), ("job_log", "job")):',
        new='for table, column in (("job", "key"),):',
        tests=("contract/test_retention.py", "process/test_folder_faults.py"),
        limit=180,
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
        tests=("engine/test_stop.py", "crash/test_stop.py"),
        limit=180,
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
        name="no-claim-while-stopping",
        promises=(11,),
        guard="who stops claims no more",
        file="worker.py",
        old="        for claimer in self._claimers.values():\n            await claimer.stop()",
        new="        for claimer in ():\n            await claimer.stop()",
        tests=("engine/test_stop.py", "crash/test_stop.py"),
        limit=180,
    ),
    Mutant(
        name="no-start-while-stopping",
        promises=(11,),
        guard="who stops starts nothing of what is ready",
        file="worker.py",
        old="return not self._leaving and self._lease.stands() and not self._recorder.full",
        new="return self._lease.stands() and not self._recorder.full",
        tests=("engine/test_stop.py", "crash/test_stop.py"),
        limit=180,
    ),
    Mutant(
        name="grace-ends",
        promises=(11,),
        guard="what runs beyond the grace period is released",
        file="worker.py",
        old='            self._runner.stop_all("release")',
        new="            self._runner.stop_all",
        tests=("engine/test_stop.py", "crash/test_stop.py"),
        limit=180,
        hangs=True,
    ),
    Mutant(
        name="outcomes-written-before-leaving",
        promises=(11, 3),
        guard="who stops writes the outcomes that it has before it leaves",
        file="worker.py",
        old="""
        await self._processes.close()
        await self._recorder.stop(LEAVE)
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
        tests=("engine/test_storage_errors.py",),
    ),
    Mutant(
        name="unknown-inserts-go-back",
        promises=(5, 11),
        guard="jobs that an insert gave to this worker, with a reply that was lost, are given back",
        file="worker.py",
        old="            self._spawn(self._return_unknown())",
        new="            self._spawn",
        tests=("engine/test_storage_errors.py",),
    ),
    Mutant(
        name="uncounted-starts-go-back",
        promises=(5, 15),
        guard="claims whose start could not be counted are given back",
        file="claimer.py",
        old="""
            log.exception("%d starts could not be counted; those jobs go back", len(claims))
            self._lanes.returned(claims)
            self._release(claims)
        """,
        new="""
            log.exception("%d starts could not be counted; those jobs go back", len(claims))
            self._lanes.returned(claims)
        """,
        tests=("engine/test_storage_errors.py",),
    ),
    Mutant(
        name="thread-keeps-its-lease",
        promises=(11, 5),
        guard="a thread that outlives the grace period keeps its lease until it ends",
        file="worker.py",
        old="        if left and self._lease.stands():",
        new="        if not left and self._lease.stands() and left:",
        tests=("engine/test_stop.py", "crash/test_stop.py"),
        limit=180,
    ),
)
