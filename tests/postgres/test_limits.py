"""Limits among sessions that count at one gate at once."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from backroom.identity import JobIds
from backroom.limit import Need
from backroom.step import FOREVER, SignalRecord, StepKind, StepRecord
from backroom.storage.postgres.limits import Admitting
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import to_id
from backroom.tie import tied
from backroom.transition import Claim, Transition
from tests.contract.parts import WEEK, Bench
from tests.postgres.test_steps import someone_waits
from tests.postgres.yard import Yard, a_yard
from tests.servers.fixtures import PostgresPlace


def limited(most: int = 1) -> str:
    return tied(None, limits=[Need("tenant", "a", 1, most)])


async def at_the_gate(yard: Yard, bench: Bench) -> tuple[asyncpg.Connection, Any]:
    """Another session that counts there, in a transaction that is not over."""
    other = await yard.connect()
    counting = other.transaction()
    await counting.start()
    text: Statements = yard.storages[0]._statements
    assert await other.fetch(text["lock_gates"], ["tenant"], ["a"])
    return other, counting


async def held(bench: Bench) -> tuple[int, Claim]:
    await bench.add(options=limited())
    worker = await bench.enlist()
    return worker, await bench.claim_one(worker)


async def test_who_counts_waits_for_who_counts_there(postgres_url: PostgresPlace) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker, claim = await held(bench)
        await bench.finish(worker, bench.completed(claim))
        other, counting = await at_the_gate(yard, bench)
        text: Statements = yard.storages[0]._statements
        await other.execute(text["grant"], [to_id(claim.key)], ["tenant"], ["a"], [1])
        await bench.add(options=limited())
        claiming = asyncio.create_task(bench.claim(worker))
        await someone_waits(yard)
        await counting.commit()
        assert await claiming == []
        await other.close()


async def test_who_lets_go_waits_for_who_is_put_aside(postgres_url: PostgresPlace) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker, claim = await held(bench)
        waits = await bench.add(options=limited())
        other, counting = await at_the_gate(yard, bench)
        text: Statements = yard.storages[0]._statements
        await other.execute(text["step_aside"], "default", 2, [waits], [bench.now])
        await other.execute(text["line_up"], [waits], ["tenant"], ["a"], [1], [bench.now])
        ending = asyncio.create_task(bench.finish(worker, bench.completed(claim)))
        await someone_waits(yard)
        await counting.commit()
        assert await ending == [True]
        assert [one.id for one in await bench.claim(worker)] == [waits]
        await other.close()


async def test_what_was_claimed_is_counted_again_and_not_claimed_again(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit, tries = Admitting._admit, []

    async def in_the_way(self: Admitting, *asked: Any) -> Any:
        tries.append(asked)
        if len(tries) == 1:
            raise asyncpg.DeadlockDetectedError("another transaction was first")
        return await admit(self, *asked)

    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        job = await bench.add(options=limited())
        worker = await bench.enlist()
        monkeypatch.setattr(Admitting, "_admit", in_the_way)
        assert [one.id for one in await bench.claim(worker)] == [job], "else it is held for ever"
        assert len(tries) == 2


async def test_many_sessions_never_hold_more_than_a_limit_allows(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        benches = [await yard.bench() for _ in range(3)]
        await benches[0].insert([benches[0].record(options=limited(3)) for _ in range(60)])
        running: set[str] = set()
        done: set[str] = set()

        async def work(bench: Bench) -> None:
            worker = await bench.enlist()
            while len(done) < 60:
                claims = await bench.claim(worker, 4)
                running.update(claim.id for claim in claims)
                assert len(running) <= 3
                await asyncio.sleep(0)
                for claim in claims:
                    running.discard(claim.id)  # Before it is said, so never too late.
                    assert await bench.finish(worker, bench.completed(claim)) == [True]
                    done.add(claim.id)

        async with asyncio.timeout(60):
            await asyncio.gather(*map(work, benches))
        [limit] = await benches[0].storage.limits()
        assert (limit.used, limit.blocked) == (0, 0)


async def test_what_nobody_uses_is_cleared_away(postgres_url: PostgresPlace) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker, claim = await held(bench)
        waits = await bench.add(options=limited())
        assert await bench.claim(worker) == []
        await bench.add(options=tied(None, limits=[Need("tenant", "b", 1, 1)], fair="b"))
        [other] = await bench.claim(worker)
        await bench.finish(worker, bench.completed(other))
        await bench.storage.free_up(bench.now)
        assert await yard.ask("SELECT count(*) FROM background_jobs_gates") == 1
        assert await yard.ask("SELECT count(*) FROM background_jobs_turns") == 0
        await bench.finish(worker, bench.completed(claim))
        assert [one.id for one in await bench.claim(worker)] == [waits]


async def test_where_nothing_is_limited_a_look_for_room_is_one_statement(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        storage = yard.storages[0]
        changes: list[object] = []
        change = storage._base.change

        async def counted(*asked: Any, **more: Any) -> Any:
            changes.append(asked)
            return await change(*asked, **more)

        monkeypatch.setattr(storage._base, "change", counted)
        assert await storage.free_up(bench.now) == 0
        assert changes == []
        await held(bench)
        changes.clear()
        await storage.free_up(bench.now)
        assert changes, "somebody counts now"


async def test_a_job_that_waits_for_ever_has_no_turn_to_take(postgres_url: PostgresPlace) -> None:
    """Else what says when would stay behind it."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        job, worker, claim = await bench.running(options=tied(None, fair="a"))
        step = StepRecord(1, StepKind.SIGNAL, "approved", bench.now, FOREVER)
        assert await bench.finish(worker, Transition.waiting(claim, bench.now, step)) == [True]
        assert await yard.ask("SELECT count(*) FROM background_jobs_later") == 0
        await bench.storage.send_signal(
            job, SignalRecord("x", "approved", "1", bench.now), bench.now
        )
        assert [one.id for one in await bench.claim(worker)] == [job]


async def test_a_limit_that_comes_between_a_claim_and_its_count_loses_nobody(
    postgres_url: PostgresPlace,
) -> None:
    """Who is put aside then is nobody's, and takes no room in it; who is let in is counted."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker, first = await held(bench)  # So there is a gate.
        await bench.finish(worker, bench.completed(first))
        jobs = [await bench.add(options=limited()) for _ in range(3)]
        other, counting = await at_the_gate(yard, bench)
        claiming = asyncio.create_task(bench.claim(worker))
        await someone_waits(yard)
        await (await yard.bench()).storage.limit_queue("default", 5)
        await counting.commit()
        [claim] = await claiming
        used = {one.name: (one.used, one.blocked) for one in await bench.storage.limits()}
        assert used == {"queue default": (1, 0), "tenant": (1, 2)}
        done = [claim.id]
        while len(done) < len(jobs):
            await bench.storage.free_up(bench.now)
            assert await bench.finish(worker, bench.completed(claim)) == [True]
            [claim] = await bench.claim(worker)
            done.append(claim.id)
        assert done == jobs
        await other.close()


async def test_what_holds_room_where_no_gate_is_makes_room_all_the_same(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker, claim = await held(bench)
        assert await yard.ask("DELETE FROM background_jobs_gates RETURNING name") == "tenant"
        await bench.finish(worker, bench.completed(claim))
        [limit] = await bench.storage.limits()
        assert limit.used == 0
        text: Statements = yard.storages[0]._statements
        gone = JobIds()(bench.now)
        await yard.side.execute(text["grant"], [gone], ["tenant"], ["a"], [1])
        await bench.storage.free_up(bench.now)
        [limit] = await bench.storage.limits()
        assert limit.used == 0
