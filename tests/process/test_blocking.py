"""The service without asyncio, over real folders, threads, signals and forks."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, get_overloads

import pytest

import backroom
from backroom import (
    ConfigurationError,
    FailJob,
    FileJobStorage,
    Job,
    JobFailedError,
    JobNotFoundError,
    JobRegistry,
    JobRequest,
    MemoryJobStorage,
    OptionError,
    ServiceError,
    ServiceStoppedError,
    UnknownJobTypeError,
)
from backroom.blocking import JobService
from backroom.portal import Portal
from tests.process.parts import Child, Family, eventually, eventually_async

APP = "tests.process.blocking_programs"


def threads(but: Collection[threading.Thread] = ()) -> set[str]:
    """Threads of services; those of earlier tests may have code that never ends."""
    return {
        thread.name
        for thread in threading.enumerate()
        if "backroom" in thread.name and thread not in but
    }


def program(family: Family, name: str) -> Child:
    return family.start("-m", APP, name)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[JobService]:
    before = set(threading.enumerate())
    service = JobService(FileJobStorage(tmp_path / "jobs"))

    @service.handler("ECHO")
    def echo(job: Job[Any]) -> Any:
        return job.data

    @service.handler("ASYNC")
    async def on_the_loop(job: Job[Any]) -> Any:
        return job.data

    @service.handler("FAIL")
    def fail(job: Job[Any]) -> None:
        raise FailJob("on purpose")

    try:
        yield service
    finally:
        service.stop(0)
        eventually(lambda: not threads(before), "its threads have ended")


# -- the same as the async one -----------------------------------------------------------------


def members(kind: type) -> dict[str, Any]:
    return {
        name: member
        for name, member in inspect.getmembers(kind)
        if not name.startswith("_") or name == "__init__"
    }


ONLY_ASYNC = {"lifespan", "loop", "events"}
"""A stream of events is for who waits for many things at once; `on` is there for all."""
ONLY_BLOCKING = {"service", "storage"}
"""The async one has its storage too, as an attribute."""
ENTERED = {"batch", "extend_workflow", "workflow"}
"""What is entered by `async with` there is entered by `with` here."""


def test_it_has_the_names_of_the_async_one() -> None:
    ours, theirs = members(JobService), members(backroom.JobService)
    assert set(ours) - ONLY_BLOCKING == set(theirs) - ONLY_ASYNC


@pytest.mark.parametrize("name", sorted(set(members(backroom.JobService)) - ONLY_ASYNC))
def test_a_member_takes_and_gives_what_the_async_one_does(name: str) -> None:
    ours, theirs = members(JobService)[name], members(backroom.JobService)[name]
    if isinstance(theirs, property):
        assert isinstance(ours, property)
        ours, theirs = ours.fget, theirs.fget
    assert not inspect.iscoroutinefunction(ours)
    if name == "__init__":
        [ours, _] = get_overloads(ours)
    else:
        assert bool(inspect.getdoc(ours)) is bool(inspect.getdoc(theirs)) is True
    given = inspect.signature(theirs)
    if name in ENTERED:
        entered = f"AbstractContextManager[{given.return_annotation}]"
        given = given.replace(return_annotation=entered)
    if name == "recorded":
        entered = given.return_annotation.replace("AbstractAsync", "Abstract")
        given = given.replace(return_annotation=entered)
    assert inspect.signature(ours) == given
    if name != "__init__":
        said = [inspect.signature(overload) for overload in get_overloads(theirs)]
        assert [inspect.signature(overload) for overload in get_overloads(ours)] == said


# -- what it does --------------------------------------------------------------------------------


def test_jobs_run_beside_plain_code(service: JobService) -> None:
    with service as entered:
        assert entered is service
        assert service.started
        for type_ in ("ECHO", "ASYNC"):
            assert service.result(service.schedule(type_, {"n": 1}), timeout=10) == {"n": 1}
        ids = service.schedule_many([JobRequest("ECHO", {"n": n}) for n in range(5)])
        assert [service.result(id_, timeout=timedelta(seconds=10))["n"] for id_ in ids] == [
            *range(5)
        ]
        assert service.get_job(ids[0]).result == {"n": 0}
        eventually(lambda: service.idle, "nothing is left to do")
        assert service.get_stats().by_status["completed"] == 7
        assert len(service.get_jobs(type="ECHO", limit=3)) == 3
    assert not service.started


def test_tasks_are_scheduled_without_await(service: JobService) -> None:
    registry = JobRegistry()

    @registry.task
    def upper(text: str) -> str:
        return text.upper()

    @service.task(retries=0)
    async def double(n: int) -> int:
        return 2 * n

    @service.task
    def add(a: int, b: int = 0) -> int:
        return a + b

    service.include(registry)
    with service:
        assert add(1, 2) == 3
        assert service.result(add.schedule(1, b=2), timeout=10) == 3
        assert service.result(double.options(priority="high").schedule(4), timeout=10) == 8
        ids = service.schedule_many([add.request(1), upper.request("a")])
        assert [service.result(job_id, timeout=10) for job_id in ids] == [1, "A"]


def test_refusals_reach_the_caller(service: JobService) -> None:
    with pytest.raises(UnknownJobTypeError):
        service.schedule("UNKNOWN")
    with pytest.raises(OptionError):
        service.schedule("ECHO", delay=-1)
    with pytest.raises(JobNotFoundError):
        service.get_job("none")
    with pytest.raises(OptionError):
        service.cancel_jobs()
    job_id = service.schedule("FAIL")
    with pytest.raises(TimeoutError):
        service.result(job_id, timeout=0.01)
    service.start()
    with pytest.raises(JobFailedError, match="on purpose"):
        service.result(job_id, timeout=10)


def test_steering_is_the_same(service: JobService) -> None:
    service.pause_queue("default")
    job_id = service.schedule("ECHO")
    service.start()
    assert service.cancel_job(job_id) == "cancelled"
    service.retry_job(job_id)
    assert service.get_job_status(job_id) == "pending"
    assert service.cancel_jobs(status="pending") == 1
    assert service.retry_jobs(status="cancelled") == 1
    service.resume_queue("default")
    assert service.result(job_id, timeout=10) == {}
    service.delete_job(job_id)
    with pytest.raises(JobNotFoundError):
        service.get_job_status(job_id)


def test_a_stop_ends_the_thread_and_the_next_start_begins_anew(service: JobService) -> None:
    assert service.stop() is True
    for _ in range(3):
        with service:
            assert service.result(service.schedule("ECHO"), timeout=10) == {}
            assert "backroom-blocking" in threads()
        assert "backroom-blocking" not in threads()
        with pytest.raises(ServiceStoppedError):
            service.schedule("ECHO")
        assert service.stop() is True
        service.open()
        service.schedule("ECHO")


def test_any_number_of_threads_may_call(service: JobService) -> None:
    def one(number: int) -> int:
        return service.result(service.schedule("ECHO", {"n": number}), timeout=30)["n"]  # type: ignore[no-any-return]

    with service, ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(200))) == [*range(200)]


def test_a_stop_amid_calls_of_other_threads_answers_them_all(service: JobService) -> None:
    def one(number: int) -> str:
        try:
            return service.schedule("ECHO")
        except ServiceStoppedError:
            return "stopped"

    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            answers = [pool.submit(one, number) for number in range(50)]
            service.stop()
            assert all(answer.result(20) for answer in answers)
            service.open()


def test_calls_carry_the_context_of_the_caller(tmp_path: Path) -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request")
    seen: list[str] = []

    class Storage(MemoryJobStorage):
        async def insert(self, *args: Any, **options: Any) -> Any:
            seen.append(request.get("none"))
            return await super().insert(*args, **options)

    service = JobService(Storage())
    service.declare("ECHO")
    service.open()
    request.set("mine")
    service.schedule("ECHO")
    service.stop()
    assert seen == ["mine"]


# -- loops -------------------------------------------------------------------------------------


def test_a_handler_on_its_loop_is_told_to_await_the_async_one(service: JobService) -> None:
    @service.handler("WRONG")
    async def wrong(job: Job[Any]) -> str:
        try:
            service.schedule("ECHO")
        except ServiceError as error:
            return f"{error} {await service.service.schedule('ECHO')}"
        return "waited for itself"

    with service:
        answer = service.result(service.schedule("WRONG"), timeout=10)
    assert "await the async service" in answer


async def test_an_async_service_that_runs_here_is_called_on_this_loop(tmp_path: Path) -> None:
    """As in a web server whose `def` views run in threads."""
    owner = backroom.JobService(FileJobStorage(tmp_path))
    loops: list[asyncio.AbstractEventLoop] = []

    @owner.handler("WHERE")
    async def where(job: Job[Any]) -> str:
        loops.append(asyncio.get_running_loop())
        return "here"

    service = JobService(service=owner)
    async with owner:
        job_id = await asyncio.to_thread(service.schedule, "WHERE")
        assert await asyncio.to_thread(service.result, job_id, timeout=10) == "here"
        with pytest.raises(ServiceError, match="await the async service"):
            service.schedule("WHERE")
        assert "backroom-blocking" not in threads()
        assert await asyncio.to_thread(service.stop) is True
        assert not owner.started
    assert loops == [asyncio.get_running_loop()]


def test_a_loop_that_has_ended_is_named(tmp_path: Path) -> None:
    owner = backroom.JobService(FileJobStorage(tmp_path))
    owner.declare("ECHO")
    service = JobService(service=owner)
    asyncio.run(owner.open())  # And never stopped.
    with pytest.raises(ServiceError, match="does not run"):
        service.schedule("ECHO")
    asyncio.run(owner.stop())


def test_a_loop_that_ends_amid_a_call_answers_it(tmp_path: Path) -> None:
    owner = backroom.JobService(FileJobStorage(tmp_path))
    owner.declare("ECHO")
    service = JobService(service=owner)

    with ThreadPoolExecutor(1) as pool:

        async def leave_a_caller() -> Future[Any]:
            call = pool.submit(service.result, await owner.schedule("ECHO"))
            await eventually_async(lambda: owner._results._waiting, "it waits")
            return call

        call = asyncio.run(leave_a_caller())
        with pytest.raises(ServiceError, match="ended before the call did"):
            call.result(10)
    asyncio.run(owner.stop())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_whose_thread_has_died_is_told() -> None:
    portal = Portal("a test")

    async def dies() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        portal.call(dies())
    assert portal._thread is not None
    portal._thread.join(10)
    with pytest.raises(ServiceError, match="ended before the call did"):
        portal.call(asyncio.sleep(0))


def test_other_code_may_have_a_loop_of_its_own(service: JobService) -> None:
    """As in a notebook, whose cells run on one."""

    async def cell() -> Any:
        return service.result(service.schedule("ECHO", {"n": 1}), timeout=10)

    with service:
        assert asyncio.run(cell()) == {"n": 1}


def test_a_wrapped_service_has_its_settings_already() -> None:
    owner = backroom.JobService(MemoryJobStorage())
    with pytest.raises(ConfigurationError, match="no other arguments"):
        JobService("memory:", service=owner)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError):
        JobService(service=owner, concurrency=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        JobService(workers=3)  # type: ignore[call-overload]


# -- processes ---------------------------------------------------------------------------------


def test_ctrl_c_ends_the_wait_and_nothing_else(family: Family) -> None:
    child = program(family, "interrupt")
    child.says("waiting")
    began = time.monotonic()
    child.signal(signal.SIGINT)
    child.says("interrupted")
    assert time.monotonic() - began < 5
    assert child.ends() == 0
    assert f"ran {child.pid}" in child.text
    assert "status scheduled" in child.text
    assert "backroom-blocking" not in child.text
    assert "Traceback" not in child.text, child.text


@pytest.mark.parametrize("name", ["leave_started", "leave_open"])
def test_a_program_that_does_not_stop_its_service_ends_at_once(family: Family, name: str) -> None:
    child = program(family, name)
    assert child.ends(10) == 0
    assert "Traceback" not in child.text, child.text
    assert "Warning" not in child.text, child.text
    service = JobService(FileJobStorage(family.jobs))
    stats = service.get_stats()
    service.stop()
    assert stats.by_status["pending" if name == "leave_open" else "completed"] == 1
    assert not stats.workers


def test_a_program_ends_though_its_handlers_do_not(family: Family) -> None:
    child = program(family, "leave_stubborn")
    child.says("leaving")
    assert child.ends(15) == 0
    assert "Traceback" not in child.text, child.text
    # They come back uncharged: with no retries each has an attempt left.
    service = JobService(FileJobStorage(family.jobs))
    service.register_handler("STUBBORN", lambda job: job.attempt)
    service.register_handler("NAP", lambda job: job.attempt)
    with service:
        for info in service.get_jobs():
            assert service.result(info.id, timeout=20) == 1  # type: ignore[arg-type]


def test_a_service_made_before_a_fork_works_in_every_child(family: Family) -> None:
    parent = program(family, "fork_unused")
    assert parent.ends(40) == 0, parent.text
    assert "codes 0 0" in parent.text, parent.text
    assert parent.text.count("chained") == 3
    assert "failed" not in parent.text


def test_a_service_used_before_a_fork_is_refused_in_the_child_and_works_in_the_parent(
    family: Family,
) -> None:
    parent = program(family, "fork_used")
    assert parent.ends(40) == 0, parent.text
    refusals = [line for line in parent.text.splitlines() if "child refused" in line]
    assert len(refusals) == 4
    assert all("make a new JobService in the child" in line for line in refusals)
    assert "child stopped: True" in parent.text
    assert "child scheduled" in parent.text
    assert f"parent ran {parent.pid}" in parent.text
    assert "failed" not in parent.text
    assert "code 0" in parent.text
    assert parent.text.count("chained") == 2


def test_the_command_line_runs_a_blocking_service(family: Family) -> None:
    worker = family.ready(app=f"{APP}:service")
    service = JobService(FileJobStorage(family.jobs))
    service.declare("CHAIN")
    assert service.result(service.schedule("CHAIN"), timeout=20) == worker.pid
    service.stop()
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0


def test_what_is_left_of_a_call_is_freed_at_once(service: JobService) -> None:
    """Also of one that raised: no cycle waits for the collector."""
    import gc

    def count(call: Callable[[], object]) -> int:
        for _ in range(20):
            call()
        gc.collect()
        gc.disable()
        try:
            before = len(gc.get_objects())
            for _ in range(200):
                call()
            return len(gc.get_objects()) - before
        finally:
            gc.enable()

    def refused() -> None:
        with pytest.raises(JobNotFoundError):
            service.get_job_status("none")

    service.open()
    assert count(service.get_stats) < 200
    assert count(refused) < 200
