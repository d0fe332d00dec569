"""What tells of jobs harms none of them, and cannot be made to lie."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="dead-worker-counts-as-alive",
        promises=(5,),
        guard="workers are counted that live, not those that are enlisted",
        file="finding.py",
        old="if one.alive",
        new="",
        tests=(
            "web/test_overview.py::test_a_worker_that_is_dead_is_counted_nowhere_as_one_that_lives",
        ),
    ),
    Mutant(
        name="counts-wait-for-who-lives-not-long",
        promises=(15,),
        guard="counts are told where a process that hangs keeps from being told who lives",
        file="finding.py",
        old="async with asyncio.timeout(TELLING):",
        new="async with asyncio.timeout(None):",
        tests=("process/test_turns.py::test_counts_are_told_while_a_process_hangs_in_its_turn",),
    ),
    Mutant(
        name="nobody-claims-where-all-drain",
        promises=(5,),
        guard="the overview says that all workers drain while jobs wait",
        file="web/pages/overview.py",
        old="elif waiting and all(worker.draining for worker in stats.workers):",
        new="elif False:",
        tests=("web/test_overview.py::test_that_all_workers_drain_is_said_where_jobs_wait",),
    ),
    Mutant(
        name="doctor-sees-that-all-drain",
        promises=(5,),
        guard="the doctor says that all workers drain while jobs wait",
        file="cli/diagnosis.py",
        old="elif all(worker.draining for worker in stats.workers):",
        new="elif False:",
        tests=("cli/test_doctor.py::test_that_all_workers_drain_is_found_where_jobs_wait",),
    ),
    Mutant(
        name="doctor-says-where-no-job-is-due",
        promises=(5,),
        guard="with jobs due in a queue that is paused, the doctor says that others have none",
        file="cli/diagnosis.py",
        old='elsewhere = " in the queues that run"',
        new='elsewhere = ""',
        tests=("cli/test_doctor.py::test_jobs_of_a_paused_queue_are_due_nowhere_else",),
    ),
    Mutant(
        name="listener-queue-is-bounded",
        promises=(15,),
        guard="what does not fit into the queue of a slow listener is dropped",
        file="events.py",
        old="if len(self._waiting) >= MOST_WAITING:",
        new="if False:",
        tests=(
            "engine/test_events.py::test_a_listener_that_hangs_stops_neither_jobs_nor_the_service",
        ),
    ),
    Mutant(
        name="listener-that-raises-is-called-again",
        promises=(15,),
        guard="an error of a listener is its own",
        file="events.py",
        old="""
            try:
                self._listener(event)
            except Exception:
                self._failed(event)
        """,
        new="""
            self._listener(event)
        """,
        tests=(
            "engine/test_events.py"
            "::test_a_listener_that_raises_harms_neither_jobs_nor_other_listeners",
        ),
    ),
    Mutant(
        name="log-lines-go-on-behind-a-bar",
        promises=(15,),
        guard="no line of a record but the first can be taken for a record",
        file="plain.py",
        old='return plain(text).replace("\\n", f"\\n{CONTINUED}")',
        new="return plain(text)",
        tests=(
            "engine/test_logs.py::test_no_line_of_text_but_the_first_can_be_taken_for_a_record",
        ),
    ),
    Mutant(
        name="job-context-of-a-thread",
        promises=(15,),
        guard="what is logged in the thread of a handler says for which job",
        file="runner.py",
        old="""
        underway.set(job)
        if running.older is not None:
        """,
        new="""
        if running.older is not None:
        """,
        tests=("engine/test_logs.py",),
    ),
    Mutant(
        name="schedules-carry-no-trace",
        promises=(7,),
        guard="jobs of a schedule are not of the trace in which it was made",
        file="recurring.py",
        old="self._records.make(type_, data, schedule.options, now, traced=False)",
        new="self._records.make(type_, data, schedule.options, now)",
        tests=(
            "contrib/test_opentelemetry.py"
            "::test_jobs_of_a_schedule_are_not_of_the_trace_that_made_the_schedule",
        ),
    ),
    Mutant(
        name="webhook-of-an-outcome-that-stands",
        promises=(2, 3),
        guard="a refused outcome brings no job about, in embedded stores",
        file="storage/sqlite/outcomes.py",
        old="_make_following(ledger, stood, now)",
        new="_make_following(ledger, asked, now)",
        tests=("contract/test_following.py",),
    ),
    Mutant(
        name="webhook-of-an-outcome-that-stands-on-postgres",
        promises=(2, 3),
        guard="a refused outcome brings no job about, in PostgreSQL",
        file="storage/postgres/outcomes.py",
        old="if t.follows and (t.key, t.token) not in refused",
        new="if t.follows",
        tests=("contract/test_following.py",),
    ),
    Mutant(
        name="webhooks-lead-nowhere-inside",
        promises=(15,),
        guard="every address of a name is looked at before it is connected to",
        file="posting.py",
        old="if not allow_private and not _is_outside(address):",
        new="if not allow_private and not _is_outside(addresses[0]):",
        tests=("unit/test_signing.py",),
    ),
    Mutant(
        name="webhooks-lead-to-what-is-known-to-be-public",
        promises=(15,),
        guard="what passes for public by its number alone is refused",
        file="posting.py",
        old="return one in _PUBLIC_6 and not any(one in network for network in _INSIDE_6)",
        new="return one.is_global",
        tests=("unit/test_signing.py::test_no_name_leads_inside",),
    ),
    Mutant(
        name="webhooks-have-a-deadline",
        promises=(15,),
        guard="who answers a byte now and then holds no slot for longer than the deadline",
        file="posting.py",
        old="self._open = self.sock",
        new="self._open = None",
        tests=("unit/test_signing.py::test_who_answers_a_byte_now_and_then_is_out_of_time",),
    ),
    Mutant(
        name="webhooks-make-no-webhooks",
        promises=(15,),
        guard="a delivery that fails is not told of by another one",
        file="webhooks.py",
        old="if transition.state not in _ENDS or claim.type == TYPE:",
        new="if transition.state not in _ENDS:",
        tests=(
            "process/test_webhooks.py"
            "::test_a_webhook_that_leads_inside_or_is_gone_tells_nobody_and_makes_no_more_of_them",
        ),
    ),
    Mutant(
        name="signatures-are-of-now",
        promises=(15,),
        guard="a delivery that was kept is not taken much later",
        file="signing.py",
        old="if abs(now - int(at)) > TOLERANCE:",
        new="if False:",
        tests=("unit/test_signing.py",),
    ),
    Mutant(
        name="watchdog-wants-a-lease",
        promises=(8,),
        guard="the service manager gets no sign of life of a worker whose lease does not stand",
        file="cli/managed.py",
        old="""
        if works():
            manager.tell("WATCHDOG=1")
        if stopped.wait(every / SHARE):
        """,
        new="""
        manager.tell("WATCHDOG=1")
        if stopped.wait(every / SHARE):
        """,
        tests=(
            "cli/test_health.py::test_a_worker_whose_lease_does_not_stand_gives_no_sign_of_life",
        ),
    ),
)
