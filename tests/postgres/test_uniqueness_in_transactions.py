"""Unique jobs that are scheduled within a transaction of the application's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backroom import DuplicateJobError, Job, JobRequest, JobService, JobStatus, Unique
from tests.postgres.clients import FEW, Client, orders
from tests.postgres.parts import beside
from tests.servers.fixtures import PostgresPlace

REFUSING = Unique(key="ada", on_conflict="raise")
WAITS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
"""How many wait for what somebody else holds."""
REPLACING = Unique(key="ada", until="start", on_conflict="replace")


async def test_a_transaction_goes_on_without_what_was_refused(
    place: PostgresPlace, service: JobService, client: Client
) -> None:
    held = await service.schedule("MAIL", {}, unique=REFUSING)
    await client.begin()
    await client.order("tea")
    kept = await service.schedule("MAIL", {"n": 1}, connection=client.connection)
    with pytest.raises(DuplicateJobError) as refused:
        await service.schedule("MAIL", {"n": 2}, unique=REFUSING, connection=client.connection)
    assert (refused.value.job_id, refused.value.index) == (held, None)
    with pytest.raises(DuplicateJobError, match="job 1 of schedule_many: MAIL: job") as refused:
        await service.schedule_many(
            [
                JobRequest("MAIL", {"n": 3}, unique_key="other"),
                JobRequest("MAIL", {"n": 4}, unique=REFUSING),
            ],
            connection=client.connection,
        )
    assert (refused.value.job_id, refused.value.index) == (held, 1)
    await client.order("milk")
    await client.commit()
    assert sorted(await orders(place)) == ["milk", "tea"]
    assert sorted(job.id for job in await service.get_jobs()) == sorted([held, kept])
    await service.schedule("MAIL", {}, unique=Unique(key="other", on_conflict="raise"))


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_what_replaces_a_job_does_so_with_the_commit(
    service: JobService, client: Client, end: str
) -> None:
    first = await service.schedule("MAIL", {"n": 1}, unique=REPLACING, delay=60)
    await client.begin()
    again = await service.schedule(
        "MAIL", {"n": 2}, unique=REPLACING, delay=5, priority="high", connection=client.connection
    )
    assert again == first
    assert (await service.get_job(first)).data == {"n": 1}
    await getattr(client, end)()
    info = await service.get_job(first)
    assert (info.data, info.priority) == (
        ({"n": 2}, "high") if end == "commit" else ({"n": 1}, "normal")
    )
    assert info.status is JobStatus.SCHEDULED


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("how", ["existing", "replace", "raise"])
@pytest.mark.parametrize("held", [{}, {"until": "start"}, {"period": 3600}], ids=str)
async def test_a_transaction_finds_its_own_keys_held(
    service: JobService, place: PostgresPlace, held: dict[str, Any], how: Any, end: str
) -> None:
    first, again = Unique(key="ada", **held), Unique(key="ada", on_conflict=how, **held)
    async with FEW["asyncpg"](place) as client:
        await client.begin()
        holder = await service.schedule(
            "MAIL", {"n": 1}, unique=first, delay=60, connection=client.connection
        )
        many = service.schedule_many(
            [
                JobRequest("MAIL", {"n": 2}, unique=Unique(key="bob"), delay=60),
                JobRequest("MAIL", {"n": 3}, unique=again, delay=60),
                JobRequest("MAIL", {"n": 4}, unique=again, delay=60),
            ],
            connection=client.connection,
        )
        if how == "raise":
            with pytest.raises(DuplicateJobError) as refused:
                await many
            assert (refused.value.job_id, refused.value.index) == (holder, 1)
        else:
            assert (await many)[1:] == [holder, holder]
        await getattr(client, end)()
    kept = sorted(job.data["n"] for job in await service.get_jobs())
    if end == "rollback":
        assert kept == []
        assert await service.schedule("MAIL", {}, unique=first) != holder
    else:
        assert kept == {"existing": [1, 2], "replace": [2, 4], "raise": [1]}[how]
        assert await service.schedule("MAIL", {}, unique=first) == holder


async def test_who_waits_is_not_claimed_before_the_transaction_that_found_it_has_ended(
    service: JobService, speaker: Client
) -> None:
    """What the application changes in it is there when that job runs."""
    unique = Unique(key="ada", until="start")
    done = asyncio.Event()
    other = asyncio.Event()
    await service.pause_queue("mail")
    first = await service.schedule("MAIL", {}, unique=unique, queue="mail")
    await speaker.begin()
    same = await service.schedule(
        "MAIL", {}, unique=unique, queue="mail", connection=speaker.connection
    )
    assert same == first

    @service.handler("MAIL")
    async def mail(job: Job[dict[str, int]]) -> None:
        (done if job.id == first else other).set()

    await service.resume_queue("mail")
    await service.start()
    await service.schedule("MAIL", {}, queue="mail", priority="low")
    await asyncio.wait_for(other.wait(), 10)  # The worker has passed over the first one.
    assert not done.is_set()
    await speaker.commit()
    await service.resume_queue("mail")  # Somebody says that there is something to do.
    await asyncio.wait_for(done.wait(), 10)


async def test_who_ends_a_job_does_not_wait_for_a_transaction_that_takes_over_its_key(
    service: JobService, speaker: Client
) -> None:
    unique = Unique(key="ada", until="start")
    go_on = asyncio.Event()

    @service.handler("MAIL", retries=1, retry_delay=0)
    async def mail(job: Job[dict[str, int]]) -> None:
        if job.data.get("first"):
            await go_on.wait()
            if job.attempt == 1:
                raise ConnectionError

    await service.start()
    first = await service.schedule("MAIL", {"first": 1}, unique=unique)
    while (await service.get_job(first)).attempt == 0:
        await asyncio.sleep(0.005)
    await speaker.begin()
    second = await service.schedule("MAIL", {}, unique=unique, connection=speaker.connection)
    assert second != first
    go_on.set()
    await service.result(first, timeout=10)  # It failed, waited, ran again and ended.
    await speaker.commit()
    assert await service.schedule("MAIL", {}, unique=unique) != first


@pytest.mark.parametrize("how", ["existing", "replace", "raise"])
async def test_a_call_whose_key_is_taken_while_it_waits_is_kept_whole_or_not_at_all(
    service: JobService, place: PostgresPlace, how: Any
) -> None:
    """When it looked, the key was nobody's."""
    unique = Unique(key="ada", until="start", on_conflict=how)
    known = await service.schedule("MAIL", {"n": 0}, delay=60)
    async with FEW["asyncpg"](place) as client, beside(place) as watcher:
        await client.begin()
        holder = await service.schedule(
            "MAIL", {"n": 1}, unique=unique, delay=60, connection=client.connection
        )
        requests = [
            JobRequest("MAIL", {"n": 2}, unique_key="bob", delay=60),
            JobRequest("MAIL", {"n": 3}, unique=unique, delay=60),
            JobRequest("MAIL", {"n": 4}, delay=60),
        ]
        many = asyncio.ensure_future(service.schedule_many(requests))
        while not await watcher.fetchval(WAITS):
            await asyncio.sleep(0.002)
        await client.commit()
        answer = (await asyncio.gather(many, return_exceptions=True))[0]
    jobs = {job.data["n"]: job.id for job in await service.get_jobs()}
    if how == "raise":
        assert isinstance(answer, DuplicateJobError)
        assert (answer.job_id, answer.index) == (holder, 1)
        assert jobs == {0: known, 1: holder}
    else:
        assert isinstance(answer, list)
        assert answer[1] == holder
        n = 3 if how == "replace" else 1
        assert jobs == {0: known, n: holder, 2: answer[0], 4: answer[2]}


@pytest.mark.parametrize("how", ["existing", "raise"])
async def test_a_job_that_waits_for_others_does_not_answer_for_one_of_a_transaction(
    service: JobService, client: Client, how: Any
) -> None:
    """With a key that it holds until it starts: nobody keeps it from starting before the end of
    that, and then it would not see what is changed there. Who is to be told of it, is."""
    service.declare("FIRST")
    refusing = Unique(key="ada", until="start", on_conflict="raise")
    async with service.workflow("mails") as flow:
        mail = flow.add("MAIL", {"n": 1}, after=flow.add("FIRST", delay=60), unique=refusing)
    unique = Unique(key="ada", until="start", on_conflict=how)
    await client.begin()
    if how == "raise":
        with pytest.raises(DuplicateJobError) as refused:
            await service.schedule("MAIL", {"n": 2}, unique=unique, connection=client.connection)
        assert refused.value.job_id == mail.id
    else:
        made = await service.schedule("MAIL", {"n": 2}, unique=unique, connection=client.connection)
        assert made != mail.id
    await client.commit()
    assert (await service.get_job(mail.id)).status is JobStatus.BLOCKED
    kept = sorted(job.data["n"] for job in await service.get_jobs(type="MAIL"))
    assert kept == ([1] if how == "raise" else [1, 2])


async def test_who_adds_jobs_whose_key_a_transaction_has_holds_up_no_other_job_of_its_workflow(
    service: JobService, speaker: Client, place: PostgresPlace
) -> None:
    go_on = asyncio.Event()

    @service.handler("ADD")
    async def add(job: Job[dict[str, int]]) -> None:
        async with service.extend_workflow(job) as flow:
            flow.add("MAIL", {}, unique=REFUSING)

    @service.handler("BESIDE")
    async def beside_it(job: Job[dict[str, int]]) -> None:
        await go_on.wait()

    await speaker.begin()
    await service.schedule("MAIL", {}, unique=REFUSING, connection=speaker.connection)
    await service.start()
    async with service.workflow("mails") as flow:
        adding, other = flow.add("ADD"), flow.add("BESIDE")
    async with beside(place) as watcher:
        while not await watcher.fetchval(WAITS):
            await asyncio.sleep(0.002)
    go_on.set()
    await service.result(other.id, timeout=10)
    assert (await service.get_job(adding.id)).status is JobStatus.ACTIVE
    await speaker.rollback()
    await service.result(adding.id, timeout=10)
    assert (await service.get_workflow(flow.id)).total == 3
