"""Rows are locked in one order by all who end jobs or count them: nobody waits for one who waits
for it.

In each test another session has gone one step of the way; somebody comes in between, and waits;
then that session goes on. Were the one who waits in its way, the server would end that session.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from backroom.flow import Member, Piece
from backroom.inspecting import Filter
from backroom.job import SECOND, JobStatus
from backroom.limit import Need
from backroom.ports import Want
from backroom.step import SignalRecord, StepKind, StepRecord
from backroom.storage.postgres.limits import HOUR
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import to_id
from backroom.storage.postgres.ties import hold
from backroom.tie import tied
from backroom.transition import Claim, Transition
from tests.contract.flows import Flows
from tests.contract.parts import LEASE, WEEK, Bench
from tests.postgres.test_steps import someone_waits
from tests.postgres.yard import Yard, a_yard
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace

NEED = Need("tenant", "a", 1, 1)


@asynccontextmanager
async def another(yard: Yard) -> AsyncIterator[tuple[asyncpg.Connection, Statements]]:
    """A session in a transaction, which is ended first where two wait for each other."""
    other = await yard.connect()
    await other.execute("SET deadlock_timeout = '10ms'")
    try:
        async with other.transaction():
            yield other, yard.storages[0]._statements
    finally:
        await other.close()


async def taken(yard: Yard, worker: int, now: int) -> list[Claim]:
    """Claims that are not counted yet."""
    claiming = yard.storages[0]._claiming
    want = Want(None, (), (100, 100, 100, 100))
    claimed = await yard.storages[0]._links.run(
        lambda link: claiming._claim(link, worker, want, now)
    )
    return claimed.claims


async def counted(yard: Yard, worker: int, claims: list[Claim], now: int) -> list[Claim]:
    """Those that may run."""
    admitting = yard.storages[0]._claiming._admitting
    return await yard.storages[0]._links.run(
        lambda link: admitting.admitted(link, worker, claims, now)
    )


async def one_in_line(bench: Bench) -> tuple[int, Claim, str]:
    """A worker, a claim that has the only slot, and a job that waits for that."""
    worker = await bench.enlist()
    jobs = [await bench.add(options=tied(None, limits=[NEED])) for _ in range(2)]
    claim = await bench.claim_one(worker)
    assert await bench.claim(worker) == []
    assert [await bench.status(job) for job in jobs] == [JobStatus.ACTIVE, JobStatus.BLOCKED]
    return worker, claim, jobs[1]


async def test_who_cancels_holds_no_gate_when_it_comes_to_claims(
    postgres_url: PostgresPlace,
) -> None:
    """Of two jobs of one limit one is in line, and one was claimed, and is counted just now."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker, _, waits = await one_in_line(bench)
        job = await bench.add(options=tied(None, limits=[NEED]))
        [claim] = await taken(yard, worker, bench.now)
        assert claim.id == job
        async with another(yard) as (other, text):
            assert len(await other.fetch(text["lock_claims"], worker, [claim.token])) == 1
            cancelling = asyncio.create_task(bench.storage.cancel(Filter(), bench.now))
            await someone_waits(yard)
            assert await other.fetch(text["lock_gates"], ["tenant"], ["a"])
        assert await cancelling == 3
        assert await bench.status(waits) == JobStatus.CANCELLED
        assert await counted(yard, worker, [claim], bench.now) == []
        assert await bench.status(job) == JobStatus.CANCELLED


async def test_what_was_cancelled_before_it_is_counted_ends_behind_its_flow(
    postgres_url: PostgresPlace,
) -> None:
    """An outcome of its flow holds that, and comes to the claim when the other is counted."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        flows = Flows(bench)
        worker, _, _ = await one_in_line(bench)
        limited = tied(None, workflow=flows.id, limits=[NEED])
        members = [
            Member(flows.record("a")),
            Member(flows.record("b", options=limited)),
            Member(flows.record("c"), anyway=True),
        ]
        piece = Piece(members, flows.edges("b>c"))
        await flows.put(piece)
        claims = {flows.names[one.id]: one for one in await taken(yard, worker, bench.now)}
        assert sorted(claims) == ["a", "b"]
        assert await bench.storage.cancel(flows.ids["b"], bench.now) == 1
        async with another(yard) as (other, text):
            await hold(other, text, [to_id(claims["a"].key)])
            counting = asyncio.create_task(counted(yard, worker, [*claims.values()], bench.now))
            await someone_waits(yard)
            ending = yard.storages[0]._ending._ending
            assert await ending.write(other, [bench.completed(claims["a"])], bench.now) == set()
        assert [flows.names[one.id] for one in await counting] == ["a"]
        assert await flows.statuses() == "a:completed b:cancelled c:pending"


async def test_what_expires_ends_behind_its_flow(postgres_url: PostgresPlace) -> None:
    """An outcome of the flow holds that, and comes to the job that waits when it expires."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        flows = Flows(bench)
        worker = await bench.enlist()
        await flows.make("a b c", "a>b b>c", expires_at=bench.later(60))
        claims = await flows.claim(worker)
        bench.clock.advance(61)
        async with another(yard) as (other, text):
            await hold(other, text, [to_id(claims["a"].key)])
            pruning = asyncio.create_task(bench.prune())
            await someone_waits(yard)
            ending = yard.storages[0]._ending._ending
            assert await ending.write(other, [bench.completed(claims["a"])], bench.now) == set()
        assert await pruning == 2
        assert await flows.statuses() == "a:completed b:cancelled c:cancelled"


async def test_who_clears_gates_away_waits_for_none(postgres_url: PostgresPlace) -> None:
    """Somebody holds a gate where others wait, and comes to one that idles."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        idle = await bench.add(options=tied(None, limits=[Need("tenant", "z", 1, 1)]))
        worker = await bench.enlist()
        claim = await bench.claim_one(worker)
        assert claim.id == idle
        await bench.finish(worker, bench.completed(claim))
        await one_in_line(bench)
        bench.clock.advance(HOUR / SECOND)
        async with another(yard) as (other, text):
            assert await other.fetch(text["lock_gates"], ["tenant"], ["a"])
            freeing = asyncio.create_task(bench.storage.free_up(bench.now))
            await someone_waits(yard)
            await other.execute(text["new_gates"], ["tenant"], ["z"])
            assert len(await other.fetch(text["lock_gates"], ["tenant"] * 2, ["a", "z"])) == 2
        assert await freeing == 0
        assert await yard.ask("SELECT array_agg(key) FROM background_jobs_gates") == ["a"]


async def later_first(yard: Yard, bench: Bench) -> tuple[int, list[Claim]]:
    """Two claims, of which the later one stands first in the table."""
    worker = await bench.enlist()
    claims = []
    for _ in range(2):
        await bench.add()
        claims.append(await bench.claim_one(worker))
    for held_by in (-1, worker):  # Written anew, and in the index by worker, too.
        await yard.side.execute(
            "UPDATE background_jobs_held SET worker = $1 WHERE token = $2", held_by, claims[0].token
        )
    rows = await yard.side.fetch("SELECT token FROM background_jobs_held")
    assert [row[0] for row in rows] == [claims[1].token, claims[0].token]
    return worker, claims


async def test_who_asks_jobs_to_end_comes_to_their_claims_in_order(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        _, claims = await later_first(yard, bench)
        async with another(yard) as (other, text):
            await other.fetch(text["wait_for"], [claims[0].token])
            cancelling = asyncio.create_task(bench.storage.cancel(Filter(), bench.now))
            await someone_waits(yard)
            await other.fetch(text["wait_for"], [claims[1].token])
        assert await cancelling == 2


async def test_who_takes_back_what_the_dead_hold_comes_to_their_claims_in_order(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        _, claims = await later_first(yard, bench)
        async with another(yard) as (other, text):
            await other.fetch(text["wait_for"], [claims[0].token])
            ending = asyncio.create_task(bench.end_leases())
            await someone_waits(yard)
            await other.fetch(text["wait_for"], [claims[1].token])
        assert (await ending).untouched == 2


async def test_who_hurries_a_job_waits_for_who_sends_it_a_signal(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        job, worker, claim = await bench.running()
        until = bench.later(3600)
        step = StepRecord(1, StepKind.SIGNAL, "approved", bench.now, until)
        assert await bench.finish(worker, Transition.waiting(claim, bench.now, step)) == [True]
        async with another(yard) as (other, text):
            await other.fetch(text["lock_job"], job)
            hurrying = asyncio.create_task(bench.storage.retry(job, bench.now))
            await someone_waits(yard)
            signal = SignalRecord("x", "approved", "1", bench.now)
            [row] = await other.fetch(
                text["send_signal"], job, signal.id, signal.name, signal.value, signal.at,
                bench.now, 100,
            )  # fmt: skip
            assert row["woken"]
        assert await hurrying == 1
        assert [one.id for one in await bench.claim(worker)] == [job]


async def test_who_gives_back_sees_what_its_worker_claims_in_the_same_moment(
    postgres_url: PostgresPlace,
) -> None:
    """A claim is on its way whose answer was lost: what it took comes back with the others."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        job, worker = await bench.add(), await bench.enlist()
        async with another(yard) as (other, text):
            rows: list[Any] = await other.fetch(text["claim_one"], None, bench.now, worker, [], 0)
            assert str(rows[0]["id"]) == job
            giving = asyncio.create_task(bench.storage.give_back(worker, ()))
            await someone_waits(yard)
        assert await giving == 1
        assert await bench.status(job) == JobStatus.PENDING


async def test_a_worker_lives_on_while_what_it_gives_back_waits_for_a_flow(
    postgres_url: PostgresPlace,
) -> None:
    """Somebody ends a large part of a flow; what else its worker holds is started meanwhile."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        flows = Flows(bench)
        worker = await bench.enlist()
        await flows.make("a b", "a>b")
        member = (await flows.claim(worker))["a"]
        _, claim = await bench.add(), await bench.claim_one(worker)
        async with another(yard) as (other, text):
            await hold(other, text, [to_id(member.key)])
            kept = [(claim.key, claim.token)]
            giving = asyncio.create_task(bench.storage.give_back(worker, kept))
            await someone_waits(yard)
            await bench.storage.extend(worker)
            await bench.storage.start(worker, [claim.key])
            await someone_waits(yard)
            assert not giving.done()
        assert await giving == 1
        assert await flows.statuses() == "a:pending b:blocked"


async def someone_waits_for(session: asyncpg.Connection, yard: Yard) -> None:
    """Another session is stopped by a lock of this one."""
    pid = session.get_server_pid()

    async def look() -> bool:
        found = await yard.ask(
            "SELECT count(*) FROM pg_locks WHERE $1 = ANY(pg_blocking_pids(pid))", pid
        )
        return bool(found)

    await eventually_async(look, "a session waits for that one")


async def claims_a_member(
    yard: Yard, bench: Bench, other: asyncpg.Connection, worker: int
) -> Flows:
    """A claim of a job of a flow that is on its way."""
    flows = Flows(bench)
    await flows.make("a b", "a>b")
    text = yard.storages[0]._statements["claim_one"]
    rows: list[Any] = await other.fetch(text, None, bench.now, worker, [], 0)
    assert str(rows[0]["id"]) == flows.ids["a"]
    return flows


async def test_a_worker_lives_on_while_what_it_claimed_just_now_waits_for_a_flow(
    postgres_url: PostgresPlace,
) -> None:
    """Of a claim whose answer was lost nobody knew when the flows were locked."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker = await bench.enlist()
        async with another(yard) as (third, text):
            async with another(yard) as (other, _):
                flows = await claims_a_member(yard, bench, other, worker)
                await hold(third, text, [flows.ids["a"]])
                giving = asyncio.create_task(bench.storage.give_back(worker, ()))
                await someone_waits(yard)  # For the claim.
            await someone_waits_for(third, yard)
            await bench.storage.extend(worker)
            await someone_waits_for(third, yard)
            assert not giving.done()
        assert await giving == 1
        assert await flows.statuses() == "a:pending b:blocked"


async def test_who_extends_its_lease_while_its_flow_is_waited_for_is_not_dead(
    postgres_url: PostgresPlace,
) -> None:
    """It was late, and comes before who is to take its jobs."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        flows = Flows(bench)
        worker = await bench.enlist()
        await flows.make("a b", "a>b")
        member = (await flows.claim(worker))["a"]
        bench.clock.advance(LEASE + 0.001)
        async with another(yard) as (other, text):
            await hold(other, text, [to_id(member.key)])
            reclaiming = asyncio.create_task(bench.reclaim())
            await someone_waits(yard)
            await bench.storage.extend(worker)
            await someone_waits(yard)
            assert not reclaiming.done()
        assert (await reclaiming).workers == ()
        assert await bench.finish(worker, bench.completed(member)) == [True]


async def test_who_takes_back_what_was_claimed_just_now_waits_for_its_flow_first(
    postgres_url: PostgresPlace,
) -> None:
    """A worker that is late claims a job of another flow while the first one is waited for."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker = await bench.enlist()
        first, second = Flows(bench), Flows(bench)
        await first.make("a")
        member = (await first.claim(worker))["a"]
        bench.clock.advance(LEASE + 0.001)
        async with another(yard) as (third, text):
            async with another(yard) as (other, _):
                await hold(other, text, [to_id(member.key)])
                reclaiming = asyncio.create_task(bench.reclaim())
                await someone_waits(yard)
                await second.make("b")
                new = (await second.claim(worker))["b"]
                await hold(third, text, [to_id(new.key)])
            await someone_waits_for(third, yard)
            await bench.storage.extend(worker)
            await someone_waits_for(third, yard)
            assert not reclaiming.done()
        assert (await reclaiming).workers == ()
        claims = [bench.completed(member), bench.completed(new)]
        assert await bench.finish(worker, *claims) == [True, True]


async def test_who_rearranges_comes_to_gates_before_it_has_jobs(
    postgres_url: PostgresPlace,
) -> None:
    """Who holds a gate tells the one that waits there its moment."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        _, _, waits = await one_in_line(bench)
        async with another(yard) as (other, text):
            assert await other.fetch(text["lock_gates"], ["tenant"], ["a"])
            changing = asyncio.create_task(bench.storage.rearrange(Filter(), bench.now, None, 3))
            await someone_waits(yard)
            await other.fetch(text["tell"], [waits], [bench.later(5)])
        assert await changing == 1
        info = await bench.info(waits)
        assert (info.status, info.priority) == (JobStatus.PENDING, "low")


async def test_what_is_no_more_what_was_looked_for_is_not_rearranged(
    postgres_url: PostgresPlace,
) -> None:
    """It becomes something else between the look and the change."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        _, _, waits = await one_in_line(bench)
        async with another(yard) as (other, text):
            assert await other.fetch(text["lock_gates"], ["tenant"], ["a"])
            which = Filter(status=JobStatus.BLOCKED)
            changing = asyncio.create_task(bench.storage.rearrange(which, bench.now, None, 3))
            await someone_waits(yard)
            await other.fetch(text["tell"], [waits], [bench.later(5)])
        assert await changing == 0
        info = await bench.info(waits)
        assert (info.status, info.priority) == (JobStatus.SCHEDULED, "normal")


async def test_who_has_a_gate_waits_for_nobody_who_has_a_job_or_its_place(
    postgres_url: PostgresPlace,
) -> None:
    """Somebody who has one comes to the gate. Many jobs are changed without this one, and the one
    that was named when it is free."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker, claim, waits = await one_in_line(bench)
        assert await bench.finish(worker, bench.completed(claim)) == [True]  # It is called.
        lock_place = "SELECT FROM background_jobs_ready WHERE id = $1 FOR UPDATE"
        for lock in (lock_place, yard.storages[0]._statements["lock_job"]):
            async with another(yard) as (other, text):
                assert len(await other.fetch(lock, waits)) == 1
                assert await bench.storage.rearrange(Filter(), bench.now, None, 3) == 0
                changing = asyncio.create_task(bench.storage.rearrange(waits, bench.now, None, 3))
                await someone_waits(yard)
                assert await other.fetch(text["lock_gates"], ["tenant"], ["a"])
            assert await changing == 1
            assert (await bench.info(waits)).priority == "low"
            assert await bench.storage.rearrange(waits, bench.now, None, 2) == 1


async def test_who_gives_turns_has_the_jobs_before_their_places(
    postgres_url: PostgresPlace,
) -> None:
    """One that somebody else moves just now takes its turn the next time."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        job = await bench.add(options=tied(None, fair="a"), delay=5)
        bench.clock.advance(6)
        async with another(yard) as (other, text):
            assert len(await other.fetch(text["lock_jobs"], [job])) == 1
            assert await bench.storage.free_up(bench.now) == 0
            moved = await other.fetch(text["rearrange"], [job], None, 1, [], [])
            assert len(moved) == 1
        bench.clock.advance(1)
        assert await bench.storage.free_up(bench.now) == 1
        assert (await bench.info(job)).priority == "high"
