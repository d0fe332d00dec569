"""A signal, and the outcome that puts its job aside, in two transactions at once: each order. So
with steps that are forgotten, and who would begin to run their job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from backroom.errors import JobStateError
from backroom.job import JobStatus
from backroom.limit import Need
from backroom.ports import Want
from backroom.step import FOREVER, SignalRecord, StepKind, StepRecord
from backroom.storage.postgres.looking import Inspector
from backroom.storage.postgres.outcomes import Outcomes
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import to_id
from backroom.tie import tied
from backroom.transition import Claim, Transition
from tests.contract.flows import Flows
from tests.contract.parts import WEEK, Bench
from tests.postgres.yard import Yard, a_yard
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace


def wait(bench: Bench) -> StepRecord:
    return StepRecord(1, StepKind.SIGNAL, "approved", bench.now, FOREVER)


async def someone_waits(yard: Yard) -> None:
    """Another session is stopped by a lock."""

    async def look() -> bool:
        found = await yard.ask("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(found)

    await eventually_async(look, "a session waits for a lock")


async def goes_on_with_it(bench: Bench, worker: int, job: str) -> None:
    """The job is due, and its signal is there."""
    assert await bench.status(job) is JobStatus.PENDING
    again = await bench.claim_one(worker)
    assert again.id == job
    taken = await bench.storage.take_signal(again.key, again.token, wait(bench), bench.now)
    assert taken is not None
    assert taken.result == '"yes"'


async def test_an_outcome_waits_for_a_signal_that_is_being_sent(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        text: Statements = yard.storages[0]._statements
        job, worker, claim = await bench.running()
        other = await yard.connect()
        sending = other.transaction()
        await sending.start()
        await other.fetch(text["lock_job"], to_id(claim.key))
        said = to_id(claim.key), "a", "approved", '"yes"', bench.now, bench.now, 100
        await other.fetch(text["send_signal"], *said)

        aside = Transition.waiting(claim, bench.now, wait(bench))
        ending = asyncio.create_task(bench.finish(worker, aside))
        await someone_waits(yard)
        await sending.commit()

        assert await ending == [True]
        await goes_on_with_it(bench, worker, job)
        await other.close()


async def test_a_signal_waits_for_the_outcome_that_is_being_written(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        job, worker, claim = await bench.running()
        other = await yard.connect()
        ending = await write_aside(yard, bench, other, claim)

        signal = SignalRecord("a", "approved", '"yes"', bench.now)
        sending = asyncio.create_task(bench.storage.send_signal(job, signal, bench.now))
        await someone_waits(yard)
        await ending.commit()

        await sending
        await goes_on_with_it(bench, worker, job)
        await other.close()


async def write_aside(yard: Yard, bench: Bench, other: asyncpg.Connection, claim: Claim) -> Any:
    """The outcome that puts a job aside, in a transaction that is not committed yet."""
    ending = other.transaction()
    await ending.start()
    aside = Transition.waiting(claim, bench.now, wait(bench))

    async def nothing_follows(*said: Any) -> None:
        raise AssertionError(said)

    outcomes = Outcomes(yard.storages[0]._statements, nothing_follows)
    assert await outcomes.write(other, [aside], bench.now) == set(), "it was refused"
    return ending


async def test_a_step_waits_for_who_takes_its_claim_away(postgres_url: PostgresPlace) -> None:
    """It is kept before that, or not at all."""
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        _, _, claim = await bench.running()
        other = await yard.connect()
        taking = other.transaction()
        await taking.start()
        await other.execute("DELETE FROM background_jobs_held")
        step = StepRecord(1, StepKind.STEP, "pay", bench.now, None, bench.now, "1")
        keeping = asyncio.create_task(bench.storage.keep_step(claim.key, claim.token, step))
        await someone_waits(yard)
        await taking.commit()
        [said] = await asyncio.gather(keeping, return_exceptions=True)
        assert type(said).__name__ == "LeaseLostError"
        assert await bench.storage.steps_of(claim.key) == []
        await other.close()


async def test_what_a_partition_leaves_of_steps_is_swept(postgres_url: PostgresPlace) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        gone, _, claim = await bench.running()
        stays, _, its = await bench.running()
        for one in (claim, its):
            step = StepRecord(1, StepKind.STEP, "pay", bench.now, None, bench.now, "1")
            await bench.storage.keep_step(one.key, one.token, step)
        for job in (gone, stays):
            signal = SignalRecord("a", "approved", "1", bench.now)
            await bench.storage.send_signal(job, signal, bench.now)
        await yard.side.execute("DELETE FROM background_jobs WHERE id = $1", gone)
        text: Statements = yard.storages[0]._statements
        assert await yard.ask(text["sweep"], "ffffffff-ffff-ffff-ffff-ffffffffffff", 100) == 1
        assert await bench.storage.steps_of(claim.key) == []
        assert len((await bench.info(stays)).signals) == 1
        assert len((await bench.info(stays)).steps) == 1
        assert await yard.ask("SELECT count(*) FROM background_jobs_signals") == 1


# -- steps that are forgotten --------------------------------------------------------------------


def paid(bench: Bench) -> StepRecord:
    return StepRecord(1, StepKind.STEP, "pay", bench.now, None, bench.now, "1")


@asynccontextmanager
async def forgetting(yard: Yard, bench: Bench, job: str) -> AsyncIterator[None]:
    """Somebody forgets its steps, in a transaction that is committed at the end."""
    other = await yard.connect()
    async with other.transaction():
        await Inspector(yard.storages[0]._statements, other).retry(job, bench.now, 1)
        yield
    await other.close()


class Before:
    """A connection on which something happens before one statement."""

    def __init__(
        self, link: asyncpg.Connection, statement: str, act: Callable[[], Awaitable[None]]
    ) -> None:
        self._link = link
        self._statement = statement
        self._act = act
        self.execute = link.execute

    async def fetch(self, statement: str, *arguments: Any) -> Any:
        if statement == self._statement:
            await self._act()
        return await self._link.fetch(statement, *arguments)


async def begins_anew(bench: Bench, worker: int, job: str) -> None:
    again = await bench.claim_one(worker, queues=None)
    assert again.id == job
    assert await bench.storage.steps_of(again.key) == []


async def test_no_claim_takes_a_job_whose_steps_are_just_forgotten(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        job, worker, claim = await bench.running()
        await bench.storage.keep_step(claim.key, claim.token, paid(bench))
        await bench.finish(worker, bench.retried(claim))
        async with forgetting(yard, bench, job):
            assert await bench.claim(worker) == []
        await begins_anew(bench, worker, job)


async def test_no_step_is_forgotten_of_a_job_that_is_just_claimed(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        job, worker, claim = await bench.running()
        await bench.storage.keep_step(claim.key, claim.token, paid(bench))
        await bench.finish(worker, bench.retried(claim))
        other = await yard.connect()
        claiming = other.transaction()
        await claiming.start()
        want = Want(None, (), (100, 100, 100, 100))
        claimed = await yard.storages[0]._claiming._claim(other, worker, want, bench.now)
        assert [one.id for one in claimed.claims] == [job]

        retrying = asyncio.create_task(bench.storage.retry(job, bench.now, 1))
        await someone_waits(yard)
        await claiming.commit()

        with pytest.raises(JobStateError, match="is active"):
            await retrying
        assert await bench.storage.steps_of(claim.key) == [paid(bench)]
        await other.close()


async def test_steps_are_forgotten_of_a_job_that_a_signal_has_just_woken(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        text: Statements = yard.storages[0]._statements
        job, worker, claim = await bench.running()
        await bench.finish(worker, Transition.waiting(claim, bench.now, wait(bench)))
        other = await yard.connect()
        sending = other.transaction()
        await sending.start()
        await other.fetch(text["lock_job"], to_id(claim.key))
        said = to_id(claim.key), "a", "approved", '"yes"', bench.now, bench.now, 100
        await other.fetch(text["send_signal"], *said)

        retrying = asyncio.create_task(bench.storage.retry(job, bench.now, 1))
        await someone_waits(yard)
        await sending.commit()

        await retrying
        assert await bench.storage.steps_of(claim.key) == []
        await goes_on_with_it(bench, worker, job)
        await other.close()


async def test_no_line_lets_go_of_a_job_whose_steps_are_just_forgotten(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        options = tied(None, limits=[Need("tenant", "a", 1, 1)])
        job, worker, claim = await bench.running(options=options)
        await bench.storage.keep_step(claim.key, claim.token, paid(bench))
        await bench.finish(worker, bench.retried(claim, 60))
        _, its, first = await bench.running(options=options)
        bench.clock.advance(60)
        for one in (worker, its):
            await bench.storage.extend(one)
        assert await bench.claim(worker) == []
        assert await bench.status(job) is JobStatus.BLOCKED
        async with forgetting(yard, bench, job):
            await bench.finish(its, bench.completed(first))
            assert await bench.claim(worker) == []
        await bench.storage.free_up(bench.now)
        await begins_anew(bench, worker, job)


async def test_no_workflow_lets_go_of_a_job_whose_steps_are_just_forgotten(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        flows, worker = Flows(bench), await bench.enlist()
        await flows.make("a b", "a>b")
        await flows.run(worker)
        claim = (await flows.claim(worker))["b"]
        await bench.begin(worker, claim)
        await bench.storage.keep_step(claim.key, claim.token, paid(bench))
        await flows.end(worker, claim, "failed")
        for name in "ab":
            await bench.storage.retry(flows.ids[name], bench.now)
        assert await flows.statuses() == "a:pending b:blocked"
        first = (await flows.claim(worker))["a"]
        endings: list[asyncio.Task[None]] = []

        async def end_first() -> None:
            endings.append(asyncio.create_task(flows.end(worker, first)))
            waiting = asyncio.create_task(someone_waits(yard))
            await asyncio.wait([*endings, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            assert await flows.claim(worker) == {}

        text: Statements = yard.storages[0]._statements
        other = await yard.connect()
        async with other.transaction():
            link = Before(other, text["lock_job"], end_first)
            await Inspector(text, link).retry(flows.ids["b"], bench.now, 1)
        await asyncio.gather(*endings)
        await begins_anew(bench, worker, flows.ids["b"])
        await other.close()
