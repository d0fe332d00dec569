"""Every tick fires once or is recorded as skipped (promise 7): what decides, and what asks."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

TICKING = "ticking.py"
UNIT = ("unit/test_ticking.py",)
ENGINE = ("engine/test_schedules.py",)

MUTANTS = (
    Mutant(
        name="ticks-not-before-their-time",
        promises=(7,),
        guard="a tick is decided when it has come, and not before",
        file=TICKING,
        old="    if first is None or first > now:\n        return None",
        new="    if first is None:\n        return None",
        tests=UNIT,
    ),
    Mutant(
        name="ticks-paused-where-it-stands",
        promises=(7,),
        guard="who pauses a schedule does not take it back to a tick that has fired meanwhile",
        file="schedule.py",
        old="next_at = self.next_at  # A tick may have fired since the caller looked.",
        new="pass",
        tests=(
            "contract/test_schedules.py::"
            "test_a_tick_that_fired_while_somebody_paused_is_not_decided_again",
        ),
    ),
    Mutant(
        name="ticks-next-behind-the-last",
        promises=(7,),
        guard="what comes next lies behind all that was decided",
        file=TICKING,
        old="    done = fired[-1] if fired else ticks[-1].until",
        new="    done = first",
        tests=UNIT,
    ),
    Mutant(
        name="ticks-missed-are-written-down",
        promises=(7,),
        guard="those that do not fire are written down",
        file=TICKING,
        old="    if not fired or first < fired[0]:",
        new="    if not fired:",
        tests=UNIT,
    ),
    Mutant(
        name="ticks-behind-a-fired-one",
        promises=(7,),
        guard="those that come behind one that fired, in the same look, are written down too",
        file=TICKING,
        old='    if record.overlap != "queue" and following is not None and following <= now:',
        new="    if False:",
        tests=UNIT,
    ),
    Mutant(
        name="ticks-overlap-asks",
        promises=(7,),
        guard="while the last job has not ended, no tick fires beside it where that is not wanted",
        file=TICKING,
        old='    if record.overlap != "allow" and last.live:',
        new="    if False:",
        tests=(*UNIT, *ENGINE),
    ),
    Mutant(
        name="ticks-overlap-one-in-a-look",
        promises=(7,),
        guard="of several ticks in one look only one fires where jobs are not to overlap",
        file=TICKING,
        old="            del fired[1:]",
        new="            pass",
        tests=UNIT,
    ),
    Mutant(
        name="ticks-queued-one-fires",
        promises=(7,),
        guard="a tick that waited for a job fires, however long that took",
        file=TICKING,
        old="last.ended_at is not None and first <= last.ended_at:",
        new="last.ended_at == first == -1:",
        tests=UNIT,
    ),
    Mutant(
        name="ticks-late-is-not-missed",
        promises=(7,),
        guard="a tick that is at most a minute late fires, whatever becomes of missed ones",
        file=TICKING,
        old="    edge = now - GRACE",
        new="    edge = now",
        tests=UNIT,
    ),
    Mutant(
        name="ticks-caught-up-are-few",
        promises=(7,),
        guard="of a long absence no more than so many ticks are made up for",
        file=TICKING,
        old="        return _last_ticks(rule, first, edge - 1, CAUGHT_UP) + fresh",
        new="        return _last_ticks(rule, first, edge - 1, 10_000) + fresh",
        tests=UNIT,
    ),
    Mutant(
        name="ticks-of-a-pause",
        promises=(7,),
        guard="what came during a pause is written down when it ends",
        file="recurring.py",
        old="            record = await self._switch(record, next_at, tick)",
        new="            record = await self._switch(record, next_at, None)",
        tests=ENGINE,
    ),
    Mutant(
        name="ticks-bad-rule-alone",
        promises=(15, 7),
        guard="a schedule that cannot be decided stops no other one",
        file="scheduler.py",
        old='                self._set_aside(record, f"cannot be decided: {error}", error)\n'
        "                continue",
        new="                raise",
        tests=ENGINE,
    ),
    Mutant(
        name="ticks-refused-alone",
        promises=(15, 7),
        guard="one that the storage refuses again and again is left alone for a while",
        file="scheduler.py",
        old='                self._set_aside(by_name[name], "could not be fired; see above", None)',
        new="                pass",
        tests=ENGINE,
        hangs=True,
    ),
    Mutant(
        name="ticks-waiting-not-in-the-way",
        promises=(12, 7),
        guard="schedules that wait for a job do not fill up the looks at the others",
        file="scheduler.py",
        old="        limit = BATCH + len(self._aside) + self._waiting",
        new="        limit = BATCH",
        tests=ENGINE,
        hangs=True,
    ),
    Mutant(
        name="ticks-after-the-job",
        promises=(7,),
        guard="the end of a job has a tick looked at that has waited for it",
        file="worker.py",
        old="                self._scheduler.finished()",
        new="                pass",
        tests=(*ENGINE, "testing/test_schedules.py"),
    ),
    Mutant(
        name="ticks-heard-of",
        promises=(7,),
        guard="a schedule that somebody made is heard of at once, and its first tick is in time",
        file="worker.py",
        old="                self._scheduler.signal()",
        new="                pass",
        tests=ENGINE,
    ),
)
