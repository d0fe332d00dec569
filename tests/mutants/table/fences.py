"""Nobody but the owner of the newest claim ends or extends an attempt (promise 2)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="token-of-outcome",
        promises=(2,),
        guard="the lease fence: an outcome counts only with the token of the newest claim",
        file="storage/sqlite/outcomes.py",
        old="""
            cancel_requested = 0
        FROM jsonb_each(?1) AS t
        WHERE job.key = t.value->>0 AND job.token = t.value->>1 AND job.state = 1
        """,
        new="""
            cancel_requested = 0
        FROM jsonb_each(?1) AS t
        WHERE job.key = t.value->>0 AND job.state = 1
        """,
        tests=("contract/test_fences.py",),
    ),
    Mutant(
        name="token-of-completion",
        promises=(2,),
        guard="the same fence in the short statement for jobs that went well",
        file="storage/sqlite/outcomes.py",
        old="job.key = column1 AND job.token = column2 AND job.state = 1",
        new="job.key = column1 AND job.state = 1",
        tests=("contract/test_fences.py",),
    ),
    Mutant(
        name="token-of-progress",
        promises=(2,),
        guard="progress of a stale claim is dropped",
        file="storage/sqlite/outcomes.py",
        old="""
                       progress_message = ifnull(t.value->>4, progress_message)
        FROM jsonb_each(?1) AS t
        WHERE job.key = t.value->>0 AND job.token = t.value->>1 AND job.state = 1
        """,
        new="""
                       progress_message = ifnull(t.value->>4, progress_message)
        FROM jsonb_each(?1) AS t
        WHERE job.key = t.value->>0 AND job.state = 1
        """,
        tests=("contract/test_fences.py",),
    ),
    Mutant(
        name="token-of-errors-and-log",
        promises=(2,),
        guard="errors and log lines of a stale claim are dropped",
        file="storage/sqlite/outcomes.py",
        old="""
            WHERE job.key = t.value->>0 AND job.token = t.value->>1 AND job.state = 1)\"""
        """,
        new="""
            WHERE job.key = t.value->>0 AND job.state = 1)\"""
        """,
        tests=("contract/test_fences.py",),
    ),
    Mutant(
        name="token-grows",
        promises=(2,),
        guard="every act that hands out jobs has a token above all earlier ones",
        file="storage/sqlite/ledger.py",
        old="self._token += 1",
        new="self._token = self._token_known + 1",
        tests=("contract/test_fences.py",),
    ),
    Mutant(
        name="token-kept",
        promises=(2,),
        guard="the last token outlives the process that handed it out",
        file="storage/sqlite/ledger.py",
        old="if self._token != self._token_known:",
        new="if self._token < self._token_known:",
        tests=("contract/test_fences.py",),
    ),
    Mutant(
        name="token-of-what-came-back",
        promises=(2,),
        guard="a claim that was given back has lost its token",
        file="storage/sqlite/claims.py",
        old="worker = NULL, cancel_requested = 0, token = ?2 {more}",
        new="worker = NULL, cancel_requested = 0, token = max(token, 0 * ?2) {more}",
        tests=("contract/test_fences.py",),
    ),
    Mutant(
        name="keys-are-not-used-again",
        promises=(2, 10),
        guard="no job gets the number of one that was removed",
        file="storage/sqlite/retention.py",
        old="ledger.run(FORGOTTEN, (max(keys),))",
        new="pass",
        tests=("contract/test_fences.py", "contract/test_looking.py"),
    ),
    Mutant(
        name="dead-workers-claim-nothing",
        promises=(2, 5),
        guard="a worker that was declared dead gets no jobs",
        file="storage/sqlite/claims.py",
        old="""
        ledger.check_enlisted(worker)
        sources = _sources(ledger, want)
        """,
        new="""
        sources = _sources(ledger, want)
        """,
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="dead-workers-start-nothing",
        promises=(2, 5),
        guard="a worker that was declared dead starts no jobs",
        file="storage/sqlite/claims.py",
        old="""
        ledger.check_enlisted(worker)
        ledger.mark(worker, keys)
        """,
        new="""
        ledger.mark(worker, keys)
        """,
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="no-claim-without-a-lease",
        promises=(8, 2),
        guard="a worker whose lease does not stand claims nothing",
        file="claimer.py",
        old="if self._lanes.closed or not self._stands_for(self._worker()):",
        new="if self._lanes.closed:",
        tests=("engine/test_lease.py::test_a_worker_without_a_lease_claims_nothing",),
    ),
    Mutant(
        name="late-claims-not-run",
        promises=(2, 5),
        guard="claims whose answer came after the lease was lost are not run",
        file="claimer.py",
        old="if self._lanes.drained or not self._stands_for(worker):",
        new="if self._lanes.drained:",
        tests=("engine/test_lease.py",),
    ),
    Mutant(
        name="late-starts-not-run",
        promises=(2, 5),
        guard="starts whose answer came after the lease was lost are not run",
        file="claimer.py",
        old="            if self._stands_for(worker):",
        new="            if worker:",
        tests=("engine/test_lease.py",),
    ),
    Mutant(
        name="late-inserts-not-run",
        promises=(2, 5),
        guard="a job that an insert gave to this worker is not run if the lease was lost meanwhile",
        file="worker.py",
        old="if claim is not None and (self.draining or not self._lease.stands_for(worker)):",
        new="if claim is not None and self.draining:",
        tests=("engine/test_lease.py",),
    ),
    Mutant(
        name="lost-lease-stops-all",
        promises=(2, 8),
        guard="what a worker runs is stopped when its lease is lost",
        file="worker.py",
        old='self._runner.stop_all("lost")',
        new="self._runner.stop_all",
        tests=(
            "engine/test_lease.py"
            "::test_a_worker_whose_lease_was_taken_stops_enlists_again_and_goes_on",
        ),
    ),
    Mutant(
        name="lanes-emptied-on-loss",
        promises=(2,),
        guard="what a worker held ahead is forgotten when its lease is lost",
        file="worker.py",
        old="""
        self._runner.stop_all("lost")
        for lanes in self._lanes:
            lanes.empty()
        """,
        new="""
        self._runner.stop_all("lost")
        """,
        tests=("engine/test_lease.py",),
    ),
    Mutant(
        name="overdue-code-says-nothing",
        promises=(3, 2),
        guard="code that runs on after its attempt has ended has no second outcome",
        file="runner.py",
        old="""
        running.recorded = True
        running.group.remove(running)
        del self.running[running.claim.key]
        """,
        new="""
        running.group.remove(running)
        del self.running[running.claim.key]
        """,
        tests=(
            "engine/test_lease.py::test_a_thread_of_a_lost_lease_and_the_new_attempt_do_not_mix",
        ),
    ),
)
