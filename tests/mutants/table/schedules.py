"""Every tick of a schedule fires once or is recorded as skipped, whoever decides it (promise 7)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.table.postgres import ROOM, on_postgres

__all__ = ["MUTANTS"]

FILE = "storage/sqlite/schedules.py"
TESTS = "test_schedules"


def embedded(*names: str) -> tuple[str, ...]:
    """Tests of the contract, in memory."""
    return tuple(f"contract/{TESTS}.py::{name}[memory]" for name in names)


MUTANTS = (
    # -- in memory and in a file ------------------------------------------------------------------
    Mutant(
        name="schedule-expected",
        promises=(7,),
        guard="the fence of a tick: it is decided once, by whoever is first",
        file=FILE,
        old="and self.next_at == firing.expected",
        new="",
        tests=embedded(
            "test_what_was_decided_of_a_tick_that_is_past_is_not_carried_out",
            "test_of_two_workers_that_fire_one_tick_at_once_one_does",
        ),
    ),
    Mutant(
        name="schedule-revision",
        promises=(7,),
        guard="what was decided of a schedule that says something else by now is not done",
        file=FILE,
        old="self.revision == firing.revision",
        new="firing.revision > 0",
        tests=embedded("test_what_was_decided_of_another_revision_is_not_carried_out"),
    ),
    Mutant(
        name="schedule-begins-anew",
        promises=(7,),
        guard="what was decided of a schedule that was dropped is not done to the next of its name",
        file="recurring.py",
        old="revision=now,",
        new="revision=1,",
        tests=tuple(
            f"contract/{TESTS}.py::test_what_was_decided_of_a_dropped_schedule_is_nothing_to_the_"
            f"next_one_of_its_name[memory-{how}]"
            for how in ("late", "answer lost")
        ),
    ),
    Mutant(
        name="schedule-paused",
        promises=(7,),
        guard="a paused schedule fires nothing, whoever decided so before",
        file=FILE,
        old="== firing.expected and not self.paused",
        new="== firing.expected",
        tests=embedded("test_a_paused_schedule_is_not_due_and_does_not_fire"),
    ),
    Mutant(
        name="schedule-paused-is-not-due",
        promises=(7,),
        guard="a paused schedule is not due",
        file=FILE,
        old="{_COLUMNS} FROM schedule WHERE NOT paused AND next_at IS NOT NULL",
        new="{_COLUMNS} FROM schedule WHERE next_at IS NOT NULL",
        tests=embedded(
            "test_a_paused_schedule_is_not_due_and_does_not_fire",
            "test_the_longest_due_come_first_and_the_next_moment_is_told",
        ),
    ),
    Mutant(
        name="schedule-one-change",
        promises=(7, 15),
        guard="a tick that cannot be kept takes its job back with it",
        file=FILE,
        old="        with ledger.connection:\n            return _fire(ledger, firings, now)",
        new="        if ledger.connection:\n            return _fire(ledger, firings, now)",
        tests=(
            "contract/test_schedules.py::test_a_tick_whose_job_cannot_be_kept_spoils_no_other"
            "[memory-its tick]",
        ),
    ),
    Mutant(
        name="schedule-moves-on-in-a-call",
        promises=(7,),
        guard="of two decisions of one tick in one call, one is carried out",
        file=FILE,
        old="            states[firing.schedule] = state._replace(next_at=firing.next_at)",
        new="",
        tests=embedded(
            "test_two_decisions_of_one_schedule_in_one_call_follow_each_other",
        ),
    ),
    Mutant(
        name="schedule-lost-reply",
        promises=(7,),
        guard="only who fired a tick is told so again: its job tells who that is",
        file=FILE,
        old="    AND ifnull(asked, job) IS k.value->>6",
        new="",
        tests=embedded(
            "test_what_was_decided_of_a_tick_that_is_past_is_not_carried_out",
            "test_of_two_workers_that_fire_one_tick_at_once_one_does",
        ),
    ),
    Mutant(
        name="schedule-decided-before",
        promises=(7,),
        guard="a tick that comes again, as the clock was set back, makes no second job",
        file=FILE,
        old="    WHERE k.value->>1 <= (",
        new="    WHERE k.value->>1 < 0 * (",
        tests=embedded("test_a_tick_that_was_decided_comes_again_and_fires_no_second_time"),
    ),
    Mutant(
        name="schedule-late-ticks-stay",
        promises=(10, 7),
        guard="a tick of long ago that was decided just now is not past retention",
        file=FILE,
        old="        WHERE decided_at < ?3 OR at <= s.above LIMIT ?4)",
        new="        WHERE at < ?3 OR at <= s.above LIMIT ?4)",
        tests=embedded("test_ticks_go_when_they_are_past_retention_and_schedules_stay"),
    ),
    Mutant(
        name="schedule-newest-ticks-stay",
        promises=(10,),
        guard="of too many ticks the oldest go, and as many as are too many",
        file=FILE,
        old="LIMIT 1 OFFSET {MOST_TICKS}) END AS above",
        new="LIMIT 1 OFFSET 10) END AS above",
        tests=embedded("test_of_one_schedule_a_bounded_number_of_ticks_is_kept"),
    ),
    Mutant(
        name="schedule-said-again",
        promises=(7,),
        guard="to say the same of a schedule again changes nothing of it",
        file="schedule.py",
        old="        if same_rule and now == self:\n            return self",
        new="",
        tests=embedded(
            "test_to_say_the_same_again_changes_nothing",
            "test_ten_who_say_the_same_at_once_make_one",
        ),
    ),
    Mutant(
        name="schedule-pause-of-a-revision",
        promises=(7,),
        guard="a pause that was decided on an earlier revision changes nothing",
        file="schedule.py",
        old="        if paused == self.paused or revision != self.revision:",
        new="        if paused == self.paused:",
        tests=embedded(
            "test_a_pause_that_was_decided_on_an_earlier_revision_changes_nothing",
        ),
    ),
    Mutant(
        name="schedule-store-is-brought-forward",
        promises=(13,),
        guard="a store of the version before gets the tables that it lacks",
        file="storage/sqlite/connect.py",
        old="            bring_forward(writer)",
        new="",
        tests=("process/test_older_stores.py",),
    ),
    # -- in PostgreSQL ----------------------------------------------------------------------------
    Mutant(
        name="pg-schedule-expected",
        promises=(7,),
        guard="the fence of a tick: it is decided once, by whoever is first",
        file=f"{ROOM}/schedules.sql",
        old=" AND s.next_at = g.expected",
        new=" AND g.expected > 0",
        tests=on_postgres(
            TESTS,
            "test_what_was_decided_of_a_tick_that_is_past_is_not_carried_out",
            "test_of_two_workers_that_fire_one_tick_at_once_one_does",
        ),
    ),
    Mutant(
        name="pg-schedule-revision",
        promises=(7,),
        guard="what was decided of a schedule that says something else by now is not done",
        file=f"{ROOM}/schedules.sql",
        old="WHERE s.revision = g.revision AND",
        new="WHERE g.revision > 0 AND",
        tests=on_postgres(TESTS, "test_what_was_decided_of_another_revision_is_not_carried_out"),
    ),
    Mutant(
        name="pg-schedule-paused",
        promises=(7,),
        guard="a paused schedule fires nothing, whoever decided so before",
        file=f"{ROOM}/schedules.sql",
        old=" AND s.next_at = g.expected AND NOT s.paused",
        new=" AND s.next_at = g.expected",
        tests=on_postgres(TESTS, "test_a_paused_schedule_is_not_due_and_does_not_fire"),
    ),
    Mutant(
        name="pg-schedule-is-locked",
        promises=(7,),
        guard="who fires a tick that another one is about to fire waits for that one",
        file=f"{ROOM}/schedules.sql",
        old="ORDER BY s.id FOR NO KEY UPDATE OF s;",
        new="ORDER BY s.id;",
        tests=on_postgres(
            TESTS,
            "test_of_two_workers_that_fire_one_tick_at_once_one_does",
            "test_many_workers_that_fire_many_ticks_at_once_fire_each_once",
        ),
    ),
    Mutant(
        name="pg-schedule-one-change",
        promises=(7,),
        guard="a tick, its job and the next tick are one transaction",
        file=f"{ROOM}/firing.py",
        old="self._base.change(partial(self._carry_out, firings, now, word), within)",
        new="self._base.links.run(partial(self._carry_out, firings, now, word), within=within)",
        tests=(
            *on_postgres(TESTS, "test_of_two_workers_that_fire_one_tick_at_once_one_does"),
            "contract/test_schedules.py::test_a_tick_whose_job_cannot_be_kept_spoils_no_other"
            "[postgres-its tick]",
        ),
    ),
    Mutant(
        name="pg-schedule-lost-reply",
        promises=(7,),
        guard="only who fired a tick is told so again: its job tells who that is",
        file=f"{ROOM}/schedules.sql",
        old="AND coalesce(t.asked, t.job) IS NOT DISTINCT FROM g.job",
        new="AND g.job IS NOT NULL",
        tests=on_postgres(
            TESTS,
            "test_what_was_decided_of_a_tick_that_is_past_is_not_carried_out",
            "test_of_two_workers_that_fire_one_tick_at_once_one_does",
        ),
    ),
    Mutant(
        name="pg-schedule-decided-before",
        promises=(7,),
        guard="a tick that comes again, as the clock was set back, makes no second job",
        file=f"{ROOM}/schedules.sql",
        old="WHERE t.until >= g.at;",
        new="WHERE t.until < g.at AND false;",
        tests=on_postgres(
            TESTS, "test_a_tick_that_was_decided_comes_again_and_fires_no_second_time"
        ),
    ),
    Mutant(
        name="pg-schedule-keys-apart",
        promises=(15, 7),
        guard="a tick whose job needs a key that is in dispute keeps no other from firing",
        file=f"{ROOM}/firing.py",
        old="groups.setdefault((seen[firing.schedule], keyed), [])",
        new="groups.setdefault((seen[firing.schedule], False and keyed), [])",
        tests=(
            "postgres/test_schedules.py::test_what_needs_no_key_does_not_wait_for_who_holds_one",
        ),
    ),
    Mutant(
        name="pg-schedule-drop-waits",
        promises=(10,),
        guard="who drops a schedule sees the ticks of whoever fires it meanwhile",
        file=f"{ROOM}/schedules.sql",
        old="FROM {schedules} WHERE name = $1 FOR UPDATE;",
        new="FROM {schedules} WHERE name = $1;",
        tests=(
            "postgres/test_schedules.py::"
            "test_ticks_of_a_schedule_that_is_dropped_while_it_fires_do_not_stay",
        ),
    ),
    Mutant(
        name="pg-schedule-late-ticks-stay",
        promises=(10, 7),
        guard="a tick of long ago that was decided just now is not past retention",
        file=f"{ROOM}/schedules.sql",
        old="AND (t.decided_at < $3 OR t.at <= p.above)",
        new="AND (t.at < $3 OR t.at <= p.above)",
        tests=on_postgres(TESTS, "test_ticks_go_when_they_are_past_retention_and_schedules_stay"),
    ),
)
