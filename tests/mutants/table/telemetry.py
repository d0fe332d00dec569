"""What tells of jobs harms none of them, and cannot be made to lie."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
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
        name="watchdog-wants-a-lease",
        promises=(8,),
        guard="the service manager gets no sign of life of a worker whose lease does not stand",
        file="cli/managed.py",
        old="""
        if works():
            manager.tell("WATCHDOG=1")
        """,
        new="""
        manager.tell("WATCHDOG=1")
        """,
        tests=(
            "cli/test_health.py::test_a_worker_whose_lease_does_not_stand_gives_no_sign_of_life",
        ),
    ),
)
