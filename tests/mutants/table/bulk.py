"""Jobs that are run at once are attempts of their own, and nobody waits for company for ever."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

ENGINE = "engine/test_bulk.py"
LANES = "unit/test_crowds.py"

MUTANTS = (
    Mutant(
        name="many-uncounted-by-its-claim",
        promises=(4,),
        guard="what will wait for company does not count as started by its claim",
        file="lanes.py",
        old="""
            starts = 0
            beyond = min(MOST_AHEAD, self._crowds.beyond(min(total, self._ahead)) + appetite)
        """,
        new="""
            starts = max(0, min(rooms[0], self._to_clear()))
            beyond = min(MOST_AHEAD, self._crowds.beyond(min(total, self._ahead)) + appetite)
        """,
        tests=(LANES,),
    ),
    Mutant(
        name="many-uncounted-by-its-insert",
        promises=(4,),
        guard="nor by an insert that comes back as a claim",
        file="worker.py",
        old="start = False  # It waits for company first.",
        new="pass",
        tests=(ENGINE,),
    ),
    Mutant(
        name="many-counted-whole",
        promises=(4,),
        guard="all jobs that are run at once count as started before that",
        file="claimer.py",
        old="claims = claims_of(items)",
        new="claims = claims_of(items)[:1]",
        tests=("simulation/test_simulation.py::test_no_promise_is_broken[0]",),
        limit=120.0,
    ),
    Mutant(
        name="many-goes-in-time",
        promises=(12,),
        guard="nobody waits for company longer than was said",
        file="crowds.py",
        old="            if crowd.goes_at <= now:",
        new="            if crowd.goes_at < 0:",
        tests=(LANES,),
    ),
    Mutant(
        name="many-grows-for-a-while",
        promises=(12,),
        guard="nor for claims that bring no more",
        file="crowds.py",
        old="            crowd.growing = False",
        new="            crowd.due = self._uptime() + LATE",
        tests=(LANES,),
    ),
    Mutant(
        name="many-is-bounded",
        promises=(9,),
        guard="no call has more jobs than a batch",
        file="crowds.py",
        old="        if crowd.missing <= 0:",
        new="        if crowd.missing <= -1:",
        tests=(LANES,),
    ),
    Mutant(
        name="many-given-back",
        promises=(11,),
        guard="who waits for company goes back when the worker leaves",
        file="lanes.py",
        old="        return taken + self._crowds.part(which)",
        new="        return taken",
        tests=(LANES,),
    ),
    Mutant(
        name="many-known-to-its-worker",
        promises=(5,),
        guard="a worker that gives back what it does not know of knows of what waits for company",
        file="lanes.py",
        old="self._clearing.values(), self._crowds.gathering)",
        new="self._clearing.values())",
        tests=(LANES,),
    ),
    Mutant(
        name="many-chosen-is-closed",
        promises=(4,),
        guard="nobody joins those that are being counted as started",
        file="lanes.py",
        old="            self._crowds.close(picked)",
        new="            pass",
        tests=(LANES,),
    ),
    Mutant(
        name="many-lease-looked-at-before-the-first-line",
        promises=(2, 8),
        guard="a worker looks at its lease, and notes the start, right before a call",
        file="calls.py",
        old="            if not self._note_start(running.claim):",
        new="            if False:",
        tests=(ENGINE,),
    ),
    Mutant(
        name="many-goes-on-for-the-others",
        promises=(3,),
        guard="a job of a call that is cancelled, or out of time, does not interrupt the others",
        file="calls.py",
        old="""
            if call.left:
                return
        """,
        new="""
            pass
        """,
        tests=(ENGINE,),
    ),
    Mutant(
        name="many-interrupted-with-its-last",
        promises=(9,),
        guard="a call of which no job is left is out of time like any other",
        file="calls.py",
        old="""
        for running in call.members:
            if not running.recorded:
                self._late(running)
        self.stop(call)
        """,
        new="""
        for running in call.members:
            if not running.recorded:
                self._late(running)
        """,
        tests=(ENGINE,),
    ),
    Mutant(
        name="many-errors-apart",
        promises=(15,),
        guard="a job whose older data cannot be upgraded fails by itself, and not the call",
        file="calls.py",
        old="""
            except Exception as error:
                self._say(running, raised(error))
                return False
        """,
        new="""
            except TimeoutError as error:
                self._say(running, raised(error))
                return False
        """,
        tests=(ENGINE,),
    ),
    Mutant(
        name="many-ends-before-leaving",
        promises=(11,),
        guard="a worker that leaves lets a call end of which all jobs have ended",
        file="worker.py",
        old="if not left and not self._runner.calls.waited_for(coroutines_only=coroutines_only):",
        new="if not left:",
        tests=(ENGINE,),
    ),
)
