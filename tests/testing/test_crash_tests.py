"""Crash tests themselves: where they can be called, what they refuse, and what they leave alone."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import logging
import sys
import threading
from contextvars import ContextVar
from types import FrameType
from typing import Any

import pytest

from backroom import (
    Cancel,
    ConfigurationError,
    Job,
    JobService,
    OptionError,
    RetryJob,
    Snooze,
    blocking,
)
from backroom.testing import (
    Inconclusive,
    assert_safe_to_rerun,
    crash_test,
    kit,
    virtual_time,
)
from tests.testing.world import World, found


async def naive(job: Job[Any]) -> None:
    world = worlds[-1]
    await world.charge_slowly("A1")


worlds: list[World] = []


@pytest.fixture
def world(world: World) -> World:
    worlds[:] = [world]
    return world


# -- where it is called --------------------------------------------------------------------------


def test_within_a_plain_test(world: World) -> None:
    assert not world.test(naive).safe


async def test_within_an_async_test(world: World) -> None:
    task = asyncio.current_task()
    assert not world.test(naive).safe
    assert asyncio.current_task() is task
    async with asyncio.timeout(1):  # Which asks for the current task.
        await asyncio.sleep(0)


@virtual_time
async def test_within_a_test_in_virtual_time(world: World) -> None:
    before = asyncio.get_running_loop().time()
    assert not world.test(naive).safe
    assert asyncio.get_running_loop().time() == before


async def test_within_a_kit_whose_jobs_stay_as_they_are(world: World) -> None:
    async with kit(world.service) as jobs:
        job_id = await world.service.schedule("FOLLOW_UP")
        assert not world.test(naive).safe
        assert [job.id for job in jobs.scheduled()] == [job_id]
        await world.service.schedule("IT", {"order": "A1"})
        ran = {job.type: job.status for job in await jobs.drain()}
        assert ran["IT"] == "completed"


def test_nothing_of_it_is_left(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def trace(frame: FrameType, event: str, arg: object) -> None:
        return None

    before, storage, threads = sys.gettrace(), world.service.storage, threading.active_count()
    sys.settrace(trace)
    try:
        assert not world.test(naive).safe
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    gc.collect()  # No coroutine and no task complains.
    assert world.service.storage is storage
    assert not world.service.started
    assert threading.active_count() == threads
    assert logging.getLogger("backroom").level == logging.NOTSET
    assert caplog.messages == []


# -- the report ----------------------------------------------------------------------------------


def test_the_assertion_has_the_text_of_the_report(world: World) -> None:
    report = world.test(naive)
    with pytest.raises(AssertionError) as failed:
        assert_safe_to_rerun(world.service, "IT", setup=world.setup, observe=world.observe)
    assert str(failed.value) == str(report)

    world.service.register_handler("SAFE", lambda job: None)
    safe = assert_safe_to_rerun(world.service, "SAFE")
    assert str(safe).startswith("SAFE (tests.testing.test_crash_tests.")
    assert "is safe to run twice:\nnone of 1 interruption changed what it leaves" in str(safe)


def test_like_differences_are_told_once_with_all_their_places(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        await world.charge("A1")
        await world.send("x" * 100)
        await world.send("y" * 100)

    report = world.test(handler)
    assert str(report).count("charges\n") == 3  # With no, one and two mails.
    first = str(report).split("\n\n")[1].splitlines()
    places = [line.split(": ")[-1] for line in first if line.startswith("  ") and "await" in line]
    assert places == ['await world.charge("A1")', 'await world.send("x" * 100)']


def test_same_decides_where_given(world: World) -> None:
    seen: list[tuple[int, int]] = []

    def same(calm: int, found: int) -> bool:
        seen.append((calm, found))
        return found <= 2

    def observe() -> int:
        return len(world.charges)

    assert world.test(naive, observe=observe, same=same).safe
    assert (1, 2) in seen


def test_what_was_observed_is_kept_as_it_was(world: World) -> None:
    # `world.charges` is one list, which the next run would change.
    assert not world.test(naive, setup=world.charges.clear, observe=lambda: world.charges).safe


# -- attempts ------------------------------------------------------------------------------------


def test_a_second_run_that_never_ends_is_found(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        while world.locks:
            await asyncio.sleep(0.001)
        world.locks.add("A1")
        await world.charge("A1", key="A1")
        world.locks.clear()

    report = world.test(handler)
    assert {moment for *_, moment in found(report)} == {"begun", "answered"}
    [differs] = {finding.differs for finding in report.unsafe if "charges" not in finding.differs}
    assert "did not end: after 10 virtual seconds it still waits" in differs


@pytest.mark.parametrize("retries", [0, 3])
def test_without_retries_somebody_retries_it(world: World, retries: int) -> None:
    report = world.test(naive, retries=retries)
    assert ("crash", "", "ended") in found(report)
    assert "the job" not in str(report)


def test_a_job_that_asks_to_run_again_is_interrupted_in_each_attempt(world: World) -> None:
    async def handler(job: Job[Any]) -> Snooze | Cancel | None:
        if len(world.mails) == 0:
            await world.send("first")
            return Snooze(3600)
        if len(world.mails) == 1:
            await world.send("second")
            raise RetryJob
        await world.charge("A1", key="A1")
        return Cancel("enough")

    report = world.test(handler)
    assert report.safe, str(report)
    assert report.runs == 3 * 3 - 1  # The attempt that raised has no end.


def test_a_second_run_that_fails_is_found(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        if "A1" in world.book:
            raise KeyError("A1 is there already")
        await world.charge("A1", key="A1")

    report = world.test(handler)
    assert {moment for *_, moment in found(report)} == {"answered", "ended"}
    assert "undisturbed: completed" in str(report)
    assert "found:       failed: KeyError: 'A1 is there already'" in str(report)


@pytest.mark.parametrize("restarted", [True, False])
def test_what_a_process_remembers_is_gone_where_restart_says_so(
    world: World, restarted: bool
) -> None:
    lock = asyncio.Lock()

    def forget() -> None:
        nonlocal lock
        lock = asyncio.Lock()

    async def handler(job: Job[Any]) -> None:
        async with lock:
            await world.charge("A1", key="A1")

    def setup() -> None:
        world.setup()
        forget()

    how = {"restart": forget} if restarted else {}
    report = world.test(handler, setup=setup, **how)
    assert report.safe is restarted
    if not restarted:
        assert "failed: timeout: timed out after 300 s" in str(report)


def test_restart_comes_before_the_next_run_of_a_plain_handler(world: World) -> None:
    def handler(job: Job[Any]) -> None:
        world.mails.append("ran")

    report = world.test(handler, restart=lambda: world.mails.append("restarted"))
    assert "+ ['ran', 'restarted', 'ran']" in str(report) or "'restarted', 'ran']" in str(report)


def test_tasks_look_to_libraries_like_tasks(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        task = asyncio.create_task(world.send("A1"), name="mail")
        assert inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_CREATED  # type: ignore[arg-type]
        assert "World.send" in repr(task)
        assert task.get_name() == "mail"
        await task

    assert not world.test(handler).safe


def test_context_variables_are_those_of_a_new_process(world: World) -> None:
    has_run = ContextVar("has_run", default=False)

    async def handler(job: Job[Any]) -> None:
        assert not has_run.get()
        has_run.set(True)
        await world.charge("A1", key="A1")

    report = world.test(handler)
    assert report.safe, str(report)


def test_setup_and_observe_may_be_async_and_schedule(world: World) -> None:
    async def setup() -> None:
        await asyncio.sleep(3600)
        world.setup()
        await world.service.schedule("FOLLOW_UP", {"by": "setup"})

    async def observe() -> None:
        await asyncio.sleep(3600)

    async def handler(job: Job[Any]) -> None:
        await world.service.schedule("FOLLOW_UP", {"by": "handler"})

    report = world.test(handler, setup=setup, observe=observe)
    assert 'FOLLOW_UP({"by":"handler"})' in str(report)
    assert 'FOLLOW_UP({"by":"setup"})' not in str(report)


def test_a_retry_comes_when_it_is_due(world: World) -> None:
    times: list[float] = []

    async def handler(job: Job[Any]) -> None:
        times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)

    world.test(handler, setup=times.clear, kinds=["timeout"], retry_delay=60)
    assert times[1] - times[0] >= 60


# -- handlers of all kinds -----------------------------------------------------------------------


class Callee:
    async def __call__(self, job: Job[Any]) -> None:
        await naive(job)


async def with_more(job: Job[Any], more: int) -> None:
    await naive(job)


def wrapper(handler: Any) -> Any:
    @functools.wraps(handler)
    async def wrapped(job: Job[Any]) -> Any:
        return await handler(job)

    return wrapped


@pytest.mark.parametrize(
    "handler", [Callee(), functools.partial(with_more, more=1), wrapper(naive)]
)
def test_callables_are_handlers(world: World, handler: Any) -> None:
    assert ("crash", 'await world.charge_slowly("A1")', "answered") in found(world.test(handler))


def test_tasks_and_child_processes(world: World) -> None:
    @world.service.task
    async def pay(order: str) -> None:
        await world.charge(order)

    report = crash_test(
        world.service, pay.type, {"order": "A1"}, setup=world.setup, observe=world.observe
    )
    assert ("crash", "await world.charge(order)", "answered") in found(report)

    world.service.register_handler("ISOLATED", naive, isolation="process")
    report = crash_test(world.service, "ISOLATED", setup=world.setup, observe=world.observe)
    assert ("crash", 'await world.charge_slowly("A1")', "answered") in found(report)


def test_a_plain_handler_that_schedules_loses_the_reply(world: World) -> None:
    jobs = blocking.JobService(service=world.service)

    def handler(job: Job[Any]) -> None:
        jobs.schedule("FOLLOW_UP")

    report = world.test(handler)
    assert [finding.kind for finding in report.unsafe] == ["lost reply", "crash"]


# -- what it cannot tell, and refuses ------------------------------------------------------------


def inconclusive(world: World, handler: Any, **how: Any) -> str:
    with pytest.raises(Inconclusive) as caught:
        world.test(handler, **how)
    return str(caught.value)


@pytest.mark.parametrize("times", [1, 4])
def test_a_handler_that_fails_undisturbed(world: World, times: int) -> None:
    async def handler(job: Job[Any]) -> None:
        if job.attempt <= times:
            raise ValueError("no such order")

    assert inconclusive(world, handler) == "undisturbed, IT fails: ValueError: no such order"


def test_a_handler_that_asks_for_a_retry_too_often(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        raise RetryJob

    assert inconclusive(world, handler).startswith("undisturbed, IT does not complete: failed")


def test_a_handler_that_never_ends(world: World) -> None:
    async def waits(job: Job[Any]) -> None:
        await asyncio.Event().wait()

    text = "undisturbed, IT fails: timeout: timed out after 300 s"
    assert inconclusive(world, waits) == text


def test_a_handler_that_runs_again_for_ever(world: World) -> None:
    async def snoozes(job: Job[Any]) -> Snooze:
        return Snooze(60)

    assert "did not end in 100 attempts" in inconclusive(world, snoozes)


@pytest.mark.parametrize("waits", [True, False])
def test_a_handler_with_too_many_points(world: World, waits: bool) -> None:
    async def handler(job: Job[Any]) -> None:
        while True:
            await (asyncio.sleep(0) if waits else world.send("again"))

    text = inconclusive(world, handler, most=50)
    assert text.startswith("IT can be interrupted at more than 50 points")


def test_a_world_that_is_not_made_anew(world: World) -> None:
    text = inconclusive(world, naive, setup=lambda: None)
    assert text.startswith("IT leaves different things when nothing disturbs it: setup must make")
    assert "        undisturbed: ['A1']\n        once more:   ['A1', 'A1']" in text


def test_a_handler_that_goes_another_way_each_time(world: World) -> None:
    runs = 0

    async def handler(job: Job[Any]) -> None:
        nonlocal runs
        runs += 1
        for _ in range(runs):
            await asyncio.sleep(0)

    text = "undisturbed, IT does not take the same way each time"
    assert inconclusive(world, handler) == text


def test_a_handler_that_goes_another_way_later(world: World) -> None:
    runs = 0

    async def handler(job: Job[Any]) -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            await asyncio.sleep(1)
        await world.send("x")

    text = inconclusive(world, handler, same=lambda *_: True)
    assert "does not take the same way each time: killed" in text


def test_what_observe_raises_is_raised_with_the_interruption(world: World) -> None:
    def observe() -> list[str]:
        assert world.charges != ["A1", "A1"]
        return list(world.charges)

    with pytest.raises(AssertionError) as caught:
        world.test(naive, observe=observe)
    [note] = caught.value.__notes__
    assert note.startswith("raised after IT was killed")


async def test_slips_are_told_at_once(world: World) -> None:
    with pytest.raises(ConfigurationError, match="IT has no handler in this service"):
        crash_test(world.service, "IT")
    with pytest.raises(OptionError, match="kinds are 'crash', 'timeout', 'lost reply', got 'c'"):
        world.test(naive, kinds="crash")
    for most in (0, True, 1.5):
        with pytest.raises(OptionError, match="most must be a whole number from 1"):
            crash_test(world.service, "IT", most=most)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="did you mean 'priority'"):
        crash_test(world.service, "IT", priotity="low")  # type: ignore[call-overload]
    async with JobService("memory:") as started:
        started.register_handler("IT", naive)
        with pytest.raises(ConfigurationError, match="the service is started"):
            crash_test(started, "IT")
