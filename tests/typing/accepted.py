"""Code that must type-check, as users write it. Run by `test_typing.py`; never imported."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, Unpack, reveal_type
from uuid import UUID, uuid4

import msgspec
import pydantic
from fastapi import FastAPI
from flask import Flask

from backroom import (
    Backoff,
    BulkHandler,
    BulkJob,
    Cancel,
    Concurrency,
    Cron,
    FailureGroup,
    FileJobStorage,
    Job,
    JobFailed,
    JobFilter,
    JobHandler,
    JobId,
    JobInfo,
    JobPage,
    JobRegistry,
    JobRequest,
    JobScheduler,
    JobService,
    JobServiceProtocol,
    JobStats,
    JobStatus,
    JobType,
    MemoryJobStorage,
    Rate,
    Schedule,
    Snooze,
    Unique,
    exponential,
    testing,
)
from backroom import blocking as plain
from backroom.contrib import fastapi, flask
from backroom.contrib.asgi import with_jobs


@dataclass
class Order:
    number: int
    note: str | None = None


class Mail(TypedDict):
    recipient: str


class Picture(msgspec.Struct):
    width: int


class Person(pydantic.BaseModel):
    name: str


@dataclass
class Report:
    pages: int


ORDER = JobType("ORDER", Order)
REPORT = JobType("REPORT", Order, result=Report, retries=3, backoff="linear", priority="low")
MAIL = JobType("MAIL", Mail, queue="mail", timeout=timedelta(minutes=1))
PICTURE = JobType("PICTURE", Picture, result=bytes, expires_in=3600)
PERSON = JobType("PERSON", Person, result=int, retry_delay=0.5)
ONCE = JobType("ONCE", Order, unique=Unique(by="data", on_conflict="replace"))
NUMBERS = JobType("NUMBERS", list[int], result=dict[str, int])
LIMITED = JobType("LIMITED", Order, limit=[Concurrency(2, key="data.number"), Rate(5, per=1)])
WEIGHTY = JobType("WEIGHTY", Order, limit=Concurrency(9), slots=2, fair_by="data.number")

service = JobService(FileJobStorage("./storage/jobs", retention=timedelta(days=7)))
other = JobService("memory:", concurrency=3, queues={"mail": 2}, poll_interval=timedelta(seconds=1))
other.limit("gpu", Concurrency(16))
third = JobService(storage=MemoryJobStorage(), only=["mail"], default_timeout=60)


@service.handler(ORDER, retries=3, timeout=300)
async def order(job: Job[Order]) -> None:
    job.log.info("order %d", job.data.number)
    job.progress(0.5, "half way")


def from_v1(data: dict[str, Any]) -> Picture:
    return Picture(data["width"])


def from_v2(data: Picture) -> dict[str, Any]:
    return {"number": data.width}


UPGRADED = JobType("UPGRADED", Order, version=3, upgrade={1: from_v1, 2: from_v2}, retries=5)
SECOND = JobType("SECOND", Order, result=Report, version=2, upgrade={1: lambda data: data})
reveal_type(UPGRADED)  # R: backroom.registry.JobType[accepted.Order, Any]
reveal_type(SECOND)  # R: backroom.registry.JobType[accepted.Order, accepted.Report]


@service.handler(UPGRADED)
async def upgraded(job: Job[Order]) -> None:
    print(job.data.number)


@service.handler(REPORT)
async def report(job: Job[Order]) -> Report | Snooze | Cancel:
    if job.cancelled:
        return Cancel("not needed")
    return Report(job.data.number) if job.attempt > 1 else Snooze(timedelta(minutes=1))


@service.handler(MAIL, backoff=lambda retry: 10.0 * retry)
def mail(job: Job[Mail]) -> None:
    print(job.data["recipient"])


@service.handler("BARE", queue="default")
async def bare(job: Job[dict[str, Any]]) -> dict[str, int]:
    return {"n": job.data["n"]}


@service.handler("ANYTHING")
def anything(job: Job[Any]) -> Any:
    return job.data


async def person(job: Job[Person]) -> int:
    return len(job.data.name)


service.register_handler(PERSON, person, priority="high")
service.register_handler("PLAIN", lambda job: None)
handler: JobHandler[Person, int] = person
service.declare("NAME")
service.declare("NAME", data=Order, result=Report)
service.declare(PICTURE)


async def schedule() -> None:
    await service.schedule(ORDER, Order(7))
    await service.schedule(ORDER, Order(7), delay=60)
    await service.schedule(MAIL, Mail(recipient="ada@example.com"), delay=timedelta(hours=1))
    await service.schedule(PICTURE, Picture(3), run_at=datetime.now(UTC), retries=0)
    await service.schedule(PERSON, Person(name="Ada"), unique_key="ada", tags=["a"], metadata={})
    await service.schedule(NUMBERS, [1, 2], backoff=exponential(factor=3), retry_delay=1)
    await service.schedule("BARE", {"n": 1}, priority="critical", queue="q", timeout=1.5)
    await service.schedule(ORDER, Order(7), unique=Unique(by="data.number", period=60))
    await service.schedule(ORDER, Order(7), unique=Unique(by=["data.number"], until="start"))
    await service.schedule("BARE")
    await service.schedule("BARE", backoff=Backoff("fixed"), expires_in=3)
    # The seed form: options as keywords of a mapping's own names.
    await service.schedule("SEND_EMAIL", {"template": "welcome"}, priority="normal", delay=60)


async def results() -> None:
    number = await service.schedule(PERSON, Person(name="Ada"))
    reveal_type(number)  # R: backroom.job.JobId[int]
    reveal_type(await service.result(number))  # R: int
    pages = await service.schedule(REPORT, Order(1))
    reveal_type(await service.result(pages, timeout=timedelta(seconds=5)))  # R: accepted.Report
    bare_id = await service.schedule("BARE")
    reveal_type(await service.result(bare_id))  # R: Any
    untyped = await service.schedule(ORDER, Order(1))
    reveal_type(await service.result(untyped))  # R: Any
    known: JobId[Report] = JobId("019ca945-0a00-7000-8000-000000000000")
    reveal_type(await service.result(known))  # R: accepted.Report
    text: str = known
    await service.get_job(text)


async def many() -> None:
    one = JobRequest(REPORT, Order(1), priority="low")
    reveal_type(one)  # R: backroom.scheduling.JobRequest[accepted.Report]
    ids = await service.schedule_many([one, JobRequest(REPORT, Order(2))])
    reveal_type(ids)  # R: list[backroom.job.JobId[accepted.Report]]
    mixed: list[JobRequest[Any]] = [one, JobRequest("BARE", {"n": 1}), JobRequest("BARE")]
    await service.schedule_many(mixed)
    await service.schedule_many([JobRequest(PERSON, Person(name="a")), JobRequest("BARE")])


async def look(service: JobServiceProtocol) -> None:
    page = await service.get_jobs(status="failed", type=ORDER, queue="mail", limit=10)
    for info in page:
        reveal_type(info)  # R: backroom.job.JobInfo
    await service.get_jobs(status=JobStatus.FAILED, cursor=page.cursor)
    status = await service.get_job_status("019c")
    assert status == "completed"
    await service.get_job(uuid4())
    await service.retry_jobs(type=REPORT, tag="big")
    found = await service.search_jobs(text="ada", error="ValueError", priority="low", within=0.1)
    reveal_type(found)  # R: backroom.job.JobPage
    reveal_type(await service.count_jobs(status="failed"))  # R: backroom.stats.Count
    await service.reschedule_jobs(delay=60, ids=[uuid4(), "019c"], progress=print)
    await service.reprioritize_jobs("high", priority="low")
    await service.reprioritize_job("019c", "high")
    await service.limit_queue("mail", None)
    made = await service.schedule_once("order 7", "BARE", {"n": 1}, priority="low")
    reveal_type(made)  # R: tuple[backroom.job.JobId[Any], bool]
    reveal_type(await service.copy_job(made[0]))  # R: backroom.job.JobId[Any]
    async with service.recorded("ada", "pause", "queue mail") as action:
        action.changed = 1
    await service.cancel_jobs(status="pending")
    await service.pause_queue("mail")
    await service.stop(grace=timedelta(seconds=3))


class Fake:
    """What a user's test injects."""

    def __init__(self) -> None:
        self.scheduled: list[Any] = []

    async def schedule(self, type: Any, data: Any = None, /, **options: Any) -> JobId[Any]:
        self.scheduled.append((type, data, options))
        return JobId("019c")

    async def schedule_many(
        self, requests: Sequence[JobRequest[Any]], *, connection: object = None
    ) -> list[JobId[Any]]:
        return [await self.schedule(r.type, r.data) for r in requests]

    async def result(self, job_id: JobId[Any], *, timeout: float | timedelta | None = None) -> Any:
        return None

    async def get_job(self, job_id: str | UUID) -> JobInfo:
        raise LookupError(job_id)

    async def get_job_status(self, job_id: str | UUID) -> JobStatus:
        return JobStatus.PENDING

    async def get_jobs(
        self, *, limit: int = 100, cursor: str | None = None, **which: Unpack[JobFilter]
    ) -> JobPage:
        return JobPage([], None)

    async def get_stats(self) -> JobStats:
        return JobStats({}, (), ())

    async def get_failures(self, limit: int = 100) -> list[FailureGroup]:
        return []


async def sign_up(jobs: JobScheduler) -> JobId[int]:
    return await jobs.schedule(PERSON, Person(name="Ada"))


async def inject() -> None:
    scheduler: JobScheduler = service
    whole: JobServiceProtocol = service
    await sign_up(scheduler)
    await sign_up(whole)
    await sign_up(service)
    await sign_up(Fake())
    async with service as entered:
        reveal_type(entered)  # R: backroom.service.JobService


# -- schedules -----------------------------------------------------------------------------------


@service.handler(ORDER, cron=Cron("@daily", tz="Europe/Paris"), retries=1)
async def every_day(job: Job[Order]) -> None: ...


@service.task(every=timedelta(minutes=5), schedules=[Schedule(60, name="often", jitter=5)])
def tidy(days: int = 7) -> int:
    return days


async def recurring(service: JobServiceProtocol) -> None:
    info = await service.cron("0 9 * * *", ORDER, Order(7), name="x", tz="UTC", priority="low")
    await service.cron(Cron("0 9 * * *"), "BARE", overlap="queue", missed="run_all", tags=["a"])
    await service.every(timedelta(hours=1), REPORT, Order(7), jitter=timedelta(seconds=5))
    await service.every(60, "BARE", {"any": "thing"}, expires_in=60, metadata={})
    reveal_type(info)  # R: backroom.schedule.ScheduleInfo
    ticks = await service.get_ticks("x")
    reveal_type([tick.job for tick in ticks])  # R: list[backroom.job.JobId[Any] | None]
    reveal_type(await service.run_schedule("x"))  # R: backroom.job.JobId[Any]


# -- workflows -----------------------------------------------------------------------------------


async def composing(service: JobServiceProtocol, job: Job[Order]) -> None:
    said = JobRequest(PERSON, Person(name="Ada"))
    async with service.workflow("import", on_failure="compensate", on_complete=said) as flow:
        person = flow.add(PERSON, Person(name="Ada"), undo=said, priority="low")
        reveal_type(person)  # R: backroom.workflow.FlowJob[int]
        reveal_type(person.id)  # R: backroom.job.JobId[int]
        people = flow.group([said, said], after=person)
        reveal_type(people)  # R: list[backroom.workflow.FlowJob[int]]
        flow.add("BARE", {"any": "thing"}, after=people, anyway=True)
    reveal_type(await service.get_workflow(flow.id))  # R: backroom.flow.WorkflowInfo
    reveal_type(await job.result_of(PERSON))  # R: int
    reveal_type(await job.result_of(person.id))  # R: int
    reveal_type(await job.results_of(PERSON))  # R: list[int]
    reveal_type(await job.results_of("BARE"))  # R: list[Any]
    async with service.extend_workflow(job) as more:
        more.chain(said, JobRequest("BARE"), after=more.job(person.id))


def composing_plain(jobs: plain.JobService, job: Job[Order]) -> None:
    with jobs.batch("mails", on_success=JobRequest("BARE")) as batch:
        batch.add(ORDER, Order(7), delay=5)
    reveal_type(job.blocking.results_of(PERSON))  # R: list[int]
    reveal_type(jobs.wait_for_workflow(batch.id).status)  # R: backroom.flow.WorkflowStatus


# -- within transactions -------------------------------------------------------------------------


class Session:
    """Of whichever library."""


async def within(service: JobService, job: Job[Order], session: Session) -> None:
    job_id = await service.schedule(PERSON, Person(name="Ada"), connection=session, delay=5)
    reveal_type(job_id)  # R: backroom.job.JobId[int]
    await service.schedule_many([JobRequest("X", {})], connection=session)
    async with job.transaction(session, result=5) as same:
        reveal_type(same)  # R: accepted.Session
    transaction = job.transaction()
    async with transaction as connection:
        reveal_type(connection)  # R: Any
        transaction.result = 5
    async with service.workflow("import", connection=session) as flow:
        reveal_type(flow.add(PERSON, Person(name="Ada")))  # R: backroom.workflow.FlowJob[int]
    async with service.batch("mails", connection=session) as flow:
        flow.add("BARE")
    async with service.extend_workflow(job, connection=connection) as flow:
        flow.add("BARE")


def within_plain(jobs: plain.JobService, job: Job[Order], session: Session) -> None:
    with job.transaction(session) as same:
        reveal_type(same)  # R: accepted.Session
        job_id = jobs.schedule(PERSON, Person(name="Ada"), connection=session)
        reveal_type(job_id)  # R: backroom.job.JobId[int]
        with (
            jobs.batch("mails", connection=same) as batch,
            jobs.extend_workflow(job, connection=same) as flow,
        ):
            reveal_type([batch, flow])  # R: list[backroom.workflow.Workflow]


# -- function style ------------------------------------------------------------------------------

registry = JobRegistry()


@registry.task
def add(a: int, b: int = 0) -> int:
    return a + b


@registry.task(retries=3, isolation="process")
async def fetch(url: str, *, timeout: float = 5.0) -> bytes:
    return url.encode()


@registry.task(name="NOTHING")
def nothing() -> None:
    return


async def function_style(service: JobService) -> None:
    service.include(registry)
    reveal_type(add(1, 2))  # R: int
    reveal_type(await fetch("a"))  # R: bytes
    job_id = await add.schedule(1, b=2)
    reveal_type(job_id)  # R: backroom.job.JobId[int]
    reveal_type(await service.result(job_id))  # R: int
    reveal_type(await service.result(await fetch.schedule("a", timeout=1)))  # R: bytes
    later = add.options(delay=60, priority="low")
    reveal_type(await later.schedule(1))  # R: backroom.job.JobId[int]
    both = await service.schedule_many([add.request(1), add.request(2, b=3)])
    reveal_type(both)  # R: list[backroom.job.JobId[int]]
    await nothing.schedule()


blocking = plain.JobService(FileJobStorage("./storage/jobs"), concurrency=3, queues={"mail": 2})
wrapping = plain.JobService(service=service)


@blocking.handler(REPORT, retries=3)
def blocking_report(job: Job[Order]) -> Report:
    return Report(blocking.result(blocking.schedule(PERSON, Person(name="Ada"))))


@blocking.handler(MAIL)
async def blocking_mail(job: Job[Mail]) -> None:
    await blocking.service.schedule(ORDER, Order(1))


blocking.register_handler(PERSON, person, priority="high")


def plain_code() -> None:
    pages = blocking.schedule(REPORT, Order(1), delay=60)
    reveal_type(pages)  # R: backroom.job.JobId[accepted.Report]
    reveal_type(blocking.result(pages, timeout=5))  # R: accepted.Report
    reveal_type(blocking.schedule("BARE", {"n": 1}))  # R: backroom.job.JobId[Any]
    ids = blocking.schedule_many([JobRequest(REPORT, Order(1))])
    reveal_type(ids)  # R: list[backroom.job.JobId[accepted.Report]]
    for info in blocking.get_jobs(status="failed", type=ORDER):
        reveal_type(info)  # R: backroom.job.JobInfo
    reveal_type(blocking.get_stats())  # R: backroom.stats.JobStats
    reveal_type(blocking.get_limits())  # R: list[backroom.limit.LimitInfo]
    with wrapping as entered:
        reveal_type(entered)  # R: backroom.blocking.JobService
        reveal_type(entered.stop(grace=timedelta(seconds=3)))  # R: bool


site = FastAPI()
fastapi.configure_jobs(site, service)
wrapped = with_jobs(site, service, grace=5)


@site.post("/orders")
async def new_order(jobs: fastapi.Jobs) -> str:
    reveal_type(jobs)  # R: backroom.service.JobService
    return await jobs.schedule(ORDER, Order(1))


@site.post("/reports")
def new_report(jobs: fastapi.BlockingJobs) -> str:
    reveal_type(jobs)  # R: backroom.blocking.JobService
    return jobs.schedule(REPORT, Order(1))


reveal_type(flask.configure_jobs(Flask("shop"), blocking))  # R: backroom.contrib.flask.Jobs
flask.Jobs(service=service).init_app(Flask("shop"))


async def kit() -> None:
    async with testing.kit(service, start=datetime.now(UTC)) as jobs:
        reveal_type(jobs)  # R: backroom.testing.jobs.Jobs
        reveal_type(jobs.scheduled(ORDER)[0].data)  # R: accepted.Order
        reveal_type(jobs.scheduled("BARE")[0].data)  # R: Any
        found = jobs.assert_scheduled(ORDER, number=1, delay=60)
        reveal_type(found[0].data)  # R: accepted.Order
        jobs.assert_not_scheduled("BARE", data={"n": 1}, options={"queue": "q"})
        jobs.fail(ORDER, times=2, error=ConnectionError("no route"))
        jobs.kill("BARE", times=None, when="after")
        reveal_type(await jobs.drain())  # R: list[backroom.job.JobInfo]
        reveal_type(await jobs.advance(timedelta(days=1)))  # R: list[backroom.job.JobInfo]
        await jobs.run(await service.schedule(ORDER, Order(1)), raise_errors=True)
    with testing.inline(service, raise_errors=True) as inline:
        print(inline.now)
    reveal_type(testing.run_virtual(inject))  # R: None


def crash_test() -> None:
    report = testing.crash_test(service, ORDER, Order(1), setup=list, observe=inject, retries=1)
    reveal_type(report)  # R: backroom.testing.findings.CrashReport
    reveal_type(report.unsafe)  # R: tuple[backroom.testing.findings.Finding, ...]
    testing.assert_safe_to_rerun(service, "BARE", {"n": 1}, kinds=["crash"], same=lambda a, b: True)


@testing.virtual_time
async def test_virtual(number: int) -> str:
    return str(number)


reveal_type(test_virtual)  # R: def (number: int) -> str


async def quote(order: Order, *, rush: bool = False) -> Person:
    return Person(name=str(order.number))


def weigh(picture: Picture) -> float:
    return picture.width / 2


@service.handler("STEPS")
async def in_steps(job: Job[dict[str, Any]]) -> None:
    reveal_type(await job.step("quote", quote, Order(1), rush=True))  # R: accepted.Person
    reveal_type(await job.step("weigh", weigh, Picture(1)))  # R: float
    await job.sleep("1d")
    await job.sleep(timedelta(days=1))
    reveal_type(await job.wait_for("approved", type=Order, timeout="3d"))  # R: accepted.Order
    reveal_type(await job.wait_for("approved"))  # R: Any
    await service.signal(job.id, "approved", Order(1))
    await service.retry_job(job.id, from_step=1)


@service.handler(REPORT, batch=100, within=0.5, retries=2)
async def many_reports(jobs: Sequence[BulkJob[Order, Report]]) -> None:
    for job in jobs:
        reveal_type(job.data)  # R: accepted.Order
        job.succeed(Report(job.data.number))
        job.fail(OSError("no"), retry_in=timedelta(minutes=1))
        job.fail("no", retry_in=60)
        job.snooze(60)
        job.cancel("gone")
        job.progress(0.5)


@blocking.handler(ORDER, batch=100)
def many_orders(jobs: list[BulkJob[Order, None]]) -> None:
    for job in jobs:
        job.succeed()


@service.handler("ANYTHING_AT_ONCE", batch=5, within=timedelta(seconds=1))
async def many_things(jobs: Sequence[BulkJob[Any, Any]]) -> Snooze:
    jobs[0].succeed({"a": 1})
    jobs[1].succeed()
    return Snooze(60)


@service.handler(JobType("PICTURES", Picture, result=bytes), batch=5)
def many_pictures(jobs: Sequence[BulkJob[Picture, bytes]]) -> list[bytes | Cancel]:
    return [b"1" if job.data.width else Cancel("empty") for job in jobs]


@service.handler(JobType("GATHERED", Picture, result=bytes), batch=5)
async def gathered(jobs: Sequence[BulkJob[Picture, bytes]]) -> list[bytes | BaseException]:
    async def one(job: BulkJob[Picture, bytes]) -> bytes:
        return b"1"

    return await asyncio.gather(*map(one, jobs), return_exceptions=True)


bulk: BulkHandler[Order, Report] = many_reports
service.register_handler(REPORT, many_reports, batch=10)
service.register_handler(REPORT, bulk, batch=10, within=1)
blocking.register_handler("ANYTHING_AT_ONCE", many_things, batch=10)


@service.handler("STEPS_IN_A_THREAD")
def in_steps_in_a_thread(job: Job[dict[str, Any]]) -> None:
    steps = job.blocking
    reveal_type(steps.step("quote", quote, Order(1)))  # R: accepted.Person
    reveal_type(steps.step("weigh", weigh, Picture(1)))  # R: float
    steps.sleep(60)
    reveal_type(steps.wait_for("approved", type=Order))  # R: accepted.Order
    blocking.signal(job.id, "approved", True)


stop_listening = service.on("job.failed", lambda event: print(event.kind, event.message))
service.on("*", print)
blocking.on("schedule.fired", lambda event: print(event.jobs[0]))


async def hear(event: JobFailed) -> None:
    stop_listening()


service.on("job.failed", hear)


async def listen() -> None:
    async for event in service.events("job.completed"):
        reveal_type(event)  # R: backroom.event.JobCompleted
    async for any_event in service.events():
        reveal_type(any_event)  # R: backroom.event.Event
