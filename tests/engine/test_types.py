"""Job types across processes and versions: unknown here, declared otherwise there."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from backroom import (
    Job,
    JobFailedError,
    JobId,
    JobRequest,
    JobService,
    JobStatus,
    JobType,
    JobTypeError,
    exponential,
    fixed,
)
from tests.engine.world import World


@dataclass
class Mail:
    recipient: str


@dataclass
class NewerMail:
    recipient: str
    subject: str


@dataclass
class NumberedMail:
    recipient: int


async def send(job: Job[Any]) -> str:
    return repr(job.data)


async def test_a_type_nobody_here_knows_stays_pending_and_is_shown_as_parked(
    world: World,
) -> None:
    worker = world.service()
    world.viewer.declare("NEW")
    async with worker:
        ids = await world.viewer.schedule_many([JobRequest("NEW") for _ in range(30)])
        await asyncio.sleep(30)
        info = await world.look(ids[0])
        assert (info.status, info.parked, info.attempt) == (JobStatus.PENDING, True, 0)
        stats = await world.viewer.get_stats()
        assert stats.unknown_types == {"NEW": 30}
        assert stats.by_status["pending"] == 30


async def test_a_parked_job_is_picked_up_when_a_worker_that_knows_it_comes(world: World) -> None:
    older, newer = world.service(), world.service()
    newer.register_handler("NEW", send, retries=0)
    world.viewer.declare("NEW")
    async with older:
        job_id = await world.viewer.schedule("NEW", {"a": 1})
        await asyncio.sleep(60)
        async with newer:
            assert await newer.result(job_id, timeout=10) == "{'a': 1}"
    assert (await world.look(job_id)).attempt == 1


async def test_a_job_that_one_worker_parks_is_run_by_the_other_at_once(world: World) -> None:
    """Two workers on one queue know different types; neither hands the jobs to and fro."""
    mail, report = world.service(world.faults.store), world.service()
    mail.register_handler("MAIL", send)
    report.register_handler("REPORT", send)
    viewer = world.viewer
    viewer.declare("MAIL")
    viewer.declare("REPORT")
    async with mail, report:
        await asyncio.sleep(10)
        looks = world.faults.calls["claim"]
        began = world.elapsed
        ids = await viewer.schedule_many(
            [JobRequest(name) for _ in range(20) for name in ("MAIL", "REPORT")]
        )
        for job_id in ids:
            await viewer.result(job_id, timeout=5)
        assert world.elapsed - began < 0.5
        assert world.faults.calls["claim"] - looks < 100
        parked = [info for info in await viewer.get_jobs() if info.parked]
        assert parked == []


async def test_jobs_that_nobody_knows_do_not_hold_up_the_others(world: World) -> None:
    worker = world.service(concurrency=2)
    worker.register_handler("KNOWN", send)
    world.viewer.declare("NEW")
    await world.viewer.schedule_many([JobRequest("NEW", priority="high") for _ in range(500)])
    async with worker:
        job_id = await worker.schedule("KNOWN")
        await worker.result(job_id, timeout=5)


async def test_a_parked_job_can_be_cancelled_and_deleted(world: World) -> None:
    worker = world.service()
    viewer = world.viewer
    viewer.declare("NEW")
    async with worker:
        first, second = await viewer.schedule("NEW"), await viewer.schedule("NEW")
        await asyncio.sleep(5)
        assert await viewer.cancel_job(first) is JobStatus.CANCELLED
        await viewer.delete_job(second)
        worker.register_handler("NEW", send)
        await asyncio.sleep(30)
        assert await viewer.get_job_status(first) is JobStatus.CANCELLED
        assert [info.id for info in await viewer.get_jobs()] == [first]


async def test_data_that_does_not_fit_the_worker_fails_with_place_and_reason(
    world: World,
) -> None:
    worker, scheduler = world.service(), world.service()
    worker.register_handler(JobType("MAIL", NumberedMail), send, retries=3)
    worker.register_handler("FINE", send)
    mail = JobType("MAIL", Mail)
    async with worker:
        job_id = await scheduler.schedule(mail, Mail("ada@example.com"))
        with pytest.raises(JobFailedError) as caught:
            await scheduler.result(job_id, timeout=10)
        assert "MAIL: expected int at $.recipient of the data, got str" in str(caught.value)
        assert "handler tests.engine.test_types.send" in str(caught.value)
        info = await scheduler.get_job(job_id)
        assert (info.status, info.attempt) == (JobStatus.FAILED, 1)  # No retry mends that.
        assert info.errors[0].kind == "JobTypeError"
        assert await worker.result(await worker.schedule("FINE"), timeout=5) == "{}"


async def test_an_older_worker_passes_over_keys_it_does_not_know(world: World) -> None:
    worker, scheduler = world.service(), world.service()
    worker.register_handler(JobType("MAIL", Mail), send)
    async with worker:
        newer = JobType("MAIL", NewerMail)
        job_id = await scheduler.schedule(newer, NewerMail("ada@example.com", "hello"))
        result = await scheduler.result(job_id, timeout=10)
    assert result == "Mail(recipient='ada@example.com')"


@dataclass
class Strict:
    n: int

    def __post_init__(self) -> None:
        if self.n == 1:
            raise KeyError("no value error at all")
        if self.n == 2:
            raise ValueError("two is not allowed")


@pytest.mark.parametrize(("n", "text"), [(1, "no value error at all"), (2, "two is not allowed")])
async def test_data_whose_own_check_fails_ends_its_job_and_no_other(
    world: World, n: int, text: str
) -> None:
    worker = world.service(concurrency=1)
    worker.register_handler(JobType("STRICT", Strict), send, retries=0)
    world.viewer.declare("STRICT")
    async with worker:
        bad = await world.viewer.schedule("STRICT", {"n": n})
        good = await world.viewer.schedule("STRICT", {"n": 3})
        with pytest.raises(JobFailedError, match=text):
            await worker.result(bad, timeout=10)
        assert await worker.result(good, timeout=10) == "Strict(n=3)"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (lambda: None, "RESULT: the result cannot be encoded as JSON"),
        (object(), "RESULT: the result cannot be encoded as JSON"),
        ("\ud800", "RESULT: the result cannot be encoded as JSON"),
        ({"a": float("nan")}, r"RESULT: NaN .*at \$\.a"),
        ("x" * 1001, "RESULT: the result has 1,003 .*the limit is 1,000"),
        ("ü" * 600, "RESULT: the result has 1,202 bytes .*the limit is 1,000"),
        (msgspec.Raw(b"}{"), "RESULT: the result cannot be read again as JSON"),
    ],
    ids=["lambda", "object", "surrogate", "nan", "large", "bytes", "raw"],
)
@pytest.mark.parametrize("thread", [False, True])
async def test_a_result_that_cannot_be_kept_fails_its_job_at_once(
    world: World, result: Any, reason: str, thread: bool
) -> None:
    service = world.service(concurrency=1, max_payload=1000)

    async def coroutine(job: Job[Any]) -> Any:
        return result

    def plain(job: Job[Any]) -> Any:
        return result

    service.register_handler("RESULT", plain if thread else coroutine, retries=3)
    async with service:
        for _ in range(2):
            job_id = await service.schedule("RESULT")
            with world.loop.hold(), pytest.raises(JobFailedError, match=reason):
                await service.result(job_id)
            # The next attempt would do the work again, to return the same.
            assert (await service.get_job(job_id)).attempt == 1


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.filterwarnings("error")
async def test_a_handler_that_returns_a_coroutine_is_told_to_be_async(
    world: World, thread: bool
) -> None:
    service = world.service()

    async def inner(job: Job[Any]) -> None: ...

    async def coroutine(job: Job[Any]) -> Any:
        return inner(job)

    def plain(job: Job[Any]) -> Any:
        return inner(job)

    service.register_handler("RESULT", plain if thread else coroutine, retries=3)
    async with service:
        job_id = await service.schedule("RESULT")
        with (
            world.loop.hold(),
            pytest.raises(JobFailedError, match="RESULT: the handler returned a coroutine: make"),
        ):
            await service.result(job_id)
        gc.collect()
        assert (await service.get_job(job_id)).attempt == 1


async def test_a_result_of_another_type_than_declared_fails_its_job_at_once(world: World) -> None:
    service = world.service()
    typed = JobType("TYPED", dict, result=Mail)

    @service.handler(typed, retries=3)
    async def wrong(job: Job[Any]) -> Any:
        return {"recipient": 7}

    async with service:
        job_id = await service.schedule(typed, {})
        with pytest.raises(JobFailedError, match=r"TYPED: expected str at \$.recipient of the re"):
            await service.result(job_id)
        assert (await service.get_job(job_id)).attempt == 1


async def test_data_that_a_handler_gets_wrong_elsewhere_is_a_failed_attempt_like_any_other(
    world: World,
) -> None:
    """Only what it returns itself is the same at the next attempt."""
    service = world.service()

    @service.handler("PARENT", retries=1, retry_delay=0)
    async def parent(job: Job[Any]) -> str:
        await service.schedule("PARENT", {"n": object()} if job.attempt == 1 else {})
        await service.pause_queue("default")
        return "done"

    async with service:
        assert await service.result(await service.schedule("PARENT")) == "done"


async def tried(service: JobService, job_id: JobId[Any]) -> tuple[int, float]:
    """How many attempts a failing job had, and the first wait in whole seconds."""
    with pytest.raises(JobFailedError):
        await service.result(job_id)
    info = await service.get_job(job_id)
    first, *rest = [error.at for error in info.errors]
    return info.attempt, round((rest[0] - first).total_seconds()) if rest else 0


async def fail(job: Job[Any]) -> None:
    raise ConnectionError("down")


async def test_the_call_says_more_than_the_type_and_the_type_more_than_the_service(
    world: World,
) -> None:
    service = world.service(default_retry_limit=1, default_retry_delay=100)
    service.register_handler("PLAIN", fail)
    service.register_handler("SAID", fail, retries=2, retry_delay=10, backoff="fixed")
    typed = JobType("TYPED", dict, retries=3, retry_delay=20, backoff=fixed())
    service.register_handler(typed, fail)
    async with service:
        attempts, wait = await tried(service, await service.schedule("PLAIN"))
        assert attempts == 2
        assert 100 <= wait <= 125
        assert await tried(service, await service.schedule("SAID")) == (3, 10)
        assert await tried(service, await service.schedule(typed, {})) == (4, 20)
        job_id = await service.schedule(
            "SAID", retries=4, retry_delay=3, backoff=exponential(jitter="none")
        )
        assert await tried(service, job_id) == (5, 3)
        assert await tried(service, await service.schedule("SAID", retries=0)) == (1, 0)


async def test_a_handler_says_more_than_its_type(world: World) -> None:
    service = world.service()
    typed = JobType("TYPED", dict, retries=3, priority="low", queue="slow")
    service.register_handler(typed, fail, retries=1, retry_delay=0)
    async with service:
        job_id = await service.schedule(typed, {})
        assert (await tried(service, job_id))[0] == 2
        info = await service.get_job(job_id)
    assert (info.priority, info.queue) == ("low", "slow")


async def test_what_a_type_says_of_the_insert_holds_for_a_process_that_only_schedules(
    world: World,
) -> None:
    typed = JobType("TYPED", dict, queue="slow", priority="low", expires_in=timedelta(hours=1))
    job_id = await world.viewer.schedule(typed, {})
    info = await world.look(job_id)
    assert (info.queue, info.priority) == ("slow", "low")
    assert info.expires_at == info.created_at + timedelta(hours=1)
    said = await world.look(
        await world.viewer.schedule(typed, {}, queue="fast", priority="high", expires_in=5)
    )
    assert (said.queue, said.priority) == ("fast", "high")
    assert said.expires_at == said.created_at + timedelta(seconds=5)


async def test_the_timeout_of_call_type_and_service(world: World) -> None:
    service = world.service(default_timeout=7, default_retry_limit=0)
    left: list[float] = []

    async def measure(job: Job[Any]) -> None:
        left.append((job.deadline - world.clock.wall).total_seconds())

    service.register_handler("PLAIN", measure)
    service.register_handler("SAID", measure, timeout=20)
    async with service:
        await service.result(await service.schedule("PLAIN"))
        await service.result(await service.schedule("SAID"))
        await service.result(await service.schedule("SAID", timeout=0.5))
    assert left == [7, 20, 0.5]


async def test_options_of_a_newer_version_end_no_worker(world: World) -> None:
    """A row that some other program wrote, or a later Backroom."""
    service = world.service(concurrency=1)
    service.register_handler("WORK", send, retries=0)
    async with service:
        await service.pause_queue("default")
        bad = await service.schedule("WORK", backoff="fixed")
        tables = world.storage._opened()
        tables.connection.execute(
            'UPDATE job SET options = \'{"backoff":{"kind":"fibonacci"}}\' WHERE id = ?', (bad,)
        )
        await service.resume_queue("default")
        with pytest.raises(JobFailedError, match="fibonacci"):
            await service.result(bad, timeout=30)
        assert await service.result(await service.schedule("WORK"), timeout=30) == "{}"


async def test_a_row_that_is_no_json_ends_no_worker(world: World) -> None:
    service = world.service(concurrency=1)
    service.register_handler(JobType("MAIL", Mail), send, retries=0)
    async with service:
        await service.pause_queue("default")
        bad = await service.schedule("MAIL", {"recipient": "ada"})
        world.storage._opened().connection.execute(
            "UPDATE job SET data = '{\"recipient\":' WHERE id = ?", (bad,)
        )
        await service.resume_queue("default")
        with pytest.raises(JobFailedError, match="MAIL: "):
            await service.result(bad, timeout=30)
        good = await service.schedule("MAIL", {"recipient": "ada"})
        assert await service.result(good, timeout=30) == "Mail(recipient='ada')"


@pytest.mark.parametrize("column", ["data", "result", "options"])
async def test_a_row_that_is_no_json_is_shown_as_text_beside_the_others(
    world: World, column: str
) -> None:
    world.viewer.declare("MAIL")
    bad, good = [await world.viewer.schedule("MAIL", {"n": n}) for n in range(2)]
    world.storage._opened().connection.execute(
        f"UPDATE job SET {column} = '{{\"n\":' WHERE id = ?", (bad,)
    )
    shown = {info.id: info for info in await world.viewer.get_jobs()}
    assert shown[good].data == {"n": 1}
    value = getattr(shown[bad], column)
    assert value == ({"unreadable": '{"n":'} if column == "options" else '{"n":')
    assert (await world.look(bad)).type == "MAIL"


@dataclass
class Note:
    text: str


async def test_a_handler_under_a_bare_name_goes_on_getting_plain_data(world: World) -> None:
    """However somebody else schedules its jobs; that one's data is checked all the same."""
    service = world.service()
    service.register_handler("NOTE", send, queue="notes")
    typed = JobType("NOTE", Note, result=str, queue="other", priority="high")
    async with service:
        plain = await service.schedule("NOTE", {"text": "a"})
        assert await service.result(plain) == "{'text': 'a'}"
        job_id = await service.schedule(typed, Note("b"))
        assert await service.result(job_id) == "{'text': 'b'}"
        with pytest.raises(JobTypeError, match="expected str at"):
            await service.schedule(typed, {"text": 7})  # type: ignore[arg-type]
    info = await world.look(job_id)
    assert (info.queue, info.priority) == ("notes", "high")


async def test_a_type_says_its_options_also_where_its_name_was_declared_before(
    world: World,
) -> None:
    world.viewer.declare("NOTE", Note)
    typed = JobType("NOTE", Note, queue="emails", priority="high")
    info = await world.look(await world.viewer.schedule(typed, Note("a")))
    assert (info.queue, info.priority) == ("emails", "high")
