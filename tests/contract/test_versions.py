"""Data newer than the code of a worker: it waits for one that knows its version."""

from __future__ import annotations

import asyncio

import msgspec

from backroom.identity import JobIds
from backroom.job import JobStatus
from backroom.ports import Wake
from backroom.ticking import Last, decide, job_of, read_rule
from backroom.transition import Transition
from tests.contract.parts import Bench, Place
from tests.contract.plans import Plans


def versioned(version: int) -> dict[str, str]:
    return {} if version == 1 else {"options": f'{{"version":{version}}}'}


async def park(bench: Bench, version: int, **fields: object) -> str:
    job, worker = await bench.add(**versioned(version), **fields), await bench.enlist()
    claim = await bench.claim_one(worker, queues=None)
    assert claim.id == job
    assert await bench.finish(worker, Transition.parked(claim)) == [True]
    await bench.storage.retire(worker)
    return job


async def test_what_is_parked_goes_to_who_knows_its_version_and_to_nobody_else(
    bench: Bench,
) -> None:
    jobs = {version: await park(bench, version) for version in (1, 2, 3)}
    worker = await bench.enlist()

    assert await bench.claim(worker, types={}) == []
    assert await bench.claim(worker, types={"OTHER": 3}) == []
    for version, job in jobs.items():
        claim = await bench.claim_one(worker, types={"SEND_EMAIL": version})
        assert (claim.id, claim.options) == (job, versioned(version).get("options"))
        assert await bench.claim(worker, types={"SEND_EMAIL": version}) == []
        assert not (await bench.info(job)).parked


async def test_a_newer_worker_gets_the_older_ones_in_their_order_too(bench: Bench) -> None:
    third = await park(bench, 1, delay=-10)
    second = await park(bench, 2, delay=-20)
    first = await park(bench, 7, delay=-30)
    await park(bench, 8, delay=-40)
    fourth = await bench.add(**versioned(2), delay=-5)
    claims = await bench.claim(await bench.enlist(), types={"SEND_EMAIL": 7})
    assert [claim.id for claim in claims] == [first, second, third, fourth]


async def test_an_older_worker_does_not_look_at_it_again(bench: Bench) -> None:
    job = await park(bench, 2)
    worker = await bench.enlist()
    for _ in range(3):
        looked = await bench.look(worker, types={"SEND_EMAIL": 1})
        assert (looked.claims, looked.more, looked.next_due) == ([], False, None)
    other = await bench.add()
    assert (await bench.claim_one(worker, types={"SEND_EMAIL": 1})).id == other
    assert (await bench.info(job)).parked


async def test_whoever_knows_it_hears_of_it_when_it_is_parked(bench: Bench) -> None:
    woken = asyncio.Event()
    job, worker = await bench.add(**versioned(2)), await bench.enlist()
    claim = await bench.claim_one(worker)
    end = bench.storage.subscribe(lambda why: woken.set() if why is Wake.JOBS else None)
    await bench.finish(worker, Transition.parked(claim))
    async with asyncio.timeout(10):
        await woken.wait()
    end()
    assert (await bench.claim_one(worker, types={"SEND_EMAIL": 2})).id == job


async def test_it_starves_for_who_knows_it_only(bench: Bench) -> None:
    old = await park(bench, 2, priority=3, delay=-100)
    new = await bench.add(priority=0)
    starving = {"starving": 1, "starving_since": bench.later(-60)}
    worker = await bench.enlist()
    assert (await bench.claim_one(worker, types={"SEND_EMAIL": 1}, **starving)).id == new
    await bench.add(priority=0)
    assert (await bench.claim_one(worker, types={"SEND_EMAIL": 2}, **starving)).id == old


async def test_people_see_the_version_of_what_is_parked(bench: Bench) -> None:
    one = await park(bench, 1)
    two = await park(bench, 2)
    await park(bench, 2, queue="other")
    await park(bench, 2, type="OTHER")
    waits = await bench.add(**versioned(4))
    stats = await bench.storage.stats(bench.now)
    assert [msgspec.structs.astuple(kind) for kind in stats.parked] == [
        ("OTHER", 2, 1), ("SEND_EMAIL", 1, 1), ("SEND_EMAIL", 2, 2),
    ]  # fmt: skip
    assert stats.unknown_types == {"OTHER": 1, "SEND_EMAIL": 3}
    assert stats.by_status["pending"] == 5
    infos = [await bench.info(job) for job in (one, two, waits)]
    assert [(info.version, info.parked) for info in infos] == [(1, True), (2, True), (4, False)]
    assert all(info.options == {} for info in infos)
    assert infos[1].status == JobStatus.PENDING


async def test_what_is_given_back_is_parked_anew_as_what_it_was(bench: Bench) -> None:
    job = await park(bench, 2)
    worker = await bench.enlist()
    await bench.claim_one(worker, types={"SEND_EMAIL": 2})
    assert await bench.storage.give_back(worker, []) == 1
    claim = await bench.claim_one(worker, types={"SEND_EMAIL": 1})  # It waits: anybody gets it.
    assert (claim.id, claim.attempt) == (job, 0)
    await bench.finish(worker, Transition.parked(claim))
    assert await bench.claim(worker, types={"SEND_EMAIL": 1}) == []
    assert (await bench.claim_one(worker, types={"SEND_EMAIL": 2})).id == job


async def test_it_can_be_cancelled_retried_and_deleted(bench: Bench) -> None:
    job, other = await park(bench, 2), await park(bench, 2)
    assert await bench.storage.cancel(job, bench.now) == 1
    await bench.storage.delete(other)
    worker = await bench.enlist()
    assert await bench.claim(worker, types={"SEND_EMAIL": 2}) == []
    await bench.storage.retry(job, bench.now)
    claim = await bench.claim_one(worker)
    assert (claim.id, claim.options) == (job, '{"version":2}')
    assert (await bench.info(job)).version == 2


async def test_it_expires_while_it_is_parked(bench: Bench) -> None:
    job = await park(bench, 2, expires_at=bench.later(60))
    bench.clock.advance(61)
    assert await bench.prune() == 1
    assert await bench.status(job) == JobStatus.CANCELLED


async def test_many_of_a_newer_version_do_not_hide_the_others(bench: Bench) -> None:
    await bench.add_many(300, **versioned(2))
    worker = await bench.enlist()
    for _ in range(3):
        claims = await bench.claim(worker, 100)
        await bench.finish(worker, *map(Transition.parked, claims))
    old = await park(bench, 1)
    assert [c.id for c in await bench.claim(worker, 100, types={"SEND_EMAIL": 1})] == [old]
    assert len(await bench.claim(worker, 1000, types={"SEND_EMAIL": 2})) == 300


async def test_the_job_of_a_tick_is_parked_with_the_version_of_its_schedule(place: Place) -> None:
    """Whoever decides the tick knows nothing of that; and people run the schedule beside it."""
    old, new = (Plans(bench) for bench in await place.benches(2))
    record = await new.put(options='{"version":2,"tags":["a"]}', type="SEND_EMAIL")
    rule, ids = read_rule(record), JobIds()
    decided = decide(record, rule, old.bench.now, Last(), ids, lambda: 0.0)
    assert decided is not None
    assert await old.fire(decided) == [True]
    beside = job_of(record, None, old.bench.now, ids)
    await old.bench.insert([beside])

    worker = await old.bench.enlist()
    claims = await old.bench.claim(worker, types={"SEND_EMAIL": 1})
    assert len(claims) == 2
    assert await old.bench.finish(worker, *map(Transition.parked, claims)) == [True, True]
    assert await old.bench.claim(worker, types={"SEND_EMAIL": 1}) == []
    [tick] = await new.ticks()
    for job in (tick.job or "", beside.id):
        info = await new.bench.info(job)
        assert (info.version, info.parked, info.attempt) == (2, True, 0)
        assert (info.options, info.metadata["schedule"]) == ({}, "digest")
    ready = await new.bench.claim(await new.bench.enlist(), types={"SEND_EMAIL": 2})
    assert {claim.id for claim in ready} == {tick.job, beside.id}


async def test_another_process_finds_what_is_parked_here(place: Place) -> None:
    here, there = await place.benches(2)
    job = await park(here, 2)
    worker = await there.enlist()
    assert await there.claim(worker, types={"SEND_EMAIL": 1}) == []
    assert (await there.claim_one(worker, types={"SEND_EMAIL": 2})).id == job
