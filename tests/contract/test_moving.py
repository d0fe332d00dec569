"""Moving house: what every durable storage gives to another one, and takes from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast
from unittest.mock import ANY

import msgspec
import pytest

from backroom.baggage import Baggage, Parcel, checksum
from backroom.errors import JobNotFoundError, JobStateError, StorageError
from backroom.job import Hold, JobInfo, JobRecord, JobStatus
from backroom.moving import Move
from backroom.ports import House
from backroom.step import FOREVER, SignalRecord, StepKind, StepRecord
from backroom.transition import Transition
from tests.contract.parts import Bench, Place, SettableClock
from tests.contract.plans import Plans
from tests.contract.storages import STORAGES, Prepare
from tests.contract.test_schedules import MOST_TICKS, many_ticks

DURABLE = [name for name in STORAGES if name != "memory"]
PAIRS = [(one, other) for one in DURABLE for other in DURABLE]


def house(bench: Bench) -> House:
    return cast(House, bench.storage)


class Ends:
    """A bench at each of two stores, whatever their kinds."""

    def __init__(self, source: Bench, target: Bench) -> None:
        self.source, self.target = source, target

    async def carry(self, *, history: bool = True, limit: int = 3) -> list[str]:
        """As who moves does it; the ids, in the order in which they came."""
        source, target = house(self.source), house(self.target)
        ids: list[str] = []
        after = None
        while True:
            parcel, after = await source.pack(after, limit, history, await target.number(), "there")
            if after is None:
                return ids
            assert parcel is not None
            unpacked = await target.unpack(parcel.jobs)
            assert not unpacked.refused
            ids += [job.id for job in unpacked.kept]
            await source.unload(parcel)


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
async def ends(
    request: pytest.FixtureRequest, tmp_path: Path, clock: SettableClock
) -> AsyncIterator[Ends]:
    async with AsyncExitStack() as stack:
        benches: list[Bench] = []
        for name, side in zip(request.param, ("source", "target"), strict=True):
            prepare: Prepare = STORAGES[name]
            place = Place(await stack.enter_async_context(prepare(tmp_path / side)), clock)
            stack.push_async_callback(place.close)
            benches.append(await place.open())
        yield Ends(*benches)


async def furnish(bench: Bench) -> dict[str, str]:
    """One job of every kind that nobody holds, by what it is."""
    made = {
        "later": await bench.add(delay=3600, queue="slow", priority=3),
        "all said": await bench.add(
            delay=60, priority=0, queue="mail", type="BÜRO", data='{"a":[1,"\\u0000é😀"]}',
            options='{"retries":5,"tags":["a","b"],"metadata":{"x":1},"version":3}',
            unique_key="käy\0\ufdd0",
            expires_at=bench.later(120),
        ),
        "waits for a signal": await put_aside(bench),
    }  # fmt: skip
    for name in ("waits again", "failed", "completed", "cancelled", "parked", "snoozed", "crashed"):
        job, worker, claim = await bench.running(options='{"retries":3}', unique_key=name)
        made[name] = job
        outcome = {
            "waits again": bench.retried(claim, 600, "zero \0 and \ufdd0"),
            "failed": bench.failed(claim, "boom"),
            "completed": bench.completed(claim, '{"pages":[1,2,3]}'),
            "cancelled": bench.cancelled(claim),
            "snoozed": bench.snoozed(claim),
            "parked": msgspec.structs.replace(bench.snoozed(claim, -1), state=6),
        }.get(name)
        if outcome is None:
            await bench.end_leases()
            continue
        outcome.progress, outcome.progress_message = 0.25, "a quarter"
        outcome.log = [(bench.now, "info", "first"), (bench.now + 1, "error", "second \0")]
        assert await bench.finish(worker, outcome) == [True]
        await bench.storage.retire(worker)
    made["plain"] = await bench.add()
    return made


async def put_aside(bench: Bench) -> str:
    """A job that has done a step, waits for a signal, and has one of another name."""
    job, worker, claim = await bench.running()
    done = StepRecord(1, StepKind.STEP, "quote", bench.now, None, bench.now, '{"cents":5}')
    await bench.storage.keep_step(claim.key, claim.token, done)
    for n in (1, 2):
        signal = SignalRecord(f"{n}", "another", f'"{n}"', bench.now)
        await bench.storage.send_signal(job, signal, bench.now)
    step = StepRecord(2, StepKind.SIGNAL, "approved", bench.now, FOREVER)
    assert await bench.finish(worker, Transition.waiting(claim, bench.now, step)) == [True]
    await bench.storage.retire(worker)
    return job


async def infos(bench: Bench, ids: dict[str, str]) -> dict[str, JobInfo]:
    return {name: await bench.info(job) for name, job in ids.items()}


async def everything(bench: Bench, history: bool = True) -> list[Baggage]:
    jobs: list[Baggage] = []
    after = None
    while True:
        some, after = await house(bench).copies(after, 4, history)
        jobs += some
        if after is None:
            return jobs


async def test_a_job_is_all_that_it_was(ends: Ends) -> None:
    made = await furnish(ends.source)
    before, copies = await infos(ends.source, made), await everything(ends.source)
    assert {info.status for info in before.values()} == set(JobStatus) - {
        JobStatus.ACTIVE,
        JobStatus.BLOCKED,
    }
    assert before["parked"].parked

    came = await ends.carry()

    assert came == [job.id for job in copies]
    assert await infos(ends.target, made) == before
    assert checksum(await everything(ends.target)) == checksum(copies)
    assert await everything(ends.source) == []
    assert (await ends.source.page()) == ([], None)
    assert (await ends.target.page())[0] == came[::-1]


async def test_a_parcel_of_a_version_that_kept_no_begins_is_opened() -> None:
    job = Baggage("x", "T", "q", 2, 0, 0, "{}", None, None, None, 3)
    text = msgspec.json.encode([msgspec.structs.replace(job, errors=((1, 5, "E", "no", None),))])
    [one] = Parcel.opened(1, 2, "there", text.decode()).jobs[0].errors
    assert (one.at, one.kind, one.began) == (5, "E", None)


async def test_what_is_parked_waits_for_the_same_version_there(ends: Ends) -> None:
    made: dict[int, str] = {}
    for version in (1, 2):
        options = None if version == 1 else '{"version":2}'
        made[version], worker, claim = await ends.source.running(options=options)
        assert await ends.source.finish(worker, Transition.parked(claim)) == [True]
        await ends.source.storage.retire(worker)
    assert await ends.carry() == list(made.values())
    worker = await ends.target.enlist()
    for version, job in made.items():
        claims = await ends.target.claim(worker, types={"SEND_EMAIL": version})
        assert [claim.id for claim in claims] == [job]


async def test_a_job_goes_on_where_it_was(ends: Ends) -> None:
    job, worker, claim = await ends.source.running(options='{"retries":3}', unique_key="k")
    await ends.source.finish(worker, ends.source.retried(claim, 60))
    await ends.carry()
    ends.target.clock.advance(61)
    [twin] = await ends.target.insert([ends.target.record(unique_key="k")])
    assert (twin.id, twin.created) == (job, False)
    again = await ends.target.claim_one(await ends.target.enlist())
    assert (again.id, again.attempt, again.budget) == (job, 1, 0)
    # Who had it before has no say any more, at either place.
    assert await ends.source.finish(worker, ends.source.completed(claim)) == [False]


async def test_a_signal_finds_the_job_that_waits_for_it_where_it_is_now(ends: Ends) -> None:
    job = await put_aside(ends.source)
    await ends.carry()
    signal = SignalRecord("3", "approved", "true", ends.target.now)
    with pytest.raises(JobNotFoundError):
        await ends.source.storage.send_signal(job, signal, ends.source.now)
    assert (await ends.target.info(job)).waits_for is not None
    await ends.target.storage.send_signal(job, signal, ends.target.now)
    claim = await ends.target.claim_one(await ends.target.enlist())
    assert claim.id == job
    quote, wait = await ends.target.storage.steps_of(claim.key)
    assert quote.result == '{"cents":5}'
    taken = await ends.target.storage.take_signal(claim.key, claim.token, wait, ends.target.now)
    assert taken is not None
    assert taken.result == "true"


async def test_jobs_keep_their_order(ends: Ends) -> None:
    for priority in (2, 0, 3, 1):
        await ends.source.add_many(3, priority=priority)
    await ends.source.add_many(2, priority=2, delay=-5)
    wanted = await everything(ends.source, history=False)
    await ends.carry(limit=4)
    claims = await ends.target.claim(await ends.target.enlist())
    order = sorted(enumerate(wanted), key=lambda one: (one[1].priority, one[1].run_at, one[0]))
    assert [claim.id for claim in claims] == [job.id for _, job in order]


async def test_what_is_held_or_has_ended_stays_if_nobody_says_otherwise(ends: Ends) -> None:
    held, _, _ = await ends.source.running()
    done, worker, claim = await ends.source.running()
    await ends.source.finish(worker, ends.source.completed(claim))
    waits = await ends.source.add()
    assert await ends.carry(history=False) == [waits]
    assert await ends.source.status(held) == JobStatus.ACTIVE
    assert await ends.source.status(done) == JobStatus.COMPLETED


async def test_what_is_packed_is_nobodys_until_it_is_unloaded(ends: Ends) -> None:
    source, target = house(ends.source), house(ends.target)
    jobs = await ends.source.add_many(3)
    parcel, _ = await source.pack(None, 10, False, 7, "there")
    assert parcel is not None
    assert [job.id for job in parcel.jobs] == jobs
    assert await ends.source.claim(await ends.source.enlist()) == []
    assert await source.parcel() == parcel
    assert len((await target.unpack(parcel.jobs)).kept) == 3
    again = await target.unpack(parcel.jobs)
    assert (again.kept, sorted(again.known), again.refused) == ([], sorted(jobs), [])
    await source.unload(parcel)
    await source.unload(parcel, parcel.jobs)  # It is gone: nothing comes back.
    assert await source.parcel() is None
    assert await ends.source.page() == ([], None)
    assert len((await ends.target.page())[0]) == 3


async def test_a_parcel_is_there_after_opening_anew(place: Place) -> None:
    bench = await place.open()
    if not bench.storage.capabilities.durable:
        return
    job = await bench.add()
    parcel, _ = await house(bench).pack(None, 10, False, 7, "there")
    await bench.storage.close()
    bench = await place.open()
    assert await house(bench).parcel() == parcel
    assert (parcel and parcel.target, parcel and parcel.label) == (7, "there")
    assert await bench.storage.find(job, bench.now) is None


async def test_who_has_ended_may_run_again_after_a_move(ends: Ends) -> None:
    job, worker, claim = await ends.source.running(unique_key="k")
    await ends.source.finish(worker, ends.source.failed(claim))
    await ends.carry()
    await ends.target.storage.retry(job, ends.target.now)
    again = await ends.target.claim_one(await ends.target.enlist())
    assert (again.id, again.attempt, again.budget) == (job, 1, 1)


async def test_what_expires_does_so_there_and_what_has_begun_does_not(ends: Ends) -> None:
    begun, worker, claim = await ends.source.running(
        expires_at=ends.source.later(60), options='{"retries":3}'
    )
    await ends.source.finish(worker, ends.source.retried(claim))
    waits = await ends.source.add(expires_at=ends.source.later(60))
    await ends.carry()
    ends.target.clock.advance(61)
    assert await ends.target.prune_all() == 1
    assert await ends.target.status(waits) == JobStatus.CANCELLED
    assert await ends.target.status(begun) == JobStatus.PENDING


async def test_a_key_that_another_job_holds_is_told_and_harms_no_other(ends: Ends) -> None:
    source, target = house(ends.source), house(ends.target)
    mine, other = await ends.source.add(unique_key="k"), await ends.source.add()
    held = await ends.target.add(unique_key="k")
    await ends.target.add(unique_key="k", type="ANOTHER")
    assert await source.keyed(None, 10) == ([("SEND_EMAIL", "k")], ANY)
    assert await target.holders([("SEND_EMAIL", "k"), ("SEND_EMAIL", "j")]) == {
        ("SEND_EMAIL", "k"): held
    }
    parcel, _ = await source.pack(None, 10, False, 7, "there")
    assert parcel is not None
    unpacked = await target.unpack(parcel.jobs)
    assert [job.id for job in unpacked.kept] == [other]
    [refused] = unpacked.refused
    assert (refused.job.id, held in refused.why) == (mine, True)
    assert not await source.unload(parcel, [refused.job])
    assert await ends.source.status(mine) == JobStatus.PENDING
    assert (await ends.source.page())[0] == [mine]
    # Kept as cancelled, it holds no key.
    ended = refused.job.cancelled(ends.target.now, refused.why)
    assert len((await target.unpack([ended])).kept) == 1
    assert await ends.target.status(mine) == JobStatus.CANCELLED
    assert (await ends.target.info(mine)).error == refused.why


async def test_who_comes_back_and_finds_its_key_taken_is_not_forgotten(ends: Ends) -> None:
    source = house(ends.source)
    mine = await ends.source.add(unique_key="k")
    parcel, _ = await source.pack(None, 10, False, 7, "there")
    assert parcel is not None
    other = await ends.source.add(unique_key="k")
    [refused] = await source.unload(parcel, parcel.jobs)
    assert (refused.job.id, other in refused.why) == (mine, True)
    assert await ends.source.status(mine) == JobStatus.CANCELLED


def held(bench: Bench, key: str, until: int, **fields: Any) -> JobRecord:
    """A job that holds its key not until its end."""
    return bench.record(
        unique_key=key, hold=Hold(until), options=f'{{"unique_key":"{key}"}}', **fields
    )


async def test_a_key_is_held_there_as_long_as_it_was_to_be_held_here(ends: Ends) -> None:
    source, target, hour = ends.source, ends.target, ends.source.later(3600)
    worker, made = await source.enlist(), {}
    for key, until in (("ended", hour), ("over", source.later(1)), ("begun", 0)):
        [made[key]] = await source.insert([held(source, key, until)])
        claim = await source.claim_one(worker)
        await source.begin(worker, claim)
        end = source.retried(claim, 600) if key == "begun" else source.completed(claim)
        await source.finish(worker, end)
    for key, until in (("fresh", 0), ("waits", hour)):
        [made[key]] = await source.insert([held(source, key, until, delay=600)])
    source.clock.advance(1)
    await source.prune_all()

    names = [("SEND_EMAIL", key) for key in made]
    assert sorted((await house(source).keyed(None, 10))[0]) == sorted(
        ("SEND_EMAIL", key) for key in ("ended", "fresh", "waits")
    )
    ids = await ends.carry(history=False)

    # A job that has ended goes along only for its key.
    assert ids == [made[key].id for key in ("ended", "begun", "fresh", "waits")]
    assert await house(source).holders(names) == {}
    assert await house(target).holders(names) == {
        ("SEND_EMAIL", key): made[key].id for key in ("ended", "fresh", "waits")
    }
    for key, one in made.items():
        [here] = await source.insert([held(source, key, 0, delay=60)])
        assert here.created
        [there] = await target.insert([held(target, key, 0, delay=60)])
        assert there.created == (key in ("over", "begun"))
        assert there.created or there.id == one.id
        if key != "over":
            assert (await target.info(one.id)).unique_key == key
    target.clock.advance(3600)
    for key in made:
        [there] = await target.insert([held(target, key, 0, delay=60)])
        assert there.created == (key in ("ended", "waits"))


@pytest.mark.parametrize("until", ["start", "period"])
async def test_a_held_key_that_is_held_there_too_is_told(ends: Ends, until: str) -> None:
    source, target = ends.source, ends.target
    moment = 0 if until == "start" else source.later(3600)
    [mine] = await source.insert([held(source, "k", moment, delay=60)])
    other = await source.add(delay=60)
    [theirs] = await target.insert([held(target, "k", target.later(60), delay=60)])
    with pytest.raises(JobStateError, match="hold unique keys"):
        await Move(house(source), house(target)).run()
    assert sorted((await source.page())[0]) == sorted([mine.id, other])
    moved = await Move(house(source), house(target), twins="cancel").run()
    assert (sum(moved.moved.values()), moved.cancelled) == (2, 1)
    info = await target.info(mine.id)
    assert (info.status, info.unique_key) == (JobStatus.CANCELLED, "k")
    assert theirs.id in (info.error or "")
    # It let go of its key, and would not take it again.
    target.clock.advance(60)
    await target.storage.retry(mine.id, target.now)
    [new] = await target.insert([held(target, "k", 0, delay=60)])
    assert new.created


async def test_a_parcel_is_bounded_in_bytes(ends: Ends) -> None:
    await ends.source.add_many(5, data=f'"{"x" * 3_000_000}"')
    counts = []
    after = None
    while True:
        parcel, after = await house(ends.source).pack(after, 100, False, 7, "there")
        if parcel is None:
            break
        counts.append(len(parcel.jobs))
    assert counts == [2, 2, 1]


async def test_what_was_not_kept_as_it_was_is_refused_whole(ends: Ends) -> None:
    job = ends.source.record()
    await ends.source.insert([job])
    [copy] = await everything(ends.source)
    # A store has 64 bits for a moment, and a text for data: what it cannot give back is found.
    other = msgspec.structs.replace(
        copy, id=ends.source.record().id, progress=cast(float, float("nan"))
    )
    with pytest.raises(StorageError, match="was not the same"):
        await house(ends.target).unpack([copy, other])
    assert await ends.target.page() == ([], None)


async def test_every_store_has_a_number_of_its_own(ends: Ends) -> None:
    source, target = house(ends.source), house(ends.target)
    assert await source.number() == await source.number() > 0
    assert await target.number() != await source.number()


# -- schedules ---------------------------------------------------------------------------------


async def pack_schedules(ends: Ends, limit: int = 2) -> list[Parcel]:
    parcels = []
    number = await house(ends.target).number()
    while (parcel := await house(ends.source).pack_schedules(limit, number, "there")) is not None:
        parcels.append(parcel)
    return parcels


async def bring_schedules(ends: Ends, parcels: list[Parcel]) -> list[int]:
    source = await house(ends.source).number()
    return [await house(ends.target).unpack_schedules(source, parcel) for parcel in parcels]


async def test_a_schedule_is_all_that_it_was_and_goes_on_where_it_was(ends: Ends) -> None:
    source, target = Plans(ends.source), Plans(ends.target)
    fired = source.firing(await source.put("a", data='{"a":1}', jitter=3))
    await source.fire(fired)
    await source.put("b\0", options='{"retries":3}', expires_in=60, overlap="queue")
    await source.storage.pause_schedule("b\0", True, None, revision=1)
    await source.put("c", due_in=-5)
    before = await source.storage.schedules()
    ticks = await source.ticks("a")
    assert [tick.job for tick in ticks] == [fired.jobs[0].id]

    parcels = await pack_schedules(ends)

    assert [len(parcel.schedules) for parcel in parcels] == [2, 1]
    assert await source.storage.schedules() == []
    assert await source.ticks("a") == []
    assert await source.fire(source.firing(before[2])) == [False]
    assert await house(ends.source).parcel() == parcels[0]
    assert await bring_schedules(ends, parcels) == [2, 1]
    for parcel in parcels:
        await house(ends.source).unload(parcel)
    assert await house(ends.source).parcel() is None
    assert await target.storage.schedules() == before
    assert await target.ticks("a") == ticks
    assert before[0].last_job == fired.jobs[0].id
    assert await target.due() == (["c"], fired.next_at)
    assert await target.fire(target.firing(before[2])) == [True]


async def test_a_parcel_of_schedules_that_comes_again_changes_nothing(ends: Ends) -> None:
    source, target = Plans(ends.source), Plans(ends.target)
    for n in range(3):
        await source.put(f"s{n}")
    parcels = await pack_schedules(ends)
    assert await bring_schedules(ends, parcels[:1]) == [2]
    # Who moved them died; they are at work in the target by now.
    await target.fire(target.firing(await target.kept("s0")))
    await target.storage.drop_schedule("s1")
    changed = await target.put("s0", data='{"a":1}')
    assert await bring_schedules(ends, parcels) == [0, 1]
    assert await target.kept("s0") == changed
    assert [one.name for one in await target.storage.schedules()] == ["s0", "s2"]


async def test_two_schedules_that_say_the_same_are_joined(ends: Ends) -> None:
    source, target = Plans(ends.source), Plans(ends.target)
    record = await source.put("a", due_in=-60)
    fired = source.firing(record, next_in=30)
    await source.fire(fired)
    await source.storage.pause_schedule("a", True, fired.next_at, revision=1)
    await target.put("a", due_in=60)
    assert await bring_schedules(ends, await pack_schedules(ends)) == [1]
    kept = await target.kept("a")
    assert (kept.paused, kept.next_at, kept.revision) == (True, fired.next_at, 3)
    assert (kept.last_at, kept.last_job) == (record.next_at, fired.jobs[0].id)


async def test_what_became_of_ticks_is_kept_once_for_each_moment(ends: Ends) -> None:
    source, target = Plans(ends.source), Plans(ends.target)
    record = await source.put("a", due_in=-600)
    at = record.next_at or 0
    fired = source.firing(record)  # The first minute; then two that were missed, then one more.
    await source.fire(fired)
    await source.fire(source.skipping(await source.kept("a"), 2))
    await source.fire(source.firing(await source.kept("a")))
    record = await target.put("a", due_in=-480)
    await target.fire(target.skipping(record, 2))  # The third minute, and the fourth.
    [theirs] = await target.ticks("a")

    assert await bring_schedules(ends, await pack_schedules(ends)) == [1]

    first, *others = (await target.ticks("a"))[::-1]
    assert (first.at, first.job, others) == (at, fired.jobs[0].id, [theirs])
    # The first of both stands where the source stood, or the target did: no tick comes twice.
    kept = await target.kept("a")
    await target.fire(msgspec.structs.replace(target.firing(record), expected=kept.next_at,
                                              revision=kept.revision))  # fmt: skip
    assert (await target.ticks("a"))[::-1] == [first, *others]


async def test_of_ticks_that_moved_as_many_are_kept_as_of_others(ends: Ends) -> None:
    source, target = Plans(ends.source), Plans(ends.target)
    await many_ticks(source, "a", MOST_TICKS + 110)
    assert await bring_schedules(ends, await pack_schedules(ends)) == [1]
    ticks = await target.ticks("a", 5000)
    assert len(ticks) == MOST_TICKS + 110
    await ends.target.prune_all(limit=1000)
    assert await target.ticks("a", 5000) == ticks[:MOST_TICKS]


async def test_a_schedule_that_says_something_else_there_is_told_and_none_is_lost(
    ends: Ends,
) -> None:
    source, target = Plans(ends.source), Plans(ends.target)
    await source.put("a")
    await source.put("b")
    other = await target.put("b", data="[]")
    parcels = await pack_schedules(ends)
    with pytest.raises(JobStateError, match="'b' says something else in the target"):
        await bring_schedules(ends, parcels)
    assert await target.storage.schedules() == [other]
    assert await house(ends.source).parcel() == parcels[0]
    await target.storage.drop_schedule("b")
    assert await bring_schedules(ends, parcels) == [2]


async def test_a_move_brings_schedules_with_the_jobs(ends: Ends) -> None:
    source, target = Plans(ends.source), Plans(ends.target)
    for n in range(5):
        await source.put(f"s{n}")
    jobs = await ends.source.add_many(3)
    twin = await target.put("s1", data="[]")
    with pytest.raises(JobStateError, match="and say something else: s1; nothing was moved"):
        await Move(house(ends.source), house(ends.target)).run()
    assert len(await source.storage.schedules()) == 5
    assert (await ends.source.page())[0] == jobs[::-1]
    await target.storage.drop_schedule(twin.name)
    moved = await Move(house(ends.source), house(ends.target)).run()
    assert (moved.schedules, sum(moved.moved.values()), moved.whole) == (5, 3, True)
    assert await source.storage.schedules() == []
    assert len(await target.storage.schedules()) == 5
    assert await house(ends.source).parcel() is None
    again = await Move(house(ends.source), house(ends.target)).run()
    assert again.schedules == 0


# -- what operators said -------------------------------------------------------------------------


async def test_limits_that_operators_put_on_queues_are_there_before_the_first_job(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = house(ends.source), house(ends.target)
    await source.limit_queue("mail", 3)
    await source.limit_queue("é\0", 1)
    await ends.source.add(queue="mail")
    unpack, limits = target.unpack, []

    async def seen(jobs: Sequence[Baggage]) -> Any:
        limits.append(await target.operated())
        return await unpack(jobs)

    monkeypatch.setattr(target, "unpack", seen)

    moved = await Move(source, target).run()

    assert moved.limited == ("mail", "é\0")
    assert limits == [{"mail": 3, "é\0": 1}]


async def test_what_an_operator_has_said_of_a_queue_in_the_target_stands(ends: Ends) -> None:
    source, target = house(ends.source), house(ends.target)
    await source.limit_queue("mail", 3)
    await target.limit_queue("mail", 7)

    assert (await Move(source, target).run()).limited == ()

    assert await target.operated() == {"mail": 7}
