"""So many starts in some time, on every storage, whoever claims."""

from __future__ import annotations

import itertools
from typing import Any

from backroom.job import SECOND, JobStatus
from backroom.limit import UNSAID, LimitRecord, Need
from backroom.tie import tied
from tests.contract.parts import Bench, Place


def rate(most: int = 2, per: float = 1.0, burst: int = 1, key: str = "a") -> Need:
    return Need("rate", key, 1, most, round(per * SECOND), burst)


async def add(bench: Bench, *needs: Need, count: int = 1, **fields: Any) -> list[str]:
    return await bench.add_many(count, options=tied(None, limits=needs or (rate(),)), **fields)


async def starts(
    bench: Bench, worker: int, seconds: float, *, by: float = 0.1
) -> list[tuple[float, str]]:
    """Which jobs start when, seconds from now, where somebody looks each tenth of a second."""
    found: list[tuple[float, str]] = []
    began = bench.now
    for _ in range(round(seconds / by)):
        while True:
            look = await bench.look(worker)
            found += [((bench.now - began) / SECOND, claim.id) for claim in look.claims]
            if look.claims:
                await bench.finish(worker, *map(bench.completed, look.claims))
            elif look.next_due is None or look.next_due > bench.now:
                break
        bench.clock.advance(by)
        await bench.storage.extend(worker)
    return found


async def test_starts_are_spread_evenly(bench: Bench) -> None:
    jobs = await add(bench, rate(2), count=6)
    found = await starts(bench, await bench.enlist(), 3)
    assert [job for _, job in found] == jobs
    assert [at for at, _ in found] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    [limit] = await bench.storage.limits()
    assert (limit.per, limit.most, limit.used, limit.blocked) == (1.0, 2, 0, 0)


async def test_a_burst_starts_at_once_after_a_quiet_time(bench: Bench) -> None:
    worker = await bench.enlist()
    await add(bench, rate(2, burst=3), count=7)
    found = await starts(bench, worker, 3)
    assert [at for at, _ in found] == [0.0, 0.0, 0.0, 0.5, 1.0, 1.5, 2.0]
    bench.clock.advance(20)
    await bench.storage.extend(worker)
    await add(bench, rate(2, burst=3), count=5)
    found = await starts(bench, worker, 2)
    assert [at for at, _ in found] == [0.0, 0.0, 0.0, 0.5, 1.0]


async def test_each_key_has_its_own_rate(bench: Bench) -> None:
    await add(bench, rate(1, key="a"), rate(1, key="a"), count=1)
    await add(bench, rate(1, key="b"), count=2)
    found = await starts(bench, await bench.enlist(), 1.5)
    assert [at for at, _ in found] == [0.0, 0.0, 1.0]


async def test_those_over_the_rate_are_out_of_the_way(bench: Bench) -> None:
    worker = await bench.enlist()
    await add(bench, rate(1, per=3600), count=300)
    plain = await bench.add()
    assert len(await bench.claim(worker, 2)) == 2
    look = await bench.look(worker)
    assert look.claims == []
    assert look.next_due == bench.later(3600)  # The next one is told when it may start.
    [limit] = await bench.storage.limits()
    assert limit.blocked == 298
    assert await bench.status(plain) is JobStatus.ACTIVE


async def test_two_workers_share_a_rate(place: Place) -> None:
    near, far = await place.benches(2)
    first, second = await near.enlist(), await far.enlist()
    await add(near, rate(1), count=4)
    assert len(await near.claim(first)) == 1
    assert await far.claim(second) == []
    near.clock.advance(1.0)
    assert len(await far.claim(second)) == 1
    assert await near.claim(first) == []


async def test_a_retry_is_a_start_too(bench: Bench) -> None:
    worker = await bench.enlist()
    [one] = await add(bench, rate(1))
    [claim] = await bench.claim(worker)
    await bench.finish(worker, bench.retried(claim))
    assert [at for at, _ in await starts(bench, worker, 1.5)] == [1.0]
    assert await bench.status(one) is JobStatus.COMPLETED


async def test_a_moment_that_nobody_uses_goes_to_the_next(bench: Bench) -> None:
    worker = await bench.enlist()
    jobs = await add(bench, rate(1, per=10), count=4)
    assert [claim.id for claim in await bench.claim(worker)] == jobs[:1]
    assert await bench.status(jobs[1]) is JobStatus.SCHEDULED  # It was told its moment.
    assert await bench.status(jobs[2]) is JobStatus.BLOCKED
    await bench.storage.cancel(jobs[1], bench.now)
    bench.clock.advance(10)
    await bench.storage.extend(worker)
    assert [claim.id for claim in await bench.claim(worker)] == [jobs[2]]


async def test_who_is_more_urgent_is_told_first(bench: Bench) -> None:
    worker = await bench.enlist()
    jobs = await add(bench, rate(1, per=10), count=3)
    await bench.claim(worker)
    [urgent] = await add(bench, rate(1, per=10), priority=0)
    found = await starts(bench, worker, 22, by=1.0)
    assert found == [(10.0, urgent), (20.0, jobs[1])]


async def test_a_rate_and_a_concurrency_hold_together(bench: Bench) -> None:
    worker = await bench.enlist()
    needs = rate(10), Need("one", "", 1, 1)
    await add(bench, *needs, count=5)
    [claim] = await bench.claim(worker)
    bench.clock.advance(5)
    await bench.storage.extend(worker)
    assert await bench.claim(worker) == []  # What it waits for elsewhere is no start.
    await bench.finish(worker, bench.completed(claim))
    found = await starts(bench, worker, 2)
    assert len(found) == 4
    gaps = [b - a for (a, _), (b, _) in itertools.pairwise(found)]
    assert min(gaps) >= 0.099


async def test_a_rate_that_is_changed_holds_for_those_who_wait(bench: Bench) -> None:
    worker = await bench.enlist()
    await add(bench, rate(1, per=1000), count=4)
    await bench.claim(worker)
    assert await bench.claim(worker) == []
    await bench.storage.put_limits([LimitRecord("rate", 100, SECOND, 1)])
    [limit] = await bench.storage.limits()
    assert limit.per == 1.0
    bench.clock.advance(1000)
    await bench.storage.extend(worker)
    await bench.storage.free_up(bench.now)
    assert len(await starts(bench, worker, 1)) == 3


async def test_a_clock_that_is_set_back_stops_no_rate(bench: Bench) -> None:
    worker = await bench.enlist()
    jobs = await add(bench, rate(1, per=10), count=4, run_at=bench.later(-4000))
    assert [claim.id for claim in await bench.claim(worker)] == jobs[:1]
    bench.clock.step(-3600)
    assert await bench.storage.free_up(bench.now) > 0
    found = await starts(bench, worker, 45, by=5.0)
    assert [job for _, job in found] == jobs[1:]
    assert [b - a for (a, _), (b, _) in itertools.pairwise(found)] == [10.0, 10.0]


async def test_who_is_put_aside_with_others_is_told_too(bench: Bench) -> None:
    worker = await bench.enlist()
    await add(bench, rate(1, per=10, key="a"))
    await add(bench, rate(1, per=10, key="b"))
    assert len(await bench.claim(worker)) == 2
    await add(bench, rate(1, per=10, key="a"))
    last = await add(bench, rate(1, per=10, key="b"))
    assert await bench.claim(worker, 1) == []  # It looks at one of them, and finds the other one.
    bench.clock.advance(10)
    await bench.storage.extend(worker)
    assert last[0] in {job for _, job in await starts(bench, worker, 1, by=1.0)}


async def test_a_rate_of_many_keeps_pace(bench: Bench) -> None:
    worker = await bench.enlist()
    await add(bench, rate(100, burst=10), count=60)
    found = await starts(bench, worker, 1.0, by=0.05)
    assert len(found) == 60
    for at, _ in found:
        assert sum(at <= other < at + 0.2 for other, _ in found) <= 20 + 10 - 1


async def late_starts(bench: Bench, worker: int, count: int) -> list[int]:
    """When so many jobs start, in microseconds from now, where somebody looks when the next is due,
    and each time a few milliseconds late."""
    began, found = bench.now, []
    for late in itertools.cycle((0.006, 0.003, 0.001, 0.030, 0.002)):
        look = await bench.look(worker)
        found += [bench.now - began] * len(look.claims)
        await bench.finish(worker, *map(bench.completed, look.claims))
        if len(found) >= count or bench.now - began > count * SECOND:
            break
        if not look.claims:
            due = bench.now if look.next_due is None else look.next_due
            bench.clock.advance(max(0, due - bench.now) / SECOND + late)
            await bench.storage.extend(worker)
    return found


def most_in(starts: list[int], seconds: float) -> int:
    """Of how many the start falls into any so many seconds."""
    return max(sum(at <= other < at + seconds * SECOND for other in starts) for at in starts)


async def test_who_is_a_little_late_keeps_the_pace(bench: Bench) -> None:
    await add(bench, rate(10, burst=UNSAID), count=30)
    found = await late_starts(bench, await bench.enlist(), 30)
    assert len(found) == 30
    assert found[-1] < 2.95 * SECOND
    assert most_in(found, 1.0) <= 11
    [limit] = await bench.storage.limits()
    assert limit.burst == 2


async def test_a_strict_rate_loses_what_was_late_and_no_more(bench: Bench) -> None:
    await add(bench, rate(10, burst=1), count=30)
    found = await late_starts(bench, await bench.enlist(), 30)
    assert len(found) == 30
    assert 2.9 * SECOND <= found[-1] < 3.4 * SECOND
    assert most_in(found, 1.0) <= 10


async def test_who_was_sent_back_is_before_those_behind_it(bench: Bench) -> None:
    """Told for a moment that another start, which was late, has put off."""
    worker = await bench.enlist()
    jobs = await add(bench, rate(10, burst=1), count=25)
    assert [claim.id for claim in await bench.claim(worker, 1)] == jobs[:1]
    bench.clock.advance(0.15)
    await bench.storage.extend(worker)
    assert [claim.id for claim in await bench.claim(worker, 1)] == jobs[1:2]
    bench.clock.advance(0.06)
    assert await bench.claim(worker, 1) == []
    bench.clock.advance(0.04)
    assert [claim.id for claim in await bench.claim(worker, 1)] == jobs[2:3]
