"""Orphans come back fast, who lives is not robbed, and lease time is the storage's (promises 5 and
8)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="orphan-lock",
        promises=(5,),
        guard="a worker whose lock has fallen is dead at once, not when its lease ends",
        file="storage/file.py",
        old="elif until <= now or (lock_tells and not folder.is_held(worker)):",
        new="elif until <= now:",
        tests=(
            "crash/test_orphans.py"
            "::test_orphans_run_at_once_and_only_those_that_had_begun_are_charged",
        ),
    ),
    Mutant(
        name="own-workers-live",
        promises=(5, 2),
        guard="a process does not take its own workers for dead, whose locks it could take itself",
        file="storage/folder.py",
        old="""
        if worker in self._alive:
            return True
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, worker)
        """,
        new="""
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, worker)
        """,
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="lease-ends",
        promises=(5,),
        guard="a worker that lives but does not extend its lease is declared dead when it ends",
        file="storage/file.py",
        old="elif until <= now or (lock_tells and not folder.is_held(worker)):",
        new="elif lock_tells and not folder.is_held(worker):",
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="lease-stands-to-its-end",
        promises=(5,),
        guard="nobody is declared dead before its lease has ended",
        file="storage/file.py",
        old="elif until <= now or (lock_tells and not folder.is_held(worker)):",
        new="elif until <= now + lease / 2 or (lock_tells and not folder.is_held(worker)):",
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="memory-lease-ends",
        promises=(5,),
        guard="the same in the memory storage",
        file="storage/memory.py",
        old="for one in workers.workers(ledger) if one.until <= now}",
        new="for one in workers.workers(ledger) if one.until <= 0 * now}",
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="death-is-asked-again",
        promises=(5, 2),
        guard="who is dead is asked again in the transaction that takes its jobs",
        file="storage/embedded.py",
        old="        if not await self._write(self._dead):\n            return Reclaimed()",
        new="        found = await self._write(self._dead)\n        if not found:\n"
        "            return Reclaimed()",
        also=(("            dead = self._dead(ledger)", "            dead = found"),),
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="boot-id",
        promises=(8, 5),
        guard="a lease of an earlier start of the machine is over, whatever its number says",
        file="storage/file.py",
        old="            if its_boot != boot:",
        new="            if its_boot is None:",
        tests=(
            "process/test_reboot.py::test_the_workers_of_an_earlier_start_of_the_machine_are_dead",
        ),
    ),
    Mutant(
        name="lease-time-is-uptime",
        promises=(8,),
        guard="leases are counted in uptime, which nobody can set, not in the wall clock",
        file="storage/file.py",
        old="        now, boot = self.clock.uptime(), boot_id()",
        new="        now, boot = self.clock.now() / 1_000_000 - 1_749_995_000, boot_id()",
        tests=("contract/test_leases.py",),
    ),
    Mutant(
        name="uptime-counts-suspend",
        promises=(8,),
        guard="uptime goes on while the machine is suspended (CLOCK_BOOTTIME)",
        file="clock.py",
        old='_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)',
        new="_UPTIME = time.CLOCK_MONOTONIC",
        tests=("unit/test_clock.py",),
    ),
    Mutant(
        name="renewed-in-a-thread",
        promises=(5,),
        guard="the lease is renewed by a thread, however busy the worker's loop is",
        file="worker.py",
        old="            threaded=settings.threaded,",
        new="            threaded=False,",
        tests=(
            "crash/test_leases.py::test_nobody_robs_a_blocked_loop_or_a_long_job_or_a_long_drain",
        ),
    ),
    Mutant(
        name="kept-through-the-drain",
        promises=(5, 11),
        guard="a worker that leaves keeps its lease until what it runs has ended",
        file="worker.py",
        old="""
        self._leaving = True
        self.hurry(grace)
        """,
        new="""
        self._leaving = True
        self.hurry(grace)
        await self._lease.stop()
        """,
        tests=(
            "engine/test_lease.py::test_a_lease_is_kept_through_a_drain_that_is_longer_than_it",
        ),
    ),
    Mutant(
        name="lease-margin",
        promises=(8,),
        guard="a worker stops by itself before its lease ends, not when it ends",
        file="lease.py",
        old="until = beat.deadline - self._margin",
        new="until = beat.deadline",
        tests=("engine/test_lease.py",),
    ),
    Mutant(
        name="answer-in-time",
        promises=(8,),
        guard="a storage that does not answer an extension before the lease ends has ended it",
        file="lease.py",
        old="self._took(await asyncio.wait_for(self._storage.extend(self.worker), left))",
        new="self._took(await self._storage.extend(self.worker))",
        tests=(
            "engine/test_lease.py"
            "::test_a_storage_that_does_not_answer_an_extension_in_time_ends_the_lease",
        ),
        hangs=True,
    ),
    Mutant(
        name="nothing-starts-without-a-lease",
        promises=(8, 2),
        guard="a worker whose lease does not stand starts nothing: where it chooses what to run,"
        " and before its first line",
        file="worker.py",
        old="return self._lease.stands() and not self._recorder.full",
        new="return not self._recorder.full",
        also=(
            (
                "        if not self._lease.stands():\n            return False",
                "        if self._lease.worker < 0:\n            return False",
            ),
        ),
        tests=("engine/test_lease.py",),
    ),
    Mutant(
        name="lock-taken-again",
        promises=(5,),
        guard="a worker takes its lock again with each heartbeat, lest something has dropped it",
        file="storage/file.py",
        old="""
        if folder.is_own(worker):
            folder.hold(worker)
        """,
        new="""
        folder.is_own(worker)
        """,
        tests=("process/test_forks_and_locks.py",),
    ),
    Mutant(
        name="new-lock-file-tells-nothing-yet",
        promises=(5, 2),
        guard="while a removed lock file is replaced, a missing lock is no sign of death",
        file="storage/file.py",
        old="            lock_tells = now >= since + lease",
        new="            lock_tells = now >= 0 * since",
        tests=(
            "process/test_folder_faults.py::test_who_lives_is_not_robbed_when_the_lock_file_goes",
        ),
    ),
    Mutant(
        name="locks-move-along",
        promises=(5, 2),
        guard="where the lock file was replaced, each process takes the locks of its workers in it",
        file="storage/folder.py",
        old="""
        for worker in self._alive:
            fcntl.lockf(locks, fcntl.LOCK_EX, 1, worker)
        """,
        new="",
        tests=(
            "process/test_folder_faults.py::test_who_lives_is_not_robbed_when_the_lock_file_goes",
        ),
    ),
    Mutant(
        name="enlists-until-it-can",
        promises=(5,),
        guard="a worker whose lease is lost enlists anew as soon as it can, and works on",
        file="worker.py",
        old="""
                try:
                    await self._lease.start()
                except Exception as error:
                    log.log(
                        level_of(error, logging.ERROR),
                        "the worker could not enlist again, in 1 s once more", exc_info=True,
                    )  # fmt: skip
                    await asyncio.sleep(1)
                else:
                    break
        """,
        new="""
                try:
                    await self._lease.start()
                except Exception:
                    log.exception("the worker could not enlist again")
                break
        """,
        tests=("engine/test_lease.py", "engine/test_storage_errors.py"),
        hangs=True,
        limit=120,
    ),
    Mutant(
        name="late-answer-takes-nothing-away",
        promises=(5, 8),
        guard="an answer that comes after that to a later call does not shorten the lease",
        file="lease.py",
        old="            until = max(until, self._stand_until)",
        new="            pass",
        tests=(
            "engine/test_lease.py"
            "::test_an_answer_that_comes_after_that_to_a_later_call_takes_nothing_away",
        ),
    ),
    Mutant(
        name="late-word-of-a-lost-lease",
        promises=(5,),
        guard="who says late that a lease is lost does not cost the worker the next one",
        file="worker.py",
        old="        if worker != self._lease.worker:",
        new="        if worker < 0:",
        tests=(
            "engine/test_lease.py"
            "::test_a_refusal_that_comes_when_the_worker_has_enlisted_anew_costs_no_lease",
        ),
    ),
    Mutant(
        name="leaving-worker-loses-its-lease",
        promises=(8, 2),
        guard="what runs is stopped when the lease is lost, also while the worker is leaving",
        file="worker.py",
        old='        self._runner.stop_all("lost")',
        new='        self._leaving or self._runner.stop_all("lost")',
        tests=(
            "engine/test_lease.py"
            "::test_what_was_running_when_a_leaving_worker_lost_its_lease_is_stopped",
        ),
    ),
    Mutant(
        name="late-answers-leave-little",
        promises=(8,),
        guard="a lease of which a worker heard late is extended before it ends",
        file="lease.py",
        old="min(every if well else every / 4, left / 2)",
        new="every if well else every / 4",
        tests=(
            "engine/test_lease.py::test_a_worker_that_heard_late_of_its_lease_stops_before_it_ends",
        ),
    ),
    Mutant(
        name="time-begins-with-the-code",
        promises=(11,),
        guard="an attempt is not out of time by what others did before its code began",
        file="runner.py",
        old="""
            running.group.add(running, self._loop.time())
            if running.older is not None:
        """,
        new="""
            late = (self._clock.now() - job.started_at) / 1e6
            running.group.add(running, self._loop.time() - late)
            if running.older is not None:
        """,
        tests=("engine/test_timeouts.py::test_the_time_of_an_attempt_begins_with_its_code",),
    ),
)
