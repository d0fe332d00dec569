"""Claims that begin where the last one stopped: quick while rows cannot be cleared away, and what
came before is found in time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from backroom import DatabaseJobStorage
from backroom.ports import Want
from backroom.storage.postgres import marks
from backroom.storage.postgres.marks import Marks
from backroom.transition import Claim
from tests.contract.parts import WEEK, Bench
from tests.postgres.yard import Yard, a_yard
from tests.servers.fixtures import PostgresPlace


def claim(queue: str, priority: int) -> Claim:
    return Claim(1, 1, "id", "T", queue, priority, 10**15, 10**15, "{}", None, None)


class Hand:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
async def yard(postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Yard]:
    """As if each claim were slow."""
    monkeypatch.setattr(marks, "MANY", 0)
    monkeypatch.setattr(marks, "SLOW", 0.0)
    monkeypatch.setattr(marks, "SLOW_EACH", 0.0)
    monkeypatch.setattr(marks, "SHARE", 0)
    async with a_yard(postgres_url, WEEK) as yard:
        yield yard


def turn_by_hand(bench: Bench) -> Hand:
    hand = Hand()
    bench.storage._base.marks = Marks(hand)  # type: ignore[attr-defined]
    return hand


async def test_order_is_kept_while_claims_begin_where_the_last_one_stopped(yard: Yard) -> None:
    bench = await yard.bench()
    turn_by_hand(bench)
    worker = await bench.enlist()
    jobs = {p: await bench.add_many(9, priority=p, run_at=bench.later(-60)) for p in (3, 1, 2)}
    seen = [claim.id for _ in range(9) for claim in await bench.claim(worker, 3)]
    assert seen == jobs[1] + jobs[2] + jobs[3]
    assert await bench.claim(worker, 3) == []


async def test_what_this_process_adds_or_gives_back_is_found_at_once(yard: Yard) -> None:
    bench = await yard.bench()
    turn_by_hand(bench)
    worker, other = await bench.enlist(), await bench.enlist()
    first, *_ = await bench.add_many(10, run_at=bench.later(-60))
    await bench.claim(other, 1)
    await bench.claim(worker, 4)
    await bench.storage.give_back(other, [])
    claim = await bench.claim_one(worker)
    assert claim.id == first
    await bench.claim(worker, 1)
    older = await bench.add(run_at=bench.later(-120))
    assert (await bench.claim_one(worker)).id == older
    await bench.claim(worker, 1)
    await bench.finish(worker, bench.retried(claim, delay=-60))
    assert (await bench.claim_one(worker)).id == first


async def test_what_another_process_gives_back_is_found_within_two_seconds(yard: Yard) -> None:
    bench, elsewhere = await yard.bench(), await yard.bench()
    hand = turn_by_hand(bench)
    worker, other = await bench.enlist(), await elsewhere.enlist()
    first, *later = await bench.add_many(6, run_at=bench.later(-60))
    await elsewhere.claim(other, 1)
    assert [claim.id for claim in await bench.claim(worker, 2)] == later[:2]
    await elsewhere.storage.give_back(other, [])

    assert (await bench.claim_one(worker)).id == later[2]  # It stopped behind it.
    hand.at += marks.STALE
    assert (await bench.claim_one(worker)).id == first


async def test_who_finds_nothing_looks_again_within_two_seconds(yard: Yard) -> None:
    bench, elsewhere = await yard.bench(), await yard.bench()
    hand = turn_by_hand(bench)
    worker, other = await bench.enlist(), await elsewhere.enlist()
    await bench.add_many(2, run_at=bench.later(-60))
    await elsewhere.claim(other, 1)
    await bench.claim(worker)
    await elsewhere.storage.give_back(other, [])
    look = await bench.look(worker)
    assert (look.claims, look.more) == ([], False)
    assert look.next_due is not None
    assert look.next_due <= bench.later(marks.STALE)
    hand.at += marks.STALE
    assert len(await bench.claim(worker)) == 1


async def test_a_job_that_is_due_now_is_in_front_of_no_mark(yard: Yard) -> None:
    """Where a claim had all there was, what comes a little late is found at once."""
    bench, elsewhere = await yard.bench(), await yard.bench()
    turn_by_hand(bench)
    worker = await bench.enlist()
    await bench.add_many(2)
    assert len(await bench.claim(worker)) == 2
    late = await elsewhere.add(run_at=bench.later(-0.09))
    assert [claim.id for claim in await bench.claim(worker)] == [late]


async def test_a_job_of_a_clock_that_is_behind_is_found_in_a_moment(yard: Yard) -> None:
    """What comes late by less than a second, within a quarter of one."""
    bench, elsewhere = await yard.bench(), await yard.bench()
    hand = turn_by_hand(bench)
    worker = await bench.enlist()
    await bench.add_many(2)
    assert len(await bench.claim(worker)) == 2
    late = await elsewhere.add(run_at=bench.later(-0.9))
    look = await bench.look(worker)
    assert look.claims == []
    assert look.next_due is not None
    assert look.next_due <= bench.later(marks.GLANCE)
    hand.at += marks.GLANCE
    assert [claim.id for claim in await bench.claim(worker)] == [late]
    assert await bench.claim(worker) == []
    later = await elsewhere.add(run_at=bench.later(-0.9))
    assert await bench.claim(worker) == []
    hand.at += marks.GLANCE
    assert [claim.id for claim in await bench.claim(worker)] == [later]


@pytest.mark.parametrize("rooms", [(20, 0, 0, 0), (20, 20, 2, 2)], ids=str)
async def test_what_there_was_no_room_for_is_told_of(
    yard: Yard, rooms: tuple[int, int, int, int]
) -> None:
    bench = await yard.bench()
    turn_by_hand(bench)
    worker = await bench.enlist()
    await bench.add_many(6, run_at=bench.later(-60))
    await bench.claim(worker, 1)
    await bench.add(priority=0)
    look = await bench.look(worker, rooms=rooms, starving=0)
    assert len(look.claims) == 1 + rooms[2] - (rooms[2] > 0)
    assert look.more, "jobs are due, and were not taken"


async def test_the_next_moment_is_told_where_all_that_was_due_was_taken(yard: Yard) -> None:
    bench = await yard.bench()
    hand = turn_by_hand(bench)
    worker = await bench.enlist()
    await bench.add_many(6, run_at=bench.later(-60))
    await bench.add(delay=0.01)
    await bench.claim(worker, 1)
    look = await bench.look(worker, 250)
    assert (len(look.claims), look.more) == (5, False)
    assert look.next_due == bench.later(0.01)
    hand.at += marks.GLANCE
    bench.clock.advance(0.01)
    assert len(await bench.claim(worker, 250)) == 1


async def test_a_look_that_is_due_while_the_next_moment_is_asked_for_comes_next(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, elsewhere = await yard.bench(), await yard.bench()
    hand = turn_by_hand(bench)
    worker = await bench.enlist()
    await bench.add_many(6, run_at=bench.later(-60))
    await bench.claim(worker, 1)
    await elsewhere.add(run_at=bench.later(-90))
    assert isinstance(bench.storage, DatabaseJobStorage)
    kept = bench.storage._base.marks
    columns = kept.columns

    def slow(*, claiming: bool = False) -> Any:
        found = columns(claiming=claiming)
        hand.at += 0 if claiming else marks.STALE
        return found

    monkeypatch.setattr(kept, "columns", slow)
    look = await bench.look(worker, 250)
    assert len(look.claims) == 5
    assert look.more or (look.next_due or 10**18) <= bench.later(marks.GLANCE)
    assert len(await bench.claim(worker, 250)) == 1


async def test_queues_and_priorities_that_were_not_looked_at_keep_theirs(yard: Yard) -> None:
    bench, elsewhere = await yard.bench(), await yard.bench()
    turn_by_hand(bench)
    worker = await bench.enlist()
    for queue in ("a", "b"):
        await bench.add(queue=queue, run_at=bench.later(-60))
        await bench.claim(worker, 1, queues=(queue,))
    old = await elsewhere.add(queue="b", run_at=bench.later(-50))
    assert await bench.claim(worker, queues=("a",)) == []
    assert await bench.claim(worker, queues=None, but=("b",)) == []
    low = await elsewhere.add(queue="b", priority=3, run_at=bench.later(-50))
    assert await bench.claim(worker, queues=("b",), rooms=(0, 0, 0, 0)) == []
    claims = await bench.claim(worker, queues=("a", "b"))
    assert [claim.id for claim in claims] == [old, low]


async def test_a_job_goes_straight_to_a_worker_past_what_was_claimed(yard: Yard) -> None:
    """And waits where a job is in front of it."""
    bench, elsewhere = await yard.bench(), await yard.bench()
    hand = turn_by_hand(bench)
    worker = await bench.enlist()
    await bench.add_many(3, run_at=bench.later(-60))
    await bench.claim(worker)
    old = await elsewhere.add(run_at=bench.later(-50))
    [straight] = await bench.insert([bench.record()], worker=worker)
    assert straight.claim is not None  # It stopped behind the old one.
    hand.at += marks.STALE
    [waits] = await bench.insert([bench.record()], worker=worker)
    assert waits.claim is None
    assert [claim.id for claim in await bench.claim(worker)] == [old, waits.id]


async def test_a_claim_that_is_quick_looks_from_the_beginning(postgres_url: PostgresPlace) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker = await bench.enlist()
        await bench.add_many(50, run_at=bench.later(-60))
        for _ in range(5):
            await bench.claim(worker, 5)
        kept = bench.storage._base.marks  # type: ignore[attr-defined]
        assert kept.columns() == [[], [], [], []]


def test_a_quick_look_for_what_is_critical_alone_tells_nothing_of_the_rest() -> None:
    kept = Marks(Hand())
    claims = [claim("default", 2)] * marks.MANY
    kept.took(Want(None, (), (9, 9, 9, 9)), claims, 0.0, 10**15, cut=False)
    for _ in range(3):
        kept.took(Want(None, (), (9, 0, 0, 0)), [], 0.0, 10**15, cut=False)
        assert kept.columns() == [[], [], [], []]
    kept.took(Want(None, (), (9, 9, 9, 9)), claims[:9], 1.0, 10**15, cut=True)
    assert kept.columns()[0] == ["default"]


def test_a_look_from_the_beginning_costs_a_twentieth_of_the_time() -> None:
    hand = Hand()
    kept = Marks(hand)
    want = Want(None, (), (1, 1, 1, 1))
    kept._taken = marks.MANY
    kept._lanes.add(("default", 2))
    kept.took(want, [], 3.0, 10**15, cut=False)
    hand.at += 59.9
    assert kept.columns()[0] == ["default"]
    hand.at += 0.2
    assert kept.columns()[0] == []
