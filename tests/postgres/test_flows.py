"""Workflows in PostgreSQL: who ends jobs of a flow holds it, and in groups, whatever their size."""

from __future__ import annotations

import asyncio
import json
import math
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from backroom.errors import JobStateError, StorageError, WorkflowNotFoundError
from backroom.flow import Piece, WorkflowStatus
from backroom.inspecting import Filter
from backroom.job import JobStatus
from backroom.storage.postgres import history, reopening
from tests.contract.flows import Flows
from tests.contract.parts import DAY, WEEK
from tests.postgres.yard import Yard, a_yard
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace


async def someone_waits(yard: Yard) -> None:
    """Another session is stopped by a lock."""

    async def look() -> bool:
        return bool(await yard.ask("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    await eventually_async(look, "a session waits for a lock")


async def test_of_two_who_end_the_last_two_the_second_lets_go(postgres_url: PostgresPlace) -> None:
    """The first has ended its job, and has not committed: the second waits, and then sees it."""
    async with a_yard(postgres_url, WEEK) as yard:
        flows = Flows(await yard.bench())
        bench = flows.bench
        worker = await bench.enlist()
        await flows.make("a b c", "a>c b>c")
        claims = {}  # Each by itself: of one claim, one outcome waits for the other anyway.
        for _ in range(2):
            claim = await bench.claim_one(worker, queues=None)
            claims[flows.names[claim.id]] = claim
        other = await yard.connect()
        first = other.transaction()
        await first.start()
        storage = yard.storages[0]
        await storage._ending._ending.write(other, [bench.completed(claims["a"])], bench.now)
        second = asyncio.create_task(bench.finish(worker, bench.completed(claims["b"])))
        await someone_waits(yard)
        await first.commit()
        assert await second == [True]
        assert await flows.run(worker) == "c"
        await other.close()


async def test_a_cancellation_waits_for_an_outcome_and_finds_what_it_let_go(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        flows = Flows(await yard.bench())
        bench = flows.bench
        worker = await bench.enlist()
        await flows.make("a b c", "a>b b>c")
        claims = await flows.claim(worker)
        other = await yard.connect()
        ending = other.transaction()
        await ending.start()
        storage = yard.storages[0]
        await storage._ending._ending.write(other, [bench.completed(claims["a"])], bench.now)
        cancelling = asyncio.create_task(flows.storage.cancel_flow(flows.id, bench.now))
        await someone_waits(yard)
        await ending.commit()
        assert await cancelling == 2
        assert await flows.statuses() == "a:completed b:cancelled c:cancelled"
        assert await flows.status() == WorkflowStatus.CANCELLED
        await other.close()


async def test_a_job_that_ends_with_a_transaction_of_the_application_lets_go_what_waits(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        flows = Flows(await yard.bench())
        bench, storage = flows.bench, yard.storages[0]
        worker = await bench.enlist()
        await flows.make("a b", "a>b")
        claims = await flows.claim(worker)
        along = storage.along(yard.side)
        await along.prepare(())
        for end in (along.rollback, along.commit):
            await along.begin()
            assert await along.finish(bench.completed(claims["a"]), bench.now)
            await end()
            expected = "blocked" if end == along.rollback else "pending"
            assert (await flows.statuses()).endswith(f"b:{expected}")
        storage.finished(worker, bench.completed(claims["a"]))
        assert await flows.run(worker) == "b"


async def test_what_is_added_with_a_transaction_waits_for_who_ends_a_job_it_waits_for(
    postgres_url: PostgresPlace,
) -> None:
    """That has ended, and has not committed: who adds waits, and then sees it."""
    async with a_yard(postgres_url, WEEK) as yard:
        flows = Flows(await yard.bench())
        bench, storage = flows.bench, yard.storages[0]
        worker = await bench.enlist()
        await flows.make("a b", "")
        claims = {}  # Each by itself: of one claim, one outcome waits for the other anyway.
        for _ in range(2):
            claim = await bench.claim_one(worker, queues=None)
            claims[flows.names[claim.id]] = claim
        other, own = await yard.connect(), await yard.connect()
        first = other.transaction()
        await first.start()
        await storage._ending._ending.write(other, [bench.completed(claims["b"])], bench.now)
        along = storage.along(own)
        await along.prepare({"default"})
        await along.begin()
        piece = flows.piece("c")
        piece = Piece(piece.members, flows.edges("b>c"))
        adding = asyncio.create_task(along.finish(bench.completed(claims["a"]), bench.now, [piece]))
        await someone_waits(yard)
        await first.commit()
        assert await adding
        await along.commit()
        storage.finished(worker, bench.completed(claims["a"]))
        assert await flows.run(worker) == "c"
        assert await flows.status() == WorkflowStatus.COMPLETED
        await other.close()
        await own.close()


class Said:
    """How many statements of a store its changes take. What a driver asks on a connection that is
    new to it, and words to those who listen, are none of them."""

    def __init__(self, yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._texts = set(yard.storages[0]._statements._texts.values())
        links = yard.storages[0]._links
        run = links.run

        async def counted(work: Any, **how: Any) -> Any:
            async def watched(link: Any) -> Any:
                with link.query_logger(self._note):
                    return await work(link)

            return await run(watched, **how)

        monkeypatch.setattr(links, "run", counted)

    def _note(self, record: Any) -> None:
        self.count += record.query in self._texts


async def test_a_group_of_outcomes_is_so_many_statements_however_many_wait(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        said = Said(yard, monkeypatch)
        worker = await bench.enlist()
        costs = []
        for count in (2, 200):
            flows = Flows(bench)
            names = [f"j{n}" for n in range(count)]
            edges = [f"{name}>z" for name in names] + [f"{name}>y{name}" for name in names]
            await flows.make(" ".join([*names, "z", *(f"y{n}" for n in names)]), " ".join(edges))
            claims = list((await flows.claim(worker)).values())
            assert len(claims) == count
            said.count = 0
            assert all(await bench.finish(worker, *map(bench.completed, claims)))
            costs.append(said.count)
            assert len(await flows.claim(worker)) == count + 1
        assert costs[0] == costs[1] > 1


async def test_what_ends_a_plain_job_is_one_statement_beside_workflows(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        await Flows(bench).make("a b", "a>b")
        worker = await bench.enlist()
        await bench.add_many(3, queue="plain")
        claims = await bench.claim(worker, 3, queues=("plain",))
        said = Said(yard, monkeypatch)
        assert all(await bench.finish(worker, *map(bench.completed, claims)))
        assert said.count == 1


async def test_a_partition_that_goes_leaves_the_jobs_of_a_flow_that_goes_on(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "WHOLE", 0)  # As if it were large.
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        flows = Flows(bench)
        flows.id = bench._ids(bench.now)
        worker = await bench.enlist()
        await flows.make("a b c", "a>b b>c")
        assert await flows.run(worker) == "a"
        made = await yard.table_of(flows.ids["a"])
        assert made != "jobs_rest"
        for _ in range(20):
            bench.clock.advance(DAY)
            await bench.prune_all(limit=1000)
        assert made not in {part.name for part in await yard.parts()}
        assert await flows.statuses() == "a:completed b:pending c:blocked"
        claims = await flows.claim(worker)
        assert await flows.results(claims["b"]) == [("a", "completed", '"a"')]


async def one_that_failed_long_ago(yard: Yard) -> tuple[Flows, int]:
    """`a` has completed, `b` has failed, `c` was cancelled for it; all of it is past retention."""
    flows = Flows(await yard.bench())
    worker = await flows.bench.enlist()
    await flows.make("a b c", "a>b b>c")
    await flows.run(worker)
    await flows.run(worker, b="failed")
    yard.clock.advance(2 * WEEK)
    return flows, worker


async def test_retention_leaves_a_flow_that_is_retried_in_the_same_moment(
    postgres_url: PostgresPlace,
) -> None:
    """What had completed is needed by what runs again, as soon as that is committed."""
    async with a_yard(postgres_url, WEEK) as yard:
        flows, worker = await one_that_failed_long_ago(yard)
        bench, text = flows.bench, yard.storages[0]._statements
        other = await yard.connect()
        retrying = other.transaction()
        await retrying.start()
        [(undone,)] = await other.fetch(text["lock_flow"], UUID(flows.id))
        assert await reopening.retry(other, text, UUID(flows.id), undone, bench.now) == 1
        assert await bench.prune(limit=1) == 0, "nothing of it is past retention any more"
        await retrying.commit()
        await bench.prune_all()
        assert await flows.statuses() == "a:completed b:pending c:blocked"
        claims = await flows.claim(worker)
        assert await flows.results(claims["b"]) == [("a", "completed", '"a"')]
        await other.close()


@pytest.mark.parametrize("how", ["delete", "delete_some"])
async def test_who_takes_jobs_away_waits_for_who_retries_their_flow(
    postgres_url: PostgresPlace, how: str
) -> None:
    """And finds that it goes on, and leaves them."""
    async with a_yard(postgres_url, WEEK) as yard:
        flows, _ = await one_that_failed_long_ago(yard)
        storage, text = yard.storages[0], yard.storages[0]._statements
        other = await yard.connect()
        retrying = other.transaction()
        await retrying.start()
        [(undone,)] = await other.fetch(text["lock_flow"], UUID(flows.id))
        await reopening.retry(other, text, UUID(flows.id), undone, flows.bench.now)
        taking: asyncio.Future[Any] = asyncio.ensure_future(
            storage.delete(flows.ids["a"])
            if how == "delete"
            else storage.delete(Filter(status=JobStatus.COMPLETED))
        )
        await someone_waits(yard)
        await retrying.commit()
        if how == "delete":
            with pytest.raises(JobStateError, match="belongs to workflow"):
                await taking
        else:
            assert await taking == 0
        assert await flows.statuses() == "a:completed b:pending c:blocked"
        await other.close()


async def test_who_retries_a_flow_that_goes_just_now_waits_and_finds_none(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        flows, _ = await one_that_failed_long_ago(yard)
        other = await yard.connect()
        going = other.transaction()
        await going.start()
        text = yard.storages[0]._statements
        assert await other.fetch(text["forget_flows"], flows.bench.later(-WEEK), 10)
        retrying = asyncio.create_task(flows.storage.retry_flow(flows.id, flows.bench.now))
        await someone_waits(yard)
        await going.commit()
        with pytest.raises(WorkflowNotFoundError):
            await retrying
        await flows.bench.prune_all()
        assert (await flows.bench.page())[0] == []
        await other.close()


async def test_an_end_with_much_behind_it_has_longer_the_next_time(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not answered in time is asked again; with as little time it never would be."""
    async with a_yard(postgres_url, WEEK) as yard:
        flows = Flows(await yard.bench())
        bench, base = flows.bench, yard.storages[0]._base
        worker = await bench.enlist()
        await flows.make("a b", "a>b")
        claims = await flows.claim(worker)
        carry, asked = base.carry, []

        async def carried(work: Any, one_statement: bool, within: float | None = None) -> Any:
            asked.append(within)
            if len(asked) < 5:
                raise StorageError("no answer") from TimeoutError("not in time")
            return await carry(work, one_statement, within)

        monkeypatch.setattr(base, "carry", carried)
        for _ in range(4):
            with pytest.raises(StorageError):
                await bench.finish(worker, bench.completed(claims["a"]))
        assert await bench.finish(worker, bench.completed(claims["a"])) == [True]
        assert await flows.run(worker) == "b"
        assert asked == [None, 20.0, 40.0, 60.0, 60.0, None]


async def test_an_end_with_much_behind_it_has_its_time_whatever_else_ends(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        flows = Flows(await yard.bench())
        bench, base = flows.bench, yard.storages[0]._base
        worker = await bench.enlist()
        await flows.make("a b c", "a>b")
        claims = await flows.claim(worker)
        carry, asked = base.carry, []

        async def carried(work: Any, one_statement: bool, within: float | None = None) -> Any:
            asked.append(within)
            if len(asked) in (1, 2):
                raise StorageError("no answer") from TimeoutError("not in time")
            return await carry(work, one_statement, within)

        monkeypatch.setattr(base, "carry", carried)
        for _ in range(2):
            with pytest.raises(StorageError):
                await bench.finish(worker, bench.completed(claims["a"]))
        assert await bench.finish(worker, bench.completed(claims["c"])) == [True]
        assert await bench.finish(worker, bench.completed(claims["a"])) == [True]
        assert asked == [None, 20.0, None, 40.0]


async def test_what_an_end_costs_grows_with_those_that_waited_for_it(
    postgres_url: PostgresPlace,
) -> None:
    """Not with their square: else the end of a job that very many wait for never comes about.
    Told by the server's time for one statement, the best of several, more of them while the machine
    has other things to do: an array that is looked through for each row is a step of no plan."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        storage = yard.storages[0]
        account = storage._statements["account"]

        async def cost(link: Any, job: str) -> float:
            ending = link.transaction()
            await ending.start()
            await link.execute(f"SET LOCAL search_path = {postgres_url.schema}")
            await link.execute(
                "INSERT INTO background_jobs_ended (id, token, state, attempt, finished_at)"
                " VALUES ($1, 1, 2, 1, 1)", job,
            )  # fmt: skip
            await link.execute(f"PREPARE account AS {account}")
            said = await link.fetchval(
                "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE"
                f" account(ARRAY['{job}']::uuid[], {bench.now})"
            )
            await link.execute("DEALLOCATE account")
            await ending.rollback()
            return float(json.loads(said)[0]["Execution Time"])

        ends = []
        for count in (300, 3000):
            flows = Flows(bench)
            names = [f"j{n}" for n in range(count)]
            await flows.make(" ".join(["a", *names]), " ".join(f"a>{name}" for name in names))
            ends.append(flows.ids["a"])
        costs = [math.inf, math.inf]
        for run in range(30):
            for n, job in enumerate(ends):
                costs[n] = min(costs[n], await storage._links.run(partial(cost, job=job)))
            if run >= 2 and costs[1] < 40 * costs[0]:
                break
        assert costs[1] < 40 * costs[0], costs
