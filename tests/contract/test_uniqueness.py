"""How long a unique key is held, and what becomes of a job that finds it held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from backroom.errors import DuplicateJobError, JobStateError
from backroom.inspecting import Filter
from backroom.job import Hold, JobRecord, JobStatus
from backroom.transition import Transition
from tests.contract.parts import DAY, WEEK, Bench, Place

HOUR = 3600.0
HOWS = ("existing", "raise", "replace")


def keyed(bench: Bench, until: str = "end", how: str = "existing", **fields: Any) -> JobRecord:
    """A job with a key that it holds until its "end", its "start", or for an hour ("period")."""
    moment = {"end": None, "start": 0, "period": bench.later(HOUR)}[until]
    key = fields.pop("unique_key", "k")
    said = {"options": f'{{"unique_key":"{key}"}}', "unique_key": key, **fields}
    return bench.record(hold=Hold(moment, how), **said)  # type: ignore[arg-type]


async def add(bench: Bench, until: str = "end", how: str = "existing", **fields: Any) -> str:
    [inserted] = await bench.insert([keyed(bench, until, how, **fields)])
    assert inserted.created
    return inserted.id


# -- every way to hold a key, every conflict, every state of who has it -------------------------


class Stage:
    """Brings jobs to the states that a job may be in."""

    def __init__(self, bench: Bench, worker: int, until: str) -> None:
        self.bench = bench
        self.worker = worker
        self.until = until

    async def scheduled(self) -> str:
        return await self._job(delay=60)

    async def pending(self) -> str:
        return await self._job()

    async def parked(self) -> str:
        return await self._ended(Transition.parked)

    async def released(self) -> str:
        return await self._ended(Transition.released)

    async def claimed(self) -> str:
        return (await self._claim()).id

    async def running(self) -> str:
        claim = await self._claim()
        await self.bench.begin(self.worker, claim)
        return claim.id

    async def retried(self) -> str:
        return await self._ended(lambda claim: self.bench.retried(claim, delay=60))

    async def snoozed(self) -> str:
        return await self._ended(self.bench.snoozed)

    async def completed(self) -> str:
        return await self._ended(self.bench.completed)

    async def failed(self) -> str:
        return await self._ended(self.bench.failed)

    async def cancelled(self) -> str:
        job = await self._job()
        await self.bench.storage.cancel(job, self.bench.now)
        return job

    async def expired(self) -> str:
        job = await self._job(expires_at=self.bench.now)
        await self.bench.prune()
        return job

    async def deleted(self) -> str:
        job = await self._job()
        await self.bench.storage.delete(job)
        return job

    async def _job(self, **fields: Any) -> str:
        return await add(self.bench, self.until, **{"unique_key": "k", **fields})

    async def _claim(self) -> Any:
        job = await self._job()
        claim = await self.bench.claim_one(self.worker)
        assert claim.id == job
        return claim

    async def _ended(self, how: Callable[[Any], Transition]) -> str:
        claim = await self._claim()
        await self.bench.begin(self.worker, claim)
        await self.bench.finish(self.worker, how(claim))
        return str(claim.id)


FRESH = {"scheduled", "pending", "parked", "released"}
"""They wait, and have not started."""
BEGUN = {"claimed", "running", "retried", "snoozed"}
ENDED = {"completed", "failed", "cancelled", "expired"}
STATES = [*sorted(FRESH), *sorted(BEGUN), *sorted(ENDED), "deleted"]
HELD = {"end": FRESH | BEGUN, "start": FRESH, "period": FRESH | BEGUN | ENDED}
NEW = {"data": '{"new":1}', "queue": "other", "priority": 0, "run_at": 1234, "expires_at": 10**18}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("until", list(HELD))
async def test_a_job_that_finds_its_key_held(bench: Bench, until: str, state: str) -> None:
    worker = await bench.enlist()
    reach: Callable[[], Awaitable[str]] = getattr(Stage(bench, worker, until), state)
    holder = await reach()
    before = await bench.storage.find(holder, bench.now)
    for how in HOWS:
        record = keyed(bench, until, how, **NEW)
        in_a_lane = (until, state) == ("start", "claimed")  # Where nothing can be replaced.
        if state not in HELD[until] and (how == "replace" or not in_a_lane):
            [made] = await bench.insert([record])
            assert (made.id, made.created) == (record.id, True)
            assert await bench.storage.find(holder, bench.now) == before
            await bench.storage.delete(record.id)
            if in_a_lane:
                return
            continue
        if how == "raise":
            with pytest.raises(DuplicateJobError, match=rf"job {holder} holds .* 'k'") as refused:
                await bench.insert([record])
            assert (refused.value.job_id, refused.value.index) == (holder, None)
        else:
            [answer] = await bench.insert([record])
            assert (answer.id, answer.created, answer.claim) == (holder, False, None)
        assert await bench.storage.find(record.id, bench.now) is None
        info = await bench.info(holder)
        if how == "replace" and state in FRESH:
            assert (info.data, info.queue, info.priority) == ({"new": 1}, "other", "critical")
            assert (info.status, info.parked) == (JobStatus.PENDING, False)
            assert (info.created_at, info.unique_key) == (before and before.created_at, "k")
            before = info
        assert info == before


@pytest.mark.parametrize("state", ["pending", "parked"])
async def test_what_replaces_a_job_brings_the_version_of_its_data(bench: Bench, state: str) -> None:
    worker = await bench.enlist()
    holder = await getattr(Stage(bench, worker, "start"), state)()
    options = '{"retries":7,"version":2,"unique_key":"k"}'
    [answer] = await bench.insert([keyed(bench, "start", "replace", options=options)])
    assert answer.id == holder
    assert (info := await bench.info(holder)).version == 2
    assert (info.parked, info.max_attempts, info.unique_key) == (False, 8, "k")
    claim = await bench.claim_one(worker)
    assert (claim.id, claim.options) == (holder, options)
    await bench.finish(worker, Transition.parked(claim))
    assert await bench.claim(worker, types={"SEND_EMAIL": 1}) == []
    assert (await bench.claim_one(worker, types={"SEND_EMAIL": 2})).id == holder


# -- how long -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("state", ["scheduled", "running", "completed"])
async def test_a_period_ends_to_the_microsecond_whatever_became_of_the_job(
    bench: Bench, state: str, how: str
) -> None:
    holder = await getattr(Stage(bench, await bench.enlist(lease=DAY), "period"), state)()
    before = await bench.info(holder)
    bench.clock.advance(HOUR - 0.000001)
    assert (await bench.insert([keyed(bench, "period")]))[0].id == holder
    bench.clock.advance(0.000001)

    second = await add(bench, "period", how, delay=60)

    assert (await bench.insert([keyed(bench, "period")]))[0].id == second
    after = await bench.info(holder)
    assert (after.data, after.run_at) == (before.data, before.run_at)


async def test_who_took_a_key_over_keeps_it_when_the_one_before_ends(bench: Bench) -> None:
    worker = await bench.enlist()
    await add(bench, "start")
    first = await bench.claim_one(worker)
    await bench.begin(worker, first)
    second = await add(bench, "start", delay=60)
    await bench.finish(worker, bench.completed(first))
    assert (await bench.insert([keyed(bench, "start")]))[0].id == second
    assert (await bench.insert([bench.record(unique_key="k")]))[0].id == second


async def test_who_took_a_key_over_keeps_it_when_the_one_before_waits_again(bench: Bench) -> None:
    worker = await bench.enlist()
    first = await add(bench, "start")
    await bench.claim_one(worker)
    second = await add(bench, "start", "replace", delay=60)
    assert await bench.storage.give_back(worker, []) == 1
    assert (await bench.insert([keyed(bench, "start")]))[0].id == second
    await bench.storage.delete(second)
    assert (await bench.insert([keyed(bench, "start")]))[0].id not in (first, second)


async def test_a_job_that_comes_back_untouched_holds_its_key_still(bench: Bench) -> None:
    first = await add(bench, "start")
    await bench.claim_one(await bench.enlist())
    await bench.end_leases()
    assert (await bench.insert([keyed(bench, "start")]))[0].id == first


async def test_a_key_is_of_its_type_however_it_is_held(bench: Bench) -> None:
    for until in HELD:
        await add(bench, until, unique_key=until)
        await add(bench, until, unique_key=until, type="GENERATE_REPORT")


@pytest.mark.parametrize("until", ["start", "period"])
async def test_a_plain_key_is_the_same_key(bench: Bench, until: str) -> None:
    plain = await bench.add(unique_key="k", delay=60)
    assert (await bench.insert([keyed(bench, until)]))[0].id == plain
    await bench.storage.cancel(plain, bench.now)
    other = await add(bench, until, delay=60)
    assert (await bench.insert([bench.record(unique_key="k")]))[0].id == other


@pytest.mark.parametrize("worker_too", [False, True])
async def test_plain_keys_take_over_what_is_held_no_more(bench: Bench, worker_too: bool) -> None:
    worker = await bench.enlist(lease=DAY)
    first = await add(bench, "start", unique_key="a")
    second = await add(bench, "period", unique_key="b")
    claims = await bench.claim(worker, starts=2)
    assert {claim.id for claim in claims} == {first, second}
    bench.clock.advance(HOUR)
    records = [bench.record(unique_key=key) for key in "abab"]

    answers = await bench.insert(records, worker=worker if worker_too else None)

    a, b = records[0].id, records[1].id
    assert [answer.id for answer in answers] == [a, b, a, b]
    assert [answer.created for answer in answers] == [True, True, False, False]
    assert [answer.claim is not None for answer in answers[:2]] == [worker_too] * 2
    [alone] = await bench.insert([bench.record(unique_key="a")])
    assert alone.id == a


# -- retention, deletion, upkeep ----------------------------------------------------------------


async def test_a_period_outlives_retention_and_ends_when_its_job_is_deleted(place: Place) -> None:
    bench = await place.open(retention=60)
    holder = await Stage(bench, await bench.enlist(), "period").completed()
    bench.clock.advance(120)
    await bench.prune_all()
    assert await bench.storage.find(holder, bench.now) is None
    assert (await bench.insert([keyed(bench, "period")]))[0].id == holder
    with pytest.raises(DuplicateJobError):
        await bench.insert([keyed(bench, "period", "raise")])
    assert (await bench.insert([keyed(bench, "period", "replace")]))[0].id == holder
    bench.clock.advance(HOUR)
    second = await add(bench, "period")
    await bench.storage.delete(second)
    third = await add(bench, "period")
    await bench.storage.cancel(third, bench.now)
    await bench.storage.delete(Filter(status=JobStatus.CANCELLED))
    await add(bench, "period")


@pytest.mark.parametrize("limit", [1, 100])
async def test_upkeep_lets_go_of_no_key_that_is_held(bench: Bench, limit: int) -> None:
    stage = {until: Stage(bench, await bench.enlist(lease=DAY), until) for until in HELD}
    waiting = [await add(bench, "start", unique_key=f"w{n}", delay=WEEK) for n in range(5)]
    late = [await add(bench, "period", unique_key=f"p{n}", delay=WEEK) for n in range(5)]
    back = await stage["start"].cancelled()
    bench.clock.advance(HOUR / 2)
    await bench.prune_all(limit)
    for n in range(5):
        assert (await bench.insert([keyed(bench, "start", unique_key=f"w{n}")]))[0].id == waiting[n]
        assert (await bench.insert([keyed(bench, "start", unique_key=f"p{n}")]))[0].id == late[n]
    await bench.storage.retry(back, bench.now)  # It has not started yet, and holds its key again.
    assert (await bench.insert([keyed(bench, "start")]))[0].id == back
    bench.clock.advance(HOUR / 2)
    await bench.prune_all(limit)
    for n in range(5):
        await add(bench, "start", unique_key=f"p{n}")


# -- a reply that was lost ----------------------------------------------------------------------


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("until", list(HELD))
async def test_a_call_that_is_asked_again_gets_the_same_answer(
    bench: Bench, until: str, how: str
) -> None:
    new = keyed(bench, until, how)
    assert [(one.id, one.created) for one in await bench.insert([new])] == [(new.id, True)]
    assert [(one.id, one.created) for one in await bench.insert([new])] == [(new.id, False)]
    if how == "raise":
        return
    second = keyed(bench, until, how, data='{"second":1}')
    for _ in range(2):
        [answer] = await bench.insert([second])
        assert (answer.id, answer.created) == (new.id, False)
    assert (await bench.info(new.id)).data == ({"second": 1} if how == "replace" else {})


@pytest.mark.parametrize("until", ["start", "period"])
async def test_what_was_replaced_is_not_made_once_more_by_a_call_that_is_asked_again(
    bench: Bench, until: str
) -> None:
    holder = await add(bench, until)
    late = keyed(bench, until, "replace", data='{"late":1}')
    await bench.insert([late])
    worker = await bench.enlist()
    claim = await bench.claim_one(worker)
    assert (claim.id, claim.data) == (holder, '{"late":1}')
    assert (await bench.insert([late]))[0].id == holder
    await bench.finish(worker, bench.completed(claim))
    assert (await bench.insert([late]))[0].id == holder
    assert (await bench.page())[0] == [holder]


@pytest.mark.parametrize("until", list(HELD))
async def test_a_job_that_ended_answers_for_itself_when_it_is_inserted_again(
    bench: Bench, until: str
) -> None:
    record = keyed(bench, until, "raise")
    await bench.insert([record])
    worker = await bench.enlist()
    await bench.finish(worker, bench.completed(await bench.claim_one(worker)))
    assert (await bench.insert([record]))[0].id == record.id
    if until != "period":
        await add(bench, until)
    [again] = await bench.insert([record])
    assert (again.id, again.created) == (record.id, False)


# -- in one batch -------------------------------------------------------------------------------


@pytest.mark.parametrize("until", list(HELD))
async def test_of_one_key_several_times_in_a_batch_one_job_is_made(
    bench: Bench, until: str
) -> None:
    first = keyed(bench, until)
    replacing = [keyed(bench, until, "replace", data=f'{{"n":{n}}}', delay=n) for n in range(3)]
    answers = await bench.insert([first, *replacing, bench.record(), keyed(bench, until)])
    assert [one.id for one in answers[:4]] == [first.id] * 4
    assert [one.created for one in answers] == [True, False, False, False, True, False]
    info = await bench.info(first.id)
    assert (info.data, info.status) == ({"n": 2}, JobStatus.SCHEDULED)


async def test_calls_of_every_kind_at_once_are_each_answered_as_if_alone(bench: Bench) -> None:
    """They may travel together."""
    plain, period = await add(bench, unique_key="plain"), await add(bench, "period")
    calls = [
        [bench.record(), keyed(bench, unique_key="a"), keyed(bench, "start", unique_key="b")],
        [bench.record(unique_key="plain")],
        [bench.record(unique_key="c"), bench.record(unique_key="plain"), bench.record()],
        [bench.record(unique_key="d"), keyed(bench, "start", "replace", data='{"new":1}')],
        [bench.record(unique_key="e"), keyed(bench, "start", "raise"), bench.record()],
        [bench.record(unique_key="c"), bench.record(unique_key="e")],
    ]
    answers = await asyncio.gather(*map(bench.insert, calls), return_exceptions=True)

    assert isinstance(refused := answers.pop(4), DuplicateJobError)
    assert (refused.job_id, refused.index) == (period, 1)
    [every, met, some, replacing, last] = [
        [(one.id, one.created) for one in answer] for answer in answers if isinstance(answer, list)
    ]
    assert every == [(job.id, True) for job in calls[0]]
    assert met == [(plain, False)]
    assert some[1:] == [(plain, False), (calls[2][2].id, True)]
    assert replacing == [(calls[3][0].id, True), (period, False)]
    assert (await bench.info(period)).data == {"new": 1}
    # Of the two that want one key, one has it; the refused one has none.
    assert {some[0], last[0]} in [{(id_, True), (id_, False)} for id_, _ in (some[0],)]
    assert last[1] == (calls[5][1].id, True)
    assert len((await bench.page())[0]) == 2 + 3 + 2 + 1 + 1


@pytest.mark.parametrize("start", [False, True])
async def test_a_job_in_a_lane_holds_its_key_and_one_that_started_there_does_not(
    bench: Bench, start: bool
) -> None:
    worker = await bench.enlist()
    first, second, third = (keyed(bench, "start") for _ in range(3))
    answers = await bench.insert([first], worker=worker, start=start)
    answers += await bench.insert([second, third], worker=worker, start=False)
    holder = second if start else first
    assert [one.id for one in answers] == [first.id, holder.id, holder.id]
    assert [one.claim is not None for one in answers] == [True, start, False]


@pytest.mark.parametrize("queue", ["default", "never"])
@pytest.mark.parametrize("until", list(HELD))
async def test_who_is_told_that_a_key_is_held_leaves_no_trace(
    bench: Bench, until: str, queue: str
) -> None:
    holder = await add(bench, until)
    waiting = await add(bench, until, unique_key="other", data='{"old":1}', delay=60)
    before = await bench.info(waiting)
    worker = await bench.enlist()

    with pytest.raises(DuplicateJobError) as refused:
        await bench.insert(
            [
                bench.record(queue=queue),
                keyed(bench, until, "existing", unique_key="fresh"),
                keyed(bench, until, "replace", unique_key="other", data='{"new":1}'),
                keyed(bench, until, "raise"),
                bench.record(),
            ],
            worker=worker,
        )

    assert (refused.value.job_id, refused.value.index) == (holder, 3)
    assert sorted((await bench.page())[0]) == sorted([holder, waiting])
    assert await bench.info(waiting) == before
    assert "never" not in await bench.storage.queues()
    assert [claim.id for claim in await bench.claim(worker)] == [holder]
    await add(bench, until, unique_key="fresh")


async def test_two_of_one_batch_that_may_not_be_the_same_are_refused(bench: Bench) -> None:
    first, second = keyed(bench, how="raise"), keyed(bench, how="raise")
    with pytest.raises(DuplicateJobError) as refused:
        await bench.insert([first, second])
    assert (refused.value.job_id, refused.value.index) == (first.id, 1)
    assert (await bench.page())[0] == []
    await bench.insert([second])


# -- many at once -------------------------------------------------------------------------------


@pytest.mark.parametrize("until", list(HELD))
async def test_of_many_who_may_not_be_the_same_one_is_made(place: Place, until: str) -> None:
    benches = await place.benches(3)
    workers = [await bench.enlist() for bench in benches]
    calls = [
        bench.insert(
            [bench.record(), keyed(bench, until, "raise")], worker=worker if direct else None
        )
        for direct in (False, True, False, True)
        for bench, worker in zip(benches, workers, strict=True)
    ]
    others = [bench.insert([bench.record()]) for bench in benches for _ in range(3)]

    answers = await asyncio.gather(*calls, *others, return_exceptions=True)

    made = [one for one in answers[: len(calls)] if isinstance(one, list)]
    refused = [one for one in answers[: len(calls)] if not isinstance(one, list)]
    [[_, winner]] = made
    assert winner.created
    assert len(refused) == len(calls) - 1
    for error in refused:
        assert isinstance(error, DuplicateJobError), error
        assert (error.job_id, error.index) == (winner.id, 1)
    assert all(isinstance(one, list) for one in answers[len(calls) :])
    assert len((await benches[0].page())[0]) == 2 + len(others)


async def test_of_many_who_replace_one_job_the_data_of_one_is_kept(place: Place) -> None:
    benches = await place.benches(3)
    calls = [
        bench.insert([keyed(bench, "start", "replace", data=f'{{"n":{n}}}', delay=60 + n)])
        for n in range(8)
        for bench in benches
    ]
    answers = await asyncio.gather(*calls)
    assert len({one.id for [one] in answers}) == 1
    assert sum(one.created for [one] in answers) == 1
    [job] = (await benches[0].page())[0]
    info = await benches[0].info(job)
    assert info.status is JobStatus.SCHEDULED
    assert (info.run_at - info.created_at).total_seconds() == 60 + info.data["n"]


async def test_what_replaces_a_job_while_it_is_claimed_is_in_it_or_in_the_next_one(
    place: Place,
) -> None:
    benches = await place.benches(3)
    worker = await benches[0].enlist()
    seen: list[str] = []

    async def replace(bench: Bench, name: str) -> None:
        for n in range(15):
            data = f'{{"{name}":{n}}}'
            [answer] = await bench.insert([keyed(bench, "start", "replace", data=data)])
            assert await bench.storage.find(answer.id, bench.now) is not None

    async def claim(bench: Bench) -> None:
        while len(seen) < 1000:
            claims = await bench.claim(worker)
            seen.extend(claim.data for claim in claims)
            await bench.finish(worker, *map(bench.completed, claims))
            await asyncio.sleep(0)

    claiming = asyncio.ensure_future(claim(benches[0]))
    await asyncio.gather(*[replace(bench, f"b{at}") for at, bench in enumerate(benches[1:])])
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)
    bench = benches[0]
    waiting, _ = await bench.storage.page(Filter(), bench.now, 100, None)
    live = [job for job in waiting if not job.status.terminal]
    assert len([job for job in live if job.status is JobStatus.PENDING]) <= 1
    last = {'{"b0":14}', '{"b1":14}'}
    ran = {f'{{"{name}":{n}}}' for job in waiting for name, n in job.data.items()}
    assert last & ran, "what was said last is in no job"


# -- coming back to life ------------------------------------------------------------------------


@pytest.mark.parametrize("until", ["start", "period"])
async def test_a_job_with_a_plain_key_is_not_retried_while_another_one_holds_it(
    bench: Bench, until: str
) -> None:
    ended = await Stage(bench, await bench.enlist(lease=DAY), "end").completed()
    holder = await add(bench, until, delay=60)
    with pytest.raises(JobStateError, match="holds its unique key"):
        await bench.storage.retry(ended, bench.now)
    assert await bench.storage.retry(Filter(status=JobStatus.COMPLETED), bench.now) == 0
    if until == "start":
        bench.clock.advance(60)
        claim = await bench.claim_one(other := await bench.enlist(lease=DAY))
        with pytest.raises(JobStateError, match="holds its unique key"):
            await bench.storage.retry(ended, bench.now)
        await bench.begin(other, claim)
    bench.clock.advance(HOUR)
    await bench.storage.retry(ended, bench.now)
    assert (await bench.insert([keyed(bench, until)]))[0].id == ended
    assert await bench.status(holder) in (JobStatus.ACTIVE, JobStatus.PENDING)


@pytest.mark.parametrize("until", ["start", "period"])
async def test_a_job_that_held_its_key_not_until_its_end_is_retried_beside_who_has_it(
    bench: Bench, until: str
) -> None:
    worker = await bench.enlist(lease=DAY)
    ended = await Stage(bench, worker, until).completed()
    bench.clock.advance(HOUR)
    holder = await add(bench, until, delay=60)
    await bench.storage.retry(ended, bench.now)
    assert await bench.status(ended) is JobStatus.PENDING
    assert (await bench.insert([keyed(bench, until)]))[0].id == holder
