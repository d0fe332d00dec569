"""A signal, and the outcome that puts its job aside, in two transactions at once: each order."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from backroom.job import JobStatus
from backroom.step import FOREVER, SignalRecord, StepKind, StepRecord
from backroom.storage.postgres.outcomes import Outcomes
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import to_id
from backroom.transition import Claim, Transition
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
    outcomes = Outcomes(yard.storages[0]._statements)
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
