"""Schedules: kept as they are said, and each tick of them decided once, whoever decides it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import msgspec
import pytest

from backroom import JobService
from backroom.errors import StorageError
from backroom.job import SECOND, Hold, JobStatus
from backroom.ports import Wake
from backroom.schedule import Firing
from tests.contract.parts import DAY, Bench, Place
from tests.contract.plans import Plans
from tests.contract.test_bad_items import UNWRITABLE

MOST_TICKS = 1000
"""Of one schedule, that are kept at least."""


@pytest.fixture
def plans(bench: Bench) -> Plans:
    return Plans(bench)


# -- what is kept ------------------------------------------------------------------------------


async def test_a_schedule_is_kept_as_it_is_said(plans: Plans) -> None:
    said = plans.schedule(
        options='{"retries":3}', data='{"a":"\\u0000é😀"}', expires_in=60 * SECOND,
        missed="run_all", overlap="queue", jitter=5 * SECOND, origin="code", priority=0,
        queue="mail",
    )  # fmt: skip
    assert await plans.storage.put_schedule(said) == said
    assert await plans.kept() == said
    assert await plans.storage.schedules() == [said]
    assert await plans.storage.schedule("another") is None
    assert await plans.jobs() == []


async def test_to_say_the_same_again_changes_nothing(plans: Plans) -> None:
    first = await plans.put()
    plans.bench.clock.advance(90)
    said = plans.schedule(paused=True, revision=7, last_at=1, last_job="x")
    assert said.created_at != first.created_at
    assert await plans.storage.put_schedule(said) == first
    assert await plans.kept() == first


@pytest.mark.parametrize(
    "other",
    [
        {"type": "SEND_REPORT"}, {"queue": "mail"}, {"priority": 0}, {"data": '{"a":1}'},
        {"options": '{"retries":1}'}, {"expires_in": SECOND}, {"missed": "skip"},
        {"overlap": "skip"}, {"jitter": 1}, {"origin": "code"},
    ],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
async def test_what_is_said_anew_holds_from_then_on_and_the_next_tick_stays(
    plans: Plans, other: dict[str, Any]
) -> None:
    first = await plans.put()
    plans.bench.clock.advance(30)
    changed = await plans.put(**other)
    assert changed == msgspec.structs.replace(first, revision=2, **other)
    assert await plans.kept() == changed
    assert await plans.put(**other) == changed


async def test_a_change_of_what_was_said_anew_meanwhile_changes_nothing(plans: Plans) -> None:
    first = await plans.put()
    change = plans.storage.change_schedule
    changed = msgspec.structs.replace(first, overlap="skip")
    now = await change(changed, first.revision)
    assert now == msgspec.structs.replace(changed, revision=first.revision + 1)
    assert await change(changed, first.revision) == now  # Its answer was lost.
    said = await plans.put(data='{"a":1}')
    late = msgspec.structs.replace(first, overlap="queue")
    assert await change(late, now.revision) == said == await plans.kept()
    await plans.storage.drop_schedule(first.name)
    assert await change(late, said.revision) is None
    assert await plans.storage.schedules() == []


@pytest.mark.parametrize("other", [{"rule": "0 9 * * *"}, {"tz": "UTC"}], ids=["rule", "tz"])
async def test_a_new_rule_brings_its_next_tick(plans: Plans, other: dict[str, Any]) -> None:
    record = await plans.put()
    await plans.fire(plans.firing(record))
    fired = await plans.kept()
    changed = await plans.put(due_in=3600, **other)
    assert changed == msgspec.structs.replace(fired, revision=2, next_at=plans.later(3600), **other)
    assert changed.last_job is not None
    assert await plans.put(due_in=7200, **other) == changed


async def test_a_schedule_that_is_changed_stays_paused(plans: Plans) -> None:
    record = await plans.put()
    await plans.storage.pause_schedule("digest", True, record.next_at, revision=1)
    changed = await plans.put(data='{"a":1}')
    assert (changed.paused, changed.revision, changed.next_at) == (True, 3, record.next_at)


async def test_ten_who_say_the_same_at_once_make_one(place: Place) -> None:
    benches = [Plans(bench) for bench in await place.benches(3)]
    answers = await asyncio.gather(*[benches[n % 3].put() for n in range(10)])
    assert {answer.revision for answer in answers} == {1}
    assert len(await benches[0].storage.schedules()) == 1


async def test_of_ten_who_say_different_things_at_once_each_is_a_revision(place: Place) -> None:
    benches = [Plans(bench) for bench in await place.benches(3)]
    answers = await asyncio.gather(*[benches[n % 3].put(data=f'{{"n":{n}}}') for n in range(10)])
    assert sorted(answer.revision for answer in answers) == list(range(1, 11))
    [last] = [answer for answer in answers if answer.revision == 10]
    assert await benches[0].kept() == last


async def test_schedules_are_listed_by_name(plans: Plans) -> None:
    for name in ("b", "a", "c"):
        await plans.put(name)
    assert [one.name for one in await plans.storage.schedules()] == ["a", "b", "c"]


async def test_names_with_strange_characters_are_apart(plans: Plans) -> None:
    names = ["a", "a\0", "a\0b", "A", "a ", "à", "a\u0300", "\ufdd0", "'; drop table schedule; --"]
    for name in names:
        fields = {"type": name, "queue": name, "data": f'{{"n":{len(name)}}}'}
        assert await plans.put(name, **fields) == plans.schedule(name, **fields)
    assert {one.name for one in await plans.storage.schedules()} == set(names)
    records = [await plans.kept(name) for name in names]
    assert await plans.fire(*[plans.firing(record) for record in records]) == [True] * len(names)
    for name in names:
        [tick] = await plans.ticks(name)
        assert (tick.schedule, tick.outcome) == (name, "fired")
        assert (await plans.bench.info(tick.job or "")).queue == name
        assert await plans.storage.drop_schedule(name)


async def test_what_no_storage_can_write_is_refused_and_nothing_is_kept(plans: Plans) -> None:
    await plans.put()
    with pytest.raises((StorageError, ValueError)):
        await plans.put(UNWRITABLE)
    with pytest.raises((StorageError, ValueError)):
        await plans.put(data=UNWRITABLE)
    assert await plans.storage.schedules() == [plans.schedule()]


# -- pausing, dropping -------------------------------------------------------------------------


async def test_a_paused_schedule_is_not_due_and_does_not_fire(plans: Plans) -> None:
    record = await plans.put()
    firing = plans.firing(record)
    paused = await plans.storage.pause_schedule("digest", True, record.next_at, revision=1)
    assert paused == msgspec.structs.replace(record, paused=True, revision=2)
    assert await plans.due() == ([], None)
    of_now = msgspec.structs.replace(firing, revision=2)
    assert await plans.fire(firing, of_now) == [False, False]
    assert (await plans.jobs(), await plans.ticks()) == ([], [])


async def test_a_resumed_schedule_goes_on_at_the_tick_that_is_said(plans: Plans) -> None:
    record = await plans.put()
    await plans.storage.pause_schedule("digest", True, record.next_at, revision=1)
    plans.bench.clock.advance(150)
    assert record.next_at is not None
    skipped = plans.tick(
        "digest", record.next_at, until=record.next_at + 120 * SECOND, count=3, outcome="paused"
    )
    resumed = await plans.storage.pause_schedule(
        "digest", False, plans.later(30), revision=2, tick=skipped
    )
    assert resumed == msgspec.structs.replace(record, revision=3, next_at=plans.later(30))
    assert await plans.ticks() == [skipped]
    assert await plans.due() == ([], plans.later(30))
    assert await plans.fire(plans.firing(record)) == [False]  # Decided before all that.


async def test_a_tick_that_fired_while_somebody_paused_is_not_decided_again(
    plans: Plans,
) -> None:
    record = await plans.put()
    firing = plans.firing(record)
    assert await plans.fire(firing) == [True]
    # He had looked before: the revision is still that one, the next tick is not.
    paused = await plans.storage.pause_schedule("digest", True, record.next_at, revision=1)
    assert paused is not None
    assert (paused.paused, paused.next_at) == (True, firing.next_at)
    assert await plans.kept() == paused


async def test_to_pause_twice_changes_nothing_more(plans: Plans) -> None:
    record = await plans.put()
    tick = plans.tick("digest", record.next_at or 0, outcome="paused")
    once = await plans.storage.pause_schedule("digest", True, record.next_at, revision=1)
    again = await plans.storage.pause_schedule("digest", True, 5, revision=1, tick=tick)
    more = await plans.storage.pause_schedule("digest", True, 5, revision=2, tick=tick)
    assert once == again == more == await plans.kept()
    assert await plans.ticks() == []


async def test_a_pause_that_was_decided_on_an_earlier_revision_changes_nothing(
    plans: Plans,
) -> None:
    await plans.put()
    changed = await plans.put(data='{"a":1}')
    tick = plans.tick("digest", 5, outcome="paused")
    assert (
        await plans.storage.pause_schedule("digest", True, 5, revision=1, tick=tick)
        == changed
        == await plans.kept()
    )
    assert await plans.ticks() == []


async def test_to_pause_what_is_not_there_tells_so(plans: Plans) -> None:
    assert await plans.storage.pause_schedule("digest", True, None, revision=1) is None


async def test_a_dropped_schedule_and_its_ticks_are_gone_and_its_jobs_stay(plans: Plans) -> None:
    record = await plans.put()
    other = await plans.put("other")
    firing = plans.firing(record)
    await plans.fire(firing, plans.firing(other))
    assert await plans.storage.drop_schedule("digest")
    assert not await plans.storage.drop_schedule("digest")
    assert await plans.storage.schedule("digest") is None
    assert await plans.ticks() == []
    assert await plans.bench.status(firing.jobs[0].id) == JobStatus.PENDING
    assert len(await plans.ticks("other")) == 1
    assert await plans.fire(firing) == [False]
    anew = await plans.put()
    assert (anew.revision, anew.last_job) == (1, None)
    assert await plans.ticks() == []


@pytest.mark.parametrize("carried_out", [False, True], ids=["late", "answer lost"])
async def test_what_was_decided_of_a_dropped_schedule_is_nothing_to_the_next_one_of_its_name(
    plans: Plans, carried_out: bool
) -> None:
    """Also where both have the same tick before them, as the clocks of two machines differ."""
    service = JobService(plans.bench.storage)
    service.declare("DIGEST")
    await service.cron("0 * * * *", "DIGEST", {"of": "the former"}, name="digest")
    decided = plans.firing(await plans.kept())
    if carried_out:
        assert await plans.fire(decided) == [True]
    plans.bench.clock.advance(60)
    await service.delete_schedule("digest")
    await service.cron("0 * * * *", "DIGEST", {"of": "the next"}, name="digest")
    anew = await plans.kept()
    assert anew.next_at == decided.expected
    assert await plans.fire(decided) == [False]
    assert (await plans.kept(), await plans.ticks()) == (anew, [])
    assert len(await plans.jobs()) == carried_out
    assert await plans.fire(plans.firing(anew)) == [True]
    assert len(await plans.jobs()) == carried_out + 1
    await service.stop()


# -- what is due -------------------------------------------------------------------------------


async def test_the_longest_due_come_first_and_the_next_moment_is_told(plans: Plans) -> None:
    for name, due_in in (("b", -5), ("a", -1), ("c", -9), ("d", 0), ("e", 7), ("f", 3)):
        await plans.put(name, due_in=due_in)
    await plans.put("paused", due_in=-100, paused=True)
    await plans.put("never", next_at=None)
    assert await plans.due() == (["c", "b", "a", "d"], plans.later(3))
    assert await plans.due(2) == (["c", "b"], plans.later(-1))
    assert await plans.due(4) == (["c", "b", "a", "d"], plans.later(3))
    assert await plans.due(3) == (["c", "b", "a"], plans.later(0))
    plans.bench.clock.advance(7)
    assert await plans.due() == (["c", "b", "a", "d", "f", "e"], None)


async def test_where_nothing_is_planned_there_is_no_next_moment(plans: Plans) -> None:
    assert await plans.due() == ([], None)


# -- firing ------------------------------------------------------------------------------------


async def test_a_tick_that_fires_is_a_job_a_line_of_history_and_the_next_tick(
    plans: Plans,
) -> None:
    record = await plans.put(data='{"a":1}')
    plans.bench.clock.advance(1)
    firing = plans.firing(record)

    assert await plans.fire(firing) == [True]

    assert await plans.kept() == msgspec.structs.replace(
        record, next_at=firing.next_at, last_at=record.next_at, last_job=firing.jobs[0].id
    )
    assert await plans.ticks() == list(firing.ticks)
    claim = await plans.bench.claim_one(await plans.bench.enlist())
    assert (claim.id, claim.type, claim.data) == (firing.jobs[0].id, "SEND_DIGEST", '{"a":1}')


async def test_ticks_that_were_skipped_are_one_line_and_no_job(plans: Plans) -> None:
    record = await plans.put(due_in=-86_400)
    firing = plans.skipping(record, 1440)
    assert await plans.fire(firing) == [True]
    assert await plans.ticks() == list(firing.ticks)
    assert (await plans.kept()).next_at == plans.later(0)
    assert (await plans.kept()).last_at is None
    assert await plans.jobs() == []


async def test_one_decision_may_skip_some_ticks_and_fire_others(plans: Plans) -> None:
    record = await plans.put(due_in=-180)
    first, *rest = (plans.later(seconds) for seconds in (-180, -120, -60, 0))
    jobs = plans.bench.records(2)
    ticks = (
        plans.tick("digest", rest[-1], job=jobs[1].id),
        plans.tick("digest", rest[-2], job=jobs[0].id),
        plans.tick("digest", first, until=rest[0], count=2, outcome="missed"),
    )
    firing = Firing(
        schedule="digest", revision=1, expected=first, next_at=plans.later(60), ticks=ticks,
        jobs=tuple(jobs),
    )  # fmt: skip
    assert await plans.fire(firing) == [True]
    assert await plans.ticks() == list(ticks)
    after = await plans.kept()
    assert (after.last_at, after.last_job) == (rest[-1], jobs[1].id)
    assert sorted(await plans.jobs()) == sorted(job.id for job in jobs)
    assert await plans.fire(firing) == [True]
    assert await plans.ticks() == list(ticks)
    assert record.next_at == first


async def test_what_was_decided_of_another_revision_is_not_carried_out(plans: Plans) -> None:
    record = await plans.put()
    firing = plans.firing(record)
    changed = await plans.put(data='{"a":1}')
    assert await plans.fire(firing) == [False]
    assert await plans.kept() == changed
    assert (await plans.jobs(), await plans.ticks()) == ([], [])


async def test_what_was_decided_of_a_tick_that_is_past_is_not_carried_out(plans: Plans) -> None:
    record = await plans.put()
    first, late = plans.firing(record), plans.firing(record)
    assert await plans.fire(first) == [True]
    after = await plans.kept()
    assert await plans.fire(late) == [False]
    assert await plans.kept() == after
    assert await plans.jobs() == [first.jobs[0].id]
    assert await plans.ticks() == list(first.ticks)


async def test_what_was_decided_of_a_tick_that_is_not_next_is_not_carried_out(
    plans: Plans,
) -> None:
    record = await plans.put()
    ahead = msgspec.structs.replace(record, next_at=plans.later(60))
    assert await plans.fire(plans.firing(ahead)) == [False]
    assert await plans.kept() == record
    assert (await plans.jobs(), await plans.ticks()) == ([], [])


async def test_what_is_not_there_does_not_fire(plans: Plans) -> None:
    assert await plans.fire(plans.firing(plans.schedule())) == [False]
    assert await plans.fire() == []
    assert await plans.jobs() == []


async def test_a_reply_that_was_lost_is_given_again_and_nothing_is_done_twice(
    plans: Plans,
) -> None:
    record, other = await plans.put(), await plans.put("other")
    both = plans.firing(record), plans.skipping(other, 3)
    assert await plans.fire(*both) == [True, True]
    # Meanwhile the next one fires, too.
    assert await plans.fire(plans.firing(await plans.kept())) == [True]
    after = await plans.kept()
    assert await plans.fire(*both) == [True, True]
    assert await plans.kept() == after
    assert len(await plans.jobs()) == 2
    assert (len(await plans.ticks()), len(await plans.ticks("other"))) == (2, 1)


async def test_of_two_workers_that_fire_one_tick_at_once_one_does(place: Place) -> None:
    one, other = (Plans(bench) for bench in await place.benches(2))
    for _ in range(10):
        record = await one.put()
        firings = [one.firing(record), other.firing(record)]
        answers = await asyncio.gather(one.fire(firings[0]), other.fire(firings[1]))
        assert sorted(answers) == [[False], [True]]
        [tick] = await one.ticks()
        won = firings[answers.index([True])]
        assert [tick] == list(won.ticks)
        assert await one.jobs() == [won.jobs[0].id]
        await one.storage.drop_schedule("digest")
        await one.bench.storage.cancel(won.jobs[0].id, one.bench.now)
        await one.bench.storage.delete(won.jobs[0].id)


async def test_many_workers_that_fire_many_ticks_at_once_fire_each_once(place: Place) -> None:
    benches = [Plans(bench) for bench in await place.benches(4)]
    records = [await benches[0].put(f"s{n}") for n in range(30)]

    async def all_of(plans: Plans, turn: int) -> list[bool]:
        firings = [plans.firing(record) for record in records]
        # Each in an order of its own.
        firings = firings[turn * 7 :] + firings[: turn * 7]
        return await plans.fire(*firings)

    answers = await asyncio.gather(*[all_of(one, turn) for turn, one in enumerate(benches)])
    assert sum(map(sum, answers)) == 30
    assert len(await benches[0].jobs()) == 30
    made = Counter([tick.job for record in records for tick in await benches[0].ticks(record.name)])
    assert set(made.values()) == {1}
    assert set(made) == set(await benches[0].jobs())


async def test_two_decisions_of_one_schedule_in_one_call_follow_each_other(plans: Plans) -> None:
    record = await plans.put()
    first = plans.firing(record)
    second = plans.firing(msgspec.structs.replace(record, next_at=first.next_at))
    twice = plans.firing(record)
    assert await plans.fire(first, second, twice, first) == [True, True, False, True]
    after = await plans.kept()
    assert (after.next_at, after.last_job) == (second.next_at, second.jobs[0].id)
    assert await plans.ticks() == [*second.ticks, *first.ticks]
    assert len(await plans.jobs()) == 2


async def test_a_tick_that_was_decided_comes_again_and_fires_no_second_time(
    plans: Plans,
) -> None:
    """The clock was set back, and then the rule was changed."""
    record = await plans.put()
    fired = plans.firing(record)
    skipped = plans.skipping(msgspec.structs.replace(record, next_at=fired.next_at), 5)
    assert await plans.fire(fired, skipped) == [True, True]
    changed = await plans.put(rule="*/2 * * * *")
    assert changed.next_at == record.next_at
    again = plans.firing(changed, next_in=120)
    within = plans.firing(msgspec.structs.replace(changed, next_at=again.next_at), next_in=400)
    assert await plans.fire(again, within) == [True, True]
    after = await plans.kept()
    assert (after.next_at, after.last_job) == (within.next_at, fired.jobs[0].id)
    assert await plans.jobs() == [fired.jobs[0].id]
    assert await plans.ticks() == [*skipped.ticks, *fired.ticks]


async def test_a_job_of_a_tick_goes_to_a_queue_that_was_never_there(plans: Plans) -> None:
    records = [await plans.put(f"s{n}", queue=f"new {n}") for n in range(3)]
    assert await plans.fire(*[plans.firing(record) for record in records]) == [True] * 3
    assert set(await plans.bench.storage.queues()) == {"new 0", "new 1", "new 2"}


async def test_a_tick_whose_job_has_a_unique_key_that_is_held_is_of_the_job_that_holds_it(
    plans: Plans,
) -> None:
    record, plain = await plans.put(), await plans.put("plain")
    holder = await plans.bench.add(type="SEND_DIGEST", unique_key="k")
    firing = plans.firing(record, unique_key="k")
    assert await plans.fire(firing, plans.firing(plain)) == [True, True]
    [tick] = await plans.ticks()
    assert (tick.job, tick.outcome) == (holder, "fired")
    assert (await plans.kept()).last_job == holder
    assert len(await plans.jobs()) == 2
    assert await plans.fire(firing) == [True]  # Its reply was lost.
    assert await plans.fire(plans.firing(record, unique_key="k")) == [False]


@pytest.mark.parametrize("how", ["existing", "raise", "replace"])
@pytest.mark.parametrize("until", ["start", "period"])
async def test_a_tick_that_finds_its_key_held_is_of_who_holds_it_whatever_it_says(
    plans: Plans, until: str, how: Any
) -> None:
    bench = plans.bench
    record, plain = await plans.put(), await plans.put("plain")
    hold = Hold(0 if until == "start" else bench.later(3600), how)
    said = {"unique_key": "k", "hold": hold}
    [holder] = await bench.insert(
        [bench.record(type="SEND_DIGEST", data='{"old":1}', delay=60, **said)]
    )
    firing = plans.firing(record, **said)
    assert await plans.fire(firing, plans.firing(plain)) == [True, True]
    [tick] = await plans.ticks()
    assert (tick.job, tick.outcome) == (holder.id, "fired")
    assert len(await plans.jobs()) == 2
    replaced = (await bench.info(holder.id)).data != {"old": 1}
    assert replaced == (how == "replace")
    assert await plans.fire(firing) == [True]  # Its reply was lost.
    assert len(await plans.jobs()) == 2


async def test_a_unique_key_within_one_call_is_one_job(plans: Plans) -> None:
    records = [await plans.put(f"s{n}") for n in range(3)]
    firings = [plans.firing(record, unique_key="k") for record in records]
    assert await plans.fire(*firings) == [True] * 3
    [job] = await plans.jobs()
    assert {(await plans.ticks(f"s{n}"))[0].job for n in range(3)} == {job}
    assert await plans.fire(*firings) == [True] * 3


@pytest.mark.parametrize("bad", ["data", "unique_key", "queue", "id", "its tick"])
async def test_a_tick_whose_job_cannot_be_kept_spoils_no_other(
    plans: Plans, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    records = [await plans.put(f"s{n}") for n in range(5)]
    firings = [plans.firing(record) for record in records]
    [job], [tick] = firings[3].jobs, firings[3].ticks
    if bad == "its tick":  # It is written when its job is.
        tick = msgspec.structs.replace(tick, decided_at=2**70)
    else:
        job = msgspec.structs.replace(job, **{bad: UNWRITABLE})
        tick = msgspec.structs.replace(tick, job=job.id)
    firings[3] = msgspec.structs.replace(firings[3], jobs=(job,), ticks=(tick,))
    with caplog.at_level(logging.ERROR, "backroom.storage"):
        assert await plans.fire(*firings) == [True, True, True, False, True]
    assert "'s3'" in caplog.text
    assert await plans.kept("s3") == records[3]
    assert await plans.ticks("s3") == []
    assert len(await plans.jobs()) == 4
    # And it is as good as before for one that can.
    assert await plans.fire(plans.firing(records[3])) == [True]


async def test_what_changes_schedules_wakes_who_listens_here_and_elsewhere(place: Place) -> None:
    one, other = (Plans(bench) for bench in await place.benches(2))
    worker = await other.bench.enlist()
    await other.bench.add()
    claim = await other.bench.claim_one(worker)
    tick = await one.put("other")
    heard = [{wake: asyncio.Event() for wake in Wake} for _ in range(2)]
    ends = [
        plans.bench.storage.subscribe(lambda wake, events=events: events[wake].set())
        for plans, events in zip((one, other), heard, strict=True)
    ]

    async def told(wake: Wake) -> None:
        async with asyncio.timeout(10):
            for events in heard:
                await events[wake].wait()
        for events in heard:
            for event in events.values():
                event.clear()

    async def quiet() -> None:
        """What one has said may come back to it; what the other says comes behind that."""
        await other.bench.add()
        async with asyncio.timeout(10):
            await heard[0][Wake.JOBS].wait()
        heard[0][Wake.JOBS].clear()
        heard[0][Wake.CONTROL].clear()

    # A listener that begins says all, as it knows nothing of what was before.
    await other.bench.finish(worker, other.bench.completed(claim))
    await told(Wake.FINISHED)
    record = await one.put()
    await told(Wake.CONTROL)
    await one.put()
    await quiet()
    await one.storage.pause_schedule("digest", True, None, revision=1)
    await told(Wake.CONTROL)
    await quiet()
    await one.storage.pause_schedule("digest", False, record.next_at, revision=2)
    await told(Wake.CONTROL)
    await quiet()
    await one.storage.drop_schedule("digest")
    await told(Wake.CONTROL)
    await one.fire(one.firing(tick))
    await told(Wake.JOBS)
    for end in ends:
        end()


# -- history -----------------------------------------------------------------------------------


async def test_ticks_are_read_page_by_page_from_the_newest(plans: Plans) -> None:
    record = await plans.put()
    wanted = []
    for _ in range(25):
        firing = plans.firing(await plans.kept())
        await plans.fire(firing)
        wanted[:0] = firing.ticks
    found = []
    before = None
    while page := await plans.storage.ticks("digest", 10, before):
        found += page
        before = page[-1].at
    assert found == wanted
    assert await plans.storage.ticks("digest", 10, record.next_at) == []
    assert await plans.storage.ticks("another", 10) == []


async def test_schedules_and_ticks_are_there_after_opening_anew(place: Place) -> None:
    bench = await place.open()
    if not bench.storage.capabilities.durable:
        return
    plans = Plans(bench)
    firing = plans.firing(await plans.put())
    await plans.fire(firing)
    before = await plans.kept()
    await bench.storage.close()
    plans = Plans(await place.open())
    assert await plans.kept() == before
    assert await plans.ticks() == list(firing.ticks)
    assert await plans.fire(firing) == [True]
    assert await plans.fire(plans.firing(before)) == [True]


async def test_ticks_go_when_they_are_past_retention_and_schedules_stay(place: Place) -> None:
    plans = Plans(await place.open(retention=DAY))
    record = await plans.put()
    # Decided today, of a week ago: what is new is kept.
    await plans.fire(plans.skipping(await plans.put("late", due_in=-7 * DAY), 3))
    await plans.fire(plans.firing(record))
    plans.bench.clock.advance(DAY / 2)
    await plans.fire(plans.firing(await plans.kept()))
    assert not (await plans.bench.storage.prune(plans.bench.now, 100)).more
    assert (len(await plans.ticks()), len(await plans.ticks("late"))) == (2, 1)
    plans.bench.clock.advance(DAY / 2 + 1)
    pruned = await plans.bench.storage.prune(plans.bench.now, 100)
    assert (pruned.touched, pruned.more) == (0, False)
    [left] = await plans.ticks()
    assert left.at != record.next_at
    assert await plans.ticks("late") == []
    assert len(await plans.storage.schedules()) == 2


async def many_ticks(plans: Plans, name: str, count: int) -> None:
    """So many lines of skipped ticks, one a minute."""
    record = await plans.put(name)
    firings = []
    for _ in range(count):
        firings.append(plans.skipping(record))
        record = msgspec.structs.replace(record, next_at=firings[-1].next_at)
    assert all(await plans.fire(*firings))


async def test_of_one_schedule_a_bounded_number_of_ticks_is_kept(place: Place) -> None:
    plans = Plans(await place.open(retention=None))
    await many_ticks(plans, "often", MOST_TICKS + 350)
    await many_ticks(plans, "seldom", 50)
    before = await plans.ticks("often", 5000)
    for n in range(1, 4):  # So many as it is told, in each call.
        assert (await plans.bench.storage.prune(plans.bench.now, 100)).more
        assert len(await plans.ticks("often", 5000)) == len(before) - 100 * n
    assert not (await plans.bench.storage.prune(plans.bench.now, 100)).more
    left = await plans.ticks("often", 5000)
    assert MOST_TICKS <= len(left) <= MOST_TICKS + 100
    assert left == before[: len(left)]
    assert len(await plans.ticks("seldom")) == 50
    assert not (await plans.bench.storage.prune(plans.bench.now, 100)).more
    assert await plans.ticks("often", 5000) == left
    # Also where it may remove more at once than there are too many.
    await many_ticks(plans, "too often", MOST_TICKS + 150)
    before = await plans.ticks("too often", 5000)
    assert not (await plans.bench.storage.prune(plans.bench.now, 5000)).more
    assert await plans.ticks("too often", 5000) == before[:MOST_TICKS]


async def test_ticks_of_many_schedules_are_looked_through_call_by_call(place: Place) -> None:
    plans = Plans(await place.open(retention=DAY))
    records = [await plans.put(f"s{n:04}") for n in range(20)]
    await plans.fire(*[plans.firing(record) for record in records])
    plans.bench.clock.advance(2 * DAY)
    assert (await plans.bench.storage.prune(plans.bench.now, 15)).more
    assert sum([len(await plans.ticks(one.name)) for one in records]) == 5
    assert not (await plans.bench.storage.prune(plans.bench.now, 15)).more
    assert sum([len(await plans.ticks(one.name)) for one in records]) == 0
