"""Durable steps: a run that begins anew goes past what is done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from backroom import (
    FailJob,
    Job,
    JobFailedError,
    JobNotFoundError,
    JobStateError,
    JobStatus,
    LeaseLostError,
    OptionError,
    PayloadTooLargeError,
    ServiceError,
    SignalTimeoutError,
    StepsChangedError,
)
from backroom.step import MAX_SIGNALS, MAX_STEPS
from tests.engine.world import World

HOUR = 3600


@dataclass
class Quote:
    product: str
    cents: int


class Calls:
    """What was done, in order."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def quote(self, product: str, cents: int = 100) -> Quote:
        self.made.append(f"quote {product}")
        return Quote(product, cents)

    async def note(self, what: str) -> str:
        self.made.append(what)
        return what


@pytest.fixture
def calls() -> Calls:
    return Calls()


# -- steps ---------------------------------------------------------------------------------------


async def test_a_retry_is_given_what_was_kept_and_calls_nothing_again(
    world: World, calls: Calls
) -> None:
    service = world.service()
    quotes: list[Quote] = []

    @service.handler("ORDER", retries=2, retry_delay=10)
    async def order(job: Job[Any]) -> str:
        quotes.append(await job.step("quote", calls.quote, "tea", cents=job.attempt))
        await job.step("pay", calls.note, "pay")
        if job.attempt < 3:
            raise OSError("no route to host")
        return await job.step("ship", calls.note, "ship")

    async with service:
        job_id = await service.schedule("ORDER")
        assert await service.result(job_id) == "ship"
    assert calls.made == ["quote tea", "pay", "ship"]
    assert quotes == [Quote("tea", 1)] * 3


async def test_a_step_that_fails_is_the_handler_s_error_and_is_called_again(
    world: World, calls: Calls
) -> None:
    service = world.service()

    async def flaky() -> str:
        await calls.note("flaky")
        if len(calls.made) < 4:
            raise OSError("busy")
        return "well"

    @service.handler("ORDER", retry_delay=1)
    async def order(job: Job[Any]) -> str:
        await job.step("quote", calls.quote, "tea")
        return await job.step("flaky", flaky)

    async with service:
        job_id = await service.schedule("ORDER")
        assert await service.result(job_id) == "well"
    assert calls.made == ["quote tea", "flaky", "flaky", "flaky"]
    info = await world.look(job_id)
    assert [error.message for error in info.errors] == ["busy", "busy"]
    assert info.attempt == 3


async def test_a_result_is_what_the_annotation_says_already_in_the_first_run(world: World) -> None:
    service = world.service()
    seen: list[Any] = []

    async def pair() -> tuple[int, Quote]:
        return 1, Quote("tea", 2)

    async def plain():  # type: ignore[no-untyped-def]
        return 1, Quote("tea", 2)

    async def nothing() -> None:
        return None

    @service.handler("ORDER", retries=1, retry_delay=1)
    async def order(job: Job[Any]) -> None:
        seen.append(await job.step("typed", pair))
        seen.append(await job.step("plain", plain))
        seen.append(await job.step("nothing", nothing))
        if job.attempt == 1:
            raise OSError("again")

    async with service:
        await service.result(await service.schedule("ORDER"))
    run = [(1, Quote("tea", 2)), [1, {"product": "tea", "cents": 2}], None]
    assert seen == run * 2


async def test_a_plain_function_of_a_step_runs_in_a_thread(world: World) -> None:
    service = world.service()

    def where() -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return True
        return False

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> list[bool]:
        return [await job.step("where", where), await job.step("lambda", lambda: where())]

    async with service:
        with world.loop.hold():
            assert await service.result(await service.schedule("ORDER")) == [True, True]


async def test_an_exception_in_a_thread_is_raised_at_the_step(world: World) -> None:
    service = world.service()

    def wrong() -> None:
        raise LookupError("no such product")

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> str:
        with pytest.raises(LookupError, match="no such product"):
            await job.step("wrong", wrong)
        return "told"

    async with service:
        with world.loop.hold():
            assert await service.result(await service.schedule("ORDER")) == "told"


async def test_people_see_the_steps_of_a_job(world: World, calls: Calls) -> None:
    service = world.service()

    async def slow() -> Quote:
        await asyncio.sleep(3)
        return Quote("tea", 5)

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> None:
        await job.step("quote", slow)
        await job.sleep("1h")
        await job.wait_for("approved", timeout="2d")

    async with service:
        job_id = await service.schedule("ORDER")
        await asyncio.sleep(10)
        info = await world.look(job_id)
        assert info.status is JobStatus.SCHEDULED
        assert info.waits_for is not None
        assert (info.waits_for.kind, info.waits_for.until) == ("sleep", info.run_at)
        quote, sleep = info.steps
        assert (quote.number, quote.name, quote.kind, quote.took) == (1, "quote", "step", 3.0)
        assert quote.result == {"product": "tea", "cents": 5}
        assert quote.done
        assert not sleep.done

        await asyncio.sleep(3600)
        info = await world.look(job_id)
        assert info.waits_for is not None
        assert (info.waits_for.kind, info.waits_for.name) == ("signal", "approved")
        assert info.waits_for.until == info.steps[2].at + timedelta(days=2)
        assert [step.done for step in info.steps] == [True, True, False]
        assert info.attempt == 0
        await service.signal(job_id, "another", {"a": 1})
        info = await world.look(job_id)
        assert [(one.name, one.value) for one in info.signals] == [("another", {"a": 1})]
        assert info.waits_for is not None


async def test_a_job_without_steps_asks_the_storage_nothing_of_them(world: World) -> None:
    service = world.service(world.faults.store)

    @service.handler("PLAIN")
    async def plain(job: Job[Any]) -> None:
        return None

    async with service:
        await service.result(await service.schedule("PLAIN"))
    assert {"steps_of", "keep_step", "take_signal"}.isdisjoint(world.faults.calls)


async def test_the_steps_of_a_job_are_read_once_a_run(world: World, calls: Calls) -> None:
    service = world.service(world.faults.store)

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> None:
        for number in range(5):
            await job.step("note", calls.note, str(number))

    async with service:
        await service.result(await service.schedule("ORDER"))
    assert world.faults.calls["steps_of"] == 1
    assert world.faults.calls["keep_step"] == 5


# -- what goes wrong -----------------------------------------------------------------------------


async def test_a_worker_that_leaves_after_a_step_leaves_it_done(world: World, calls: Calls) -> None:
    first, second = world.service(), world.service()
    left = False

    async def order(job: Job[Any]) -> str:
        await job.step("quote", calls.quote, "tea")
        if not left:
            await asyncio.Event().wait()
        return await job.step("ship", calls.note, "ship")

    first.register_handler("ORDER", order, timeout=HOUR)
    second.register_handler("ORDER", order, timeout=HOUR)
    await first.start()
    job_id = await first.schedule("ORDER")
    await asyncio.sleep(1)
    await first.stop(0)
    left = True
    async with second:
        assert await second.result(job_id) == "ship"
    assert calls.made == ["quote tea", "ship"]


async def test_what_a_step_did_is_not_done_again_while_the_storage_is_away(
    world: World, calls: Calls
) -> None:
    service = world.service(world.faults.store)
    world.faults.fail("keep_step", "before", times=3)
    world.faults.fail("steps_of", "before", times=2)

    @service.handler("ORDER", retries=0)
    async def order(job: Job[Any]) -> str:
        return await job.step("pay", calls.note, "pay")

    async with service:
        assert await service.result(await service.schedule("ORDER")) == "pay"
    assert calls.made == ["pay"]


async def test_a_step_whose_keeping_was_not_answered_is_kept_once(
    world: World, calls: Calls
) -> None:
    service = world.service(world.faults.store)
    world.faults.fail("keep_step", "after")

    @service.handler("ORDER", retries=0)
    async def order(job: Job[Any]) -> str:
        await job.step("pay", calls.note, "pay")
        return await job.step("ship", calls.note, "ship")

    async with service:
        job_id = await service.schedule("ORDER")
        assert await service.result(job_id) == "ship"
    assert [step.name for step in (await world.look(job_id)).steps] == ["pay", "ship"]


async def test_a_worker_whose_lease_is_lost_keeps_no_step(world: World, calls: Calls) -> None:
    service = world.service(world.faults.store)
    told: list[BaseException] = []
    lost = LeaseLostError("the job belongs to another worker")
    world.faults.fail("keep_step", "before", error=lost)

    @service.handler("ORDER", retries=0)
    async def order(job: Job[Any]) -> None:
        try:
            await job.step("pay", calls.note, "pay")
        except LeaseLostError as error:
            told.append(error)
            raise

    async with service:
        with pytest.raises(JobFailedError, match="another worker"):
            await service.result(await service.schedule("ORDER"))
    assert len(told) == 1


async def changed(world: World, calls: Calls) -> tuple[Any, Any]:
    """A job that failed after its second step; the handler's order is in a list."""
    service = world.service()
    order = ["quote", "pay", "ship"]
    swallowed: list[str] = []

    @service.handler("ORDER", retries=5, retry_delay=10)
    async def handler(job: Job[Any]) -> None:
        try:
            for name in order:
                await job.step(name, calls.note, name)
                if name == "pay" and len(order) == 3 and job.attempt == 1:
                    raise OSError("again")
        except StepsChangedError:
            swallowed.append("StepsChangedError")

    await service.start()
    job_id = await service.schedule("ORDER")
    await asyncio.sleep(1)
    assert not swallowed
    return service, (job_id, order)


async def test_another_step_than_was_kept_fails_the_job_and_names_both(
    world: World, calls: Calls
) -> None:
    service, (job_id, order) = await changed(world, calls)
    order[:] = ["quote", "reserve", "pay", "ship"]
    with pytest.raises(
        JobFailedError, match=r'step 2 is step\("reserve"\) now, and was step\("pay'
    ):
        await service.result(job_id)
    info = await world.look(job_id)
    assert info.errors[-1].kind == "StepsChangedError"
    assert info.attempt == 2
    assert calls.made == ["quote", "pay"]

    order[:] = ["quote", "pay", "ship"]  # The earlier code is back.
    await service.retry_job(job_id)
    await service.result(job_id)
    assert calls.made == ["quote", "pay", "ship"]


async def test_a_run_that_leaves_out_what_was_kept_says_so(world: World, calls: Calls) -> None:
    service, (job_id, order) = await changed(world, calls)
    order[:] = ["quote"]
    await service.result(job_id)
    info = await world.look(job_id)
    assert [line.message for line in info.log if line.level == "warning"] == [
        'completed without step 2, step("pay"), kept by an earlier run: the handler was changed'
        " while this job was under way, or does not call the same steps each time"
    ]


async def test_a_job_can_be_retried_from_a_step_on(world: World, calls: Calls) -> None:
    service, (job_id, order) = await changed(world, calls)
    order[:] = ["quote", "reserve", "pay", "ship"]
    with pytest.raises(JobFailedError):
        await service.result(job_id)
    await service.retry_job(job_id, from_step=2)
    await service.result(job_id)
    assert calls.made == ["quote", "pay", "reserve", "pay", "ship"]
    with pytest.raises(OptionError, match="from_step"):
        await service.retry_job(job_id, from_step=0)


async def test_a_sleep_or_a_signal_in_the_place_of_a_step_is_another_step(
    world: World, calls: Calls
) -> None:
    service = world.service()

    @service.handler("ORDER", retries=5, retry_delay=10)
    async def order(job: Job[Any]) -> None:
        if job.attempt == 1:
            await job.step("sleep", calls.note, "sleep")
            raise OSError("again")
        await job.sleep(1)

    async with service:
        with pytest.raises(JobFailedError, match=r'step 1 is sleep now, and was step\("sleep"\)'):
            await service.result(await service.schedule("ORDER"))


async def test_a_result_that_cannot_be_kept_ends_the_job_and_is_not_made_again(
    world: World,
) -> None:
    service = world.service(max_payload=1000)
    made: list[str] = []

    async def unreadable() -> Quote:
        made.append("unreadable")
        return Quote("tea", "much")  # type: ignore[arg-type]

    async def large() -> str:
        made.append("large")
        return "x" * 1000

    @service.handler("UNREADABLE", retries=5, retry_delay=1)
    async def one(job: Job[Any]) -> None:
        try:
            await job.step("quote", unreadable)
        except Exception:
            made.append("swallowed")

    @service.handler("LARGE", retries=5, retry_delay=1)
    async def two(job: Job[Any]) -> None:
        await job.step("quote", large)

    async with service:
        for type_, match in (
            ("UNREADABLE", r"UNREADABLE, step 1 \(quote\): .*expected int at \$\.cents"),
            ("LARGE", r"LARGE, step 1 \(quote\): the result has 1,002 bytes"),
        ):
            with pytest.raises(JobFailedError, match=match):
                await service.result(await service.schedule(type_))
    assert made == ["unreadable", "large"]


async def test_a_job_has_so_many_steps_and_no_more(world: World, calls: Calls) -> None:
    service = world.service()

    @service.handler("ORDER", retries=5, retry_delay=1)
    async def order(job: Job[Any]) -> None:
        while True:
            await job.step("note", calls.note, "x")

    async with service:
        with pytest.raises(JobFailedError, match=f"more than the {MAX_STEPS:,}"):
            await service.result(await service.schedule("ORDER"))
    assert len(calls.made) == MAX_STEPS


async def test_steps_come_one_after_the_other(world: World, calls: Calls) -> None:
    service = world.service()

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> str:
        async def within() -> None:
            await job.step("inner", calls.note, "inner")

        with pytest.raises(ServiceError, match=r'step\("inner"\) was called while step\("outer"\)'):
            await job.step("outer", within)
        return await job.step("next", calls.note, "next")

    async with service:
        assert await service.result(await service.schedule("ORDER")) == "next"


async def test_what_is_no_step_is_refused(world: World, calls: Calls) -> None:
    service = world.service()

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> None:
        with pytest.raises(OptionError, match="name"):
            await job.step("", calls.note, "x")
        with pytest.raises(OptionError, match="without calling it"):
            await job.step("quote", None)  # type: ignore[call-overload]
        with pytest.raises(OptionError, match='"1d"'):
            await job.sleep("1 fortnight")
        with pytest.raises(OptionError, match="delay"):
            await job.sleep(-1)
        with pytest.raises(OptionError, match="timeout"):
            await job.wait_for("approved", timeout="soon")
        with pytest.raises(ServiceError, match=r"await job\.step"):
            job.blocking.sleep(1)

    async with service:
        await service.result(await service.schedule("ORDER"))


# -- sleep ---------------------------------------------------------------------------------------


async def test_a_job_sleeps_for_hours_without_a_slot_or_an_attempt(
    world: World, calls: Calls
) -> None:
    service = world.service(concurrency=1)
    ends: list[float] = []

    @service.handler("ORDER", retries=0, timeout=60)
    async def order(job: Job[Any]) -> None:
        await job.step("quote", calls.quote, "tea")
        await job.sleep("1h 30m")
        await job.sleep(timedelta(minutes=30))
        ends.append(world.elapsed)

    @service.handler("OTHER")
    async def other(job: Job[Any]) -> None:
        return None

    async with service:
        job_id = await service.schedule("ORDER")
        await asyncio.sleep(1)
        await service.result(await service.schedule("OTHER"))  # The one slot is free.
        await service.result(job_id)
    assert ends == [2 * HOUR]
    assert calls.made == ["quote tea"]
    assert (await world.look(job_id)).attempt == 1


async def test_a_short_sleep_stays_and_is_not_slept_again(world: World) -> None:
    service = world.service()
    runs: list[float] = []

    @service.handler("ORDER", retries=1, retry_delay=10)
    async def order(job: Job[Any]) -> None:
        runs.append(world.elapsed)
        await job.sleep(0.5)
        runs.append(world.elapsed)
        if job.attempt == 1:
            raise OSError("again")

    async with service:
        await service.result(await service.schedule("ORDER"))
    began, slept, again, still = runs
    assert slept - began == 0.5
    assert still == again


async def test_a_finally_runs_each_time_the_handler_is_put_aside(world: World) -> None:
    service = world.service()
    seen: list[str] = []

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> None:
        try:
            await job.sleep("1h")
            seen.append("awake")
        except Exception:
            seen.append("swallowed")
        finally:
            seen.append("finally")

    async with service:
        await service.result(await service.schedule("ORDER"))
    assert seen == ["finally", "awake", "finally"]


async def test_a_handler_that_swallows_everything_is_put_aside_all_the_same(world: World) -> None:
    service = world.service()
    seen: list[str] = []

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> str:
        try:
            await job.sleep("1h")
        except BaseException:
            seen.append("swallowed")
            with pytest.raises(BaseException, match="sleep"):
                await job.step("more", asyncio.sleep, 0)
        return f"after {len(seen)}"

    async with service:
        job_id = await service.schedule("ORDER")
        assert await service.result(job_id) == "after 1"
        assert world.elapsed >= 3600


async def test_a_task_group_in_the_way_changes_nothing(world: World) -> None:
    service = world.service()

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(job.sleep("1h"))
        return "awake"

    async with service:
        assert await service.result(await service.schedule("ORDER")) == "awake"


async def test_an_error_on_the_way_out_is_the_handler_s(world: World) -> None:
    service = world.service()

    @service.handler("ORDER", retries=0)
    async def order(job: Job[Any]) -> None:
        try:
            await job.sleep("1h")
        finally:
            raise OSError("the disk is full")

    async with service:
        with pytest.raises(JobFailedError, match="the disk is full"):
            await service.result(await service.schedule("ORDER"))


async def test_a_job_that_waits_can_be_cancelled(world: World) -> None:
    service = world.service()

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> None:
        await job.wait_for("approved")

    async with service:
        job_id = await service.schedule("ORDER")
        await asyncio.sleep(5)
        assert await service.cancel_job(job_id) is JobStatus.CANCELLED
        with pytest.raises(JobStateError, match="has ended"):
            await service.signal(job_id, "approved")
    assert (await world.look(job_id)).signals == ()


# -- signals -------------------------------------------------------------------------------------


async def waiting(world: World, **options: Any) -> tuple[Any, Any, list[Any]]:
    """A started service with a job that waits for an approval, and what it was given."""
    service = world.service(poll_interval=600)
    given: list[Any] = []

    @service.handler("ORDER", retries=2, retry_delay=1)
    async def order(job: Job[Any]) -> str:
        given.append(await job.wait_for("approved", **options))
        return "done"

    await service.start()
    job_id = await service.schedule("ORDER")
    await asyncio.sleep(5)
    return service, job_id, given


async def test_a_signal_wakes_the_job_that_waits_for_it_at_once(world: World) -> None:
    service, job_id, given = await waiting(world, type=Quote)
    before = world.elapsed
    await service.signal(job_id, "approved", Quote("tea", 3))
    assert await service.result(job_id) == "done"
    assert world.elapsed - before < 1
    assert given == [Quote("tea", 3)]


async def test_a_signal_of_another_name_wakes_nobody(world: World) -> None:
    service, job_id, given = await waiting(world)
    await service.signal(job_id, "refused")
    await asyncio.sleep(2 * HOUR)
    assert await service.get_job_status(job_id) is JobStatus.SCHEDULED
    assert given == []


async def test_signals_that_come_before_are_taken_in_order(world: World) -> None:
    service = world.service()

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> list[Any]:
        await job.sleep("1h")
        return [await job.wait_for("approved", timeout="1h") for _ in range(3)]

    async with service:
        job_id = await service.schedule("ORDER")
        for value in ("first", None, {"third": 3}):
            await service.signal(job_id, "approved", value)
        assert await service.result(job_id) == ["first", None, {"third": 3}]
        assert world.elapsed < 3700


async def test_a_wait_without_a_signal_times_out_once_and_for_all(world: World) -> None:
    service = world.service()
    timeouts: list[float] = []

    @service.handler("ORDER", retries=1, retry_delay=10)
    async def order(job: Job[Any]) -> str:
        try:
            await job.wait_for("approved", timeout="2h")
        except TimeoutError:
            timeouts.append(world.elapsed)
        if len(timeouts) == 1:
            raise OSError("again")
        return "refused"

    async with service:
        job_id = await service.schedule("ORDER")
        await asyncio.sleep(2 * HOUR + 5)
        await service.signal(job_id, "approved")  # Too late: the way was taken.
        assert await service.result(job_id) == "refused"
    assert [moment // HOUR for moment in timeouts] == [2, 2]
    info = await world.look(job_id)
    assert info.steps[0].timed_out
    assert len(info.signals) == 1


async def test_a_timeout_that_nobody_catches_fails_the_job_without_a_retry(world: World) -> None:
    service, job_id, _ = await waiting(world, timeout=60)
    with pytest.raises(JobFailedError, match="no signal 'approved' came within 60 s"):
        await service.result(job_id)
    info = await world.look(job_id)
    assert (info.attempt, info.errors[0].kind) == (1, SignalTimeoutError.__name__)

    await service.retry_job(job_id, from_step=1)
    await asyncio.sleep(1)
    await service.signal(job_id, "approved", "late, but here")
    assert await service.result(job_id) == "done"


async def test_a_retry_that_waits_is_not_woken_by_a_signal(world: World) -> None:
    """Only who was put aside for it is."""
    service = world.service(poll_interval=600)
    runs: list[float] = []

    @service.handler("ORDER", retries=5, retry_delay=1000, backoff="fixed")
    async def order(job: Job[Any]) -> str:
        runs.append(world.elapsed)
        if len(runs) == 2:
            raise OSError("before it comes to its wait")
        return str(await job.wait_for("approved", timeout=60 if job.attempt > 2 else "1d"))

    await service.start()
    job_id = await service.schedule("ORDER")
    await asyncio.sleep(5)
    await service.retry_job(job_id)
    await asyncio.sleep(5)
    assert len(runs) == 2
    await service.signal(job_id, "approved", "yes")
    assert await service.result(job_id) == "yes"
    assert runs[2] - runs[1] >= 1000


async def test_a_value_that_does_not_fit_fails_the_job_until_it_is_sent_anew(world: World) -> None:
    service, job_id, given = await waiting(world, type=Quote)
    await service.signal(job_id, "approved", {"product": "tea"})
    with pytest.raises(JobFailedError, match=r"step 1 \(approved\): .*from_step=1"):
        await service.result(job_id)
    assert (await world.look(job_id)).attempt == 1
    await service.retry_job(job_id, from_step=1)
    await asyncio.sleep(1)
    await service.signal(job_id, "approved", Quote("tea", 1))
    assert await service.result(job_id) == "done"
    assert given == [Quote("tea", 1)]


async def test_a_signal_that_nobody_can_take_is_refused(world: World) -> None:
    service, job_id, _ = await waiting(world)
    unknown = job_id[:-1] + ("0" if job_id[-1] != "0" else "1")
    with pytest.raises(JobNotFoundError):
        await service.signal(unknown, "approved")
    with pytest.raises(OptionError, match="name"):
        await service.signal(job_id, "")
    with pytest.raises(TypeError, match=r"signal approved: the value cannot be encoded"):
        await service.signal(job_id, "approved", object())
    with pytest.raises(PayloadTooLargeError, match="limit"):
        await service.signal(job_id, "approved", "x" * (1 << 20))
    assert (await world.look(job_id)).signals == ()
    for _ in range(MAX_SIGNALS):
        await service.signal(job_id, "later")
    with pytest.raises(JobStateError, match=f"{MAX_SIGNALS} signals wait"):
        await service.signal(job_id, "later")
    await service.cancel_job(job_id)


async def test_a_signal_during_the_last_look_is_not_lost(world: World) -> None:
    """It comes between the handler's look and the outcome that puts the job aside."""
    service = world.service(world.faults.store, poll_interval=600)

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> Any:
        return await job.wait_for("approved")

    async with service:
        looked = world.faults.keep_back("take_signal")
        job_id = await service.schedule("ORDER")
        await looked.applied.wait()
        await service.signal(job_id, "approved", "just in time")
        looked.send()
        assert await service.result(job_id) == "just in time"
        assert world.elapsed < 1


# -- threads -------------------------------------------------------------------------------------


async def test_steps_of_a_def_handler_wait_in_its_thread(world: World) -> None:
    service = world.service()
    made: list[str] = []

    def pay(cents: int) -> int:
        made.append("pay")
        return cents

    async def ship() -> str:
        made.append("ship")
        asyncio.get_running_loop()
        return "ship"

    @service.handler("ORDER", retries=1, retry_delay=1)
    def order(job: Job[Any]) -> list[Any]:
        steps = job.blocking
        paid = steps.step("pay", pay, 100)
        steps.sleep(3600)
        approved = steps.wait_for("approved", type=bool)
        shipped = steps.step("ship", ship)
        if job.attempt == 1:
            raise OSError("again")
        return [paid, approved, shipped]

    @service.handler("WRONG")
    def wrong(job: Job[Any]) -> None:
        with pytest.raises(ServiceError, match=r"job\.blocking\.step"):
            job.step("pay", pay, 1)

    async def settled(job_id: Any, waits_for: str) -> None:
        for _ in range(2000):
            info = await world.look(job_id)
            if info.waits_for is not None and info.waits_for.name == waits_for:
                return
            with world.loop.hold():
                await asyncio.to_thread(lambda: None)
        raise AssertionError(f"it does not wait for {waits_for}")

    async with service:
        with world.loop.hold():
            await service.result(await service.schedule("WRONG"))
            job_id = await service.schedule("ORDER")
            await settled(job_id, "sleep")
        await asyncio.sleep(3601)
        with world.loop.hold():
            await settled(job_id, "approved")
            await service.signal(job_id, "approved", True)
            while (await world.look(job_id)).status is not JobStatus.SCHEDULED:
                await asyncio.to_thread(lambda: None)
        await asyncio.sleep(2)
        with world.loop.hold():
            assert await service.result(job_id) == [100, True, "ship"]
    assert made == ["pay", "ship"]


async def test_a_handler_that_gives_up_before_its_steps_end_as_it_says(world: World) -> None:
    service = world.service()

    @service.handler("ORDER")
    async def order(job: Job[Any]) -> None:
        await job.step("note", asyncio.sleep, 0)
        raise FailJob("not needed")

    async with service:
        with pytest.raises(JobFailedError, match="not needed"):
            await service.result(await service.schedule("ORDER"))
