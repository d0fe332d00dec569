"""What becomes of the ticks that have come: decided without a clock, a storage or a worker."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from backroom import Cron
from backroom.identity import JobIds
from backroom.job import SECOND, microseconds
from backroom.schedule import CAUGHT_UP, Firing, ScheduleRecord, Tick
from backroom.ticking import (
    COUNTED,
    GRACE,
    Every,
    Last,
    Rule,
    catch_up_from,
    decide,
    every,
    first_tick,
    job_of,
    read_rule,
    resumed,
    upcoming,
)

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY
NOON = microseconds(datetime(2026, 3, 1, 12, tzinfo=UTC))
LIVE = Last(live=True)


def schedule(rule: str = "0 * * * *", next_at: int | None = NOON, **said: Any) -> ScheduleRecord:
    usual = {
        "name": "digest", "rule": rule, "tz": "UTC", "type": "DIGEST", "queue": "default",
        "priority": 2, "data": "{}", "created_at": NOON - DAY, "next_at": next_at,
    }  # fmt: skip
    return ScheduleRecord(**{**usual, **said})


def firing_of(record: ScheduleRecord, now: int, last: Last = Last(), chance: float = 0.0) -> Firing:  # noqa: B008
    firing = decide(record, read_rule(record), now, last, JobIds(), lambda: chance)
    assert firing is not None
    assert (firing.schedule, firing.revision) == (record.name, record.revision)
    assert firing.expected == record.next_at
    return firing


def became(firing: Firing) -> list[tuple[str, int, int, int]]:
    """What became of which ticks, in the order of the ticks: outcome, first, last, how many."""
    ticks = sorted(firing.ticks, key=lambda tick: tick.at)
    assert [tick.job for tick in firing.ticks if tick.outcome == "fired"] == [
        job.id for job in firing.jobs
    ]
    return [(tick.outcome, tick.at, tick.until, tick.count) for tick in ticks]


def fired(at: int) -> tuple[str, int, int, int]:
    return "fired", at, at, 1


# -- the usual ----------------------------------------------------------------------------------


def test_a_tick_that_has_come_fires_one_job() -> None:
    firing = firing_of(schedule(data='{"a":1}', priority=0, queue="mail"), NOON + 3000)
    assert became(firing) == [fired(NOON)]
    assert firing.next_at == NOON + HOUR
    [job] = firing.jobs
    assert (job.type, job.queue, job.priority, job.data) == ("DIGEST", "mail", 0, '{"a":1}')
    assert (job.run_at, job.created_at, job.expires_at) == (NOON, NOON + 3000, None)


def test_nothing_is_decided_before_a_tick_has_come() -> None:
    record = schedule()
    assert decide(record, read_rule(record), NOON - 1, Last(), JobIds(), lambda: 0.0) is None
    record = schedule(next_at=None)
    assert decide(record, read_rule(record), NOON, Last(), JobIds(), lambda: 0.0) is None


def test_a_job_knows_its_schedule_and_its_tick_beside_what_was_said() -> None:
    said = '{"retries":1,"metadata":{"team":"sales"}}'
    [job] = firing_of(schedule(options=said), NOON).jobs
    assert json.loads(job.options or "") == {
        "retries": 1,
        "metadata": {"schedule": "digest", "tick": "2026-03-01T12:00:00Z", "team": "sales"},
    }
    own = job_of(schedule(options='{"metadata":{"tick":"mine"}}'), NOON, NOON, JobIds())
    assert json.loads(own.options or "")["metadata"] == {"schedule": "digest", "tick": "mine"}
    beside = job_of(schedule(), None, NOON + 5, JobIds())
    assert json.loads(beside.options or "") == {"metadata": {"schedule": "digest"}}
    assert beside.run_at == NOON + 5


def test_jitter_moves_a_job_behind_its_tick_and_expiry_counts_from_there() -> None:
    record = schedule(jitter=10 * SECOND, expires_in=MINUTE)
    [job] = firing_of(record, NOON + 1, chance=0.5).jobs
    assert job.run_at == NOON + 5 * SECOND
    assert job.expires_at == NOON + 5 * SECOND + MINUTE
    [job] = firing_of(record, NOON + 1, chance=0.999999).jobs
    assert NOON <= job.run_at < NOON + 10 * SECOND
    [late] = firing_of(record, NOON + 50 * SECOND).jobs
    assert (late.run_at, late.expires_at) == (NOON, NOON + 50 * SECOND + MINUTE)


# -- missed -------------------------------------------------------------------------------------


def test_a_tick_up_to_a_minute_old_is_only_late() -> None:
    assert GRACE == MINUTE
    record = schedule(missed="skip")
    assert became(firing_of(record, NOON + GRACE)) == [fired(NOON)]
    assert became(firing_of(record, NOON + GRACE + 1)) == [("missed", NOON, NOON, 1)]


def test_of_missed_ticks_none_the_latest_or_all_run() -> None:
    now = NOON + 3 * HOUR + 30 * MINUTE
    skip = firing_of(schedule(missed="skip"), now)
    assert became(skip) == [("missed", NOON, NOON + 3 * HOUR, 4)]
    once = firing_of(schedule(missed="run_once"), now)
    assert became(once) == [("missed", NOON, NOON + 2 * HOUR, 3), fired(NOON + 3 * HOUR)]
    every_one = firing_of(schedule(missed="run_all"), now)
    assert became(every_one) == [fired(NOON + n * HOUR) for n in range(4)]
    for firing in (skip, once, every_one):
        assert firing.next_at == NOON + 4 * HOUR
    assert [job.run_at for job in every_one.jobs] == [now] * 4  # Not as if they had waited.


def test_where_a_later_tick_is_in_time_it_is_the_one_that_runs() -> None:
    now = NOON + 3 * HOUR + 20 * SECOND
    firing = firing_of(schedule(missed="run_once"), now)
    assert became(firing) == [("missed", NOON, NOON + 2 * HOUR, 3), fired(NOON + 3 * HOUR)]
    firing = firing_of(schedule(missed="skip"), now)
    assert became(firing) == [("missed", NOON, NOON + 2 * HOUR, 3), fired(NOON + 3 * HOUR)]


def test_no_more_than_a_hundred_missed_ticks_are_caught_up_with() -> None:
    now = NOON + 500 * HOUR + 30 * MINUTE
    firing = firing_of(schedule(missed="run_all"), now)
    assert len(firing.jobs) == CAUGHT_UP == 100
    assert became(firing)[0] == ("missed", NOON, NOON + 400 * HOUR, COUNTED)
    assert became(firing)[1:] == [fired(NOON + n * HOUR) for n in range(401, 501)]


class Counting:
    """A rule that says how often it was asked."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.asked = 0

    def next(self, after: int) -> int | None:
        self.asked += 1
        return self.rule.next(after)

    def explain(self) -> str:
        return self.rule.explain()


@pytest.mark.parametrize("missed", ["skip", "run_once", "run_all"])
@pytest.mark.parametrize(
    "rule", ["* * * * * *", "*/7 * * * * *", "* * 9 * * *", "* * * * 1 *", "0 9 * * MON#1"]
)
def test_a_year_without_workers_is_not_walked_through(rule: str, missed: Any) -> None:
    cron = Cron(rule)
    first = cron.next(NOON)
    assert first is not None
    record = schedule(rule, first, missed=missed)
    now = first + YEAR + 1234
    counting = Counting(cron)
    firing = decide(record, counting, now, Last(), JobIds(), lambda: 0.0)
    assert firing is not None
    assert counting.asked < 1_500
    assert firing.next_at == cron.next(now)
    ticks = sorted(firing.ticks, key=lambda tick: tick.at)
    assert ticks[0].at == first
    for before, after in pairwise(ticks):
        assert cron.next(before.until) == after.at
    assert all(tick.count <= COUNTED for tick in ticks)
    assert cron.next(ticks[-1].until) == firing.next_at


def test_what_is_found_by_bisection_is_what_a_walk_finds() -> None:
    for text in ("* * 9 * * *", "*/40 * * * * *", "0 0 * * *", "17 3,4 * * 1"):
        cron = Cron(text)
        first = cron.next(NOON)
        assert first is not None
        now = first + 5 * DAY + 77
        walked = [first]
        while (following := cron.next(walked[-1])) is not None and following <= now:
            walked.append(following)
        late = [at for at in walked if at < now - GRACE]
        fresh = walked[len(late) :]
        assert catch_up_from("run_all", cron, first, now) == late[-CAUGHT_UP:] + fresh
        assert catch_up_from("run_once", cron, first, now) == (fresh or late[-1:])
        assert catch_up_from("skip", cron, first, now) == fresh


# -- overlap ------------------------------------------------------------------------------------


def test_where_jobs_may_overlap_nobody_asks_how_the_last_one_stands() -> None:
    assert became(firing_of(schedule(), NOON, LIVE)) == [fired(NOON)]


def test_a_tick_is_skipped_while_the_last_job_has_not_ended() -> None:
    record = schedule("* * * * *", overlap="skip")
    firing = firing_of(record, NOON + 2 * MINUTE, LIVE)
    assert became(firing) == [("overlap", NOON, NOON + 2 * MINUTE, 3)]
    assert firing.next_at == NOON + 3 * MINUTE
    assert became(firing_of(record, NOON, Last(ended_at=NOON - 1))) == [fired(NOON)]


def test_of_several_ticks_in_one_look_the_first_fires_and_the_others_would_overlap() -> None:
    record = schedule("*/20 * * * * *", overlap="skip", missed="run_all")
    firing = firing_of(record, NOON + 45 * SECOND)
    assert became(firing) == [fired(NOON), ("overlap", NOON + 20 * SECOND, NOON + 40 * SECOND, 2)]


def test_a_queued_tick_waits_until_the_last_job_has_ended() -> None:
    record = schedule("* * * * *", overlap="queue")
    assert decide(record, read_rule(record), NOON, LIVE, JobIds(), lambda: 0.0) is None
    firing = firing_of(record, NOON + 10 * SECOND, Last(ended_at=NOON + 9 * SECOND))
    assert became(firing) == [fired(NOON)]


def test_of_several_that_waited_the_latest_fires_however_long_it_has_waited() -> None:
    for missed in ("skip", "run_once", "run_all"):
        record = schedule("* * * * *", overlap="queue", missed=missed)
        ended = NOON + 10 * MINUTE + 30 * SECOND
        firing = firing_of(record, ended + 3 * MINUTE, Last(ended_at=ended))
        assert became(firing) == [
            ("overlap", NOON, NOON + 9 * MINUTE, 10),
            fired(NOON + 10 * MINUTE),
        ]
        # Those that came after the end wait for the job that was made just now.
        assert firing.next_at == NOON + 11 * MINUTE


def test_of_two_queued_ticks_in_one_look_one_fires_and_the_other_waits_for_it() -> None:
    record = schedule("*/20 * * * * *", overlap="queue")
    firing = firing_of(record, NOON + 21 * SECOND)
    assert became(firing) == [fired(NOON)]
    assert firing.next_at == NOON + 20 * SECOND


# -- clocks -------------------------------------------------------------------------------------


def test_a_clock_that_steps_back_repeats_nothing() -> None:
    record = schedule("* * * * *")
    seen: list[int] = []
    for now in (
        NOON,
        NOON - HOUR,
        NOON + MINUTE,
        NOON - DAY,
        NOON + 30 * SECOND,
        NOON + 2 * MINUTE,
    ):
        firing = decide(record, read_rule(record), now, Last(), JobIds(), lambda: 0.0)
        if firing is not None:
            seen += [tick.at for tick in firing.ticks]
            assert firing.next_at is not None
            assert record.next_at is not None
            assert firing.next_at > record.next_at
            record = schedule("* * * * *", firing.next_at)
    assert seen == [NOON, NOON + MINUTE, NOON + 2 * MINUTE]


def test_a_clock_that_steps_forward_leaves_one_missed_range() -> None:
    firing = firing_of(schedule("* * * * *", missed="skip"), NOON + 90 * DAY + 30 * SECOND)
    missed, in_time = became(firing)
    assert missed == ("missed", NOON, NOON + 90 * DAY - MINUTE, COUNTED)
    assert in_time == fired(NOON + 90 * DAY)


# -- intervals ----------------------------------------------------------------------------------


def test_an_interval_keeps_its_rhythm() -> None:
    record = schedule(every(5 * MINUTE), NOON)
    rule = read_rule(record)
    assert rule.explain() == "every 5 minutes"
    assert [rule.next(at) for at in (NOON - DAY, NOON - 1, NOON, NOON + 5 * MINUTE - 1)] == [
        NOON, NOON, NOON + 5 * MINUTE, NOON + 5 * MINUTE,
    ]  # fmt: skip
    firing = firing_of(record, NOON + 17 * MINUTE)
    assert became(firing) == [
        ("missed", NOON, NOON + 10 * MINUTE, 3),
        fired(NOON + 15 * MINUTE),
    ]
    assert firing.next_at == NOON + 20 * MINUTE
    assert first_tick(every(5 * MINUTE), "UTC", NOON) == NOON + 5 * MINUTE


def test_of_an_interval_all_ticks_are_counted() -> None:
    firing = firing_of(schedule(every(SECOND), missed="skip"), NOON + YEAR)
    assert became(firing)[0][3] == YEAR // SECOND - 60
    assert len(firing.jobs) == 61


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (SECOND, "every second"),
        (90 * SECOND, "every 90 seconds"),
        (1_500_000, "every 1.5 seconds"),
        (MINUTE, "every minute"),
        (2 * HOUR, "every 2 hours"),
        (7 * DAY, "every 7 days"),
    ],
)
def test_an_interval_is_told_in_plain_english(interval: int, text: str) -> None:
    assert Every(interval, 0).explain() == text


@pytest.mark.parametrize("rule", ["@every", "@every ", "@every 0", "@every 5m", "@every -1"])
def test_a_rule_that_cannot_be_read_says_so(rule: str) -> None:
    with pytest.raises(ValueError, match="@"):
        read_rule(schedule(rule))


# -- pauses, and what comes ----------------------------------------------------------------------


def test_ticks_of_a_pause_are_one_row() -> None:
    record = schedule(paused=True)
    next_at, tick = resumed(record, read_rule(record), NOON + 5 * HOUR + 1)
    assert next_at == NOON + 6 * HOUR
    assert tick == Tick(
        schedule="digest", at=NOON, until=NOON + 5 * HOUR, count=6, outcome="paused",
        decided_at=NOON + 5 * HOUR + 1,
    )  # fmt: skip
    assert resumed(record, read_rule(record), NOON - 1) == (NOON, None)


def test_the_next_runs_begin_behind_what_was_decided() -> None:
    record = schedule(next_at=NOON + 2 * HOUR)
    assert upcoming(record, read_rule(record), NOON, 2) == [NOON + 2 * HOUR, NOON + 3 * HOUR]
    late = schedule(next_at=NOON - 5 * HOUR)
    assert upcoming(late, read_rule(late), NOON, 2) == [NOON + HOUR, NOON + 2 * HOUR]
    assert upcoming(schedule(next_at=None), read_rule(late), NOON, 2) == []
