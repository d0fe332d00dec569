"""Code that must not type-check: each mistake is found on its own line, by the code that the
mark names. Run by `test_typing.py`; never imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pydantic

from backroom import (
    BulkJob,
    Cron,
    Job,
    JobCompleted,
    JobId,
    JobRequest,
    JobScheduler,
    JobService,
    JobServiceProtocol,
    JobType,
    Schedule,
    Unique,
    blocking,
    testing,
)


@dataclass
class Order:
    number: int


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
REPORT = JobType("REPORT", Order, result=Report)
MAIL = JobType("MAIL", Mail)
PICTURE = JobType("PICTURE", Picture, result=int)
PERSON = JobType("PERSON", Person)

JobType("ORDER", Order, retry=3)  # E: call-overload
JobType("ORDER", Order, retries="3")  # E: call-overload
JobType("ORDER", Order, unique="number")  # E: call-overload
Unique("number")  # E: call-arg
Unique(by="data", until="never")  # E: arg-type
Unique(by="data", on_conflict="ignore")  # E: arg-type
JobType("ORDER", Order, priority="urgent")  # E: call-overload
JobType("ORDER", Order, result=Report, delay=3)  # E: call-overload
JobType("ORDER", Order(1))  # E: call-overload
JobType(7, Order)  # E: call-overload


def two(data: Order, more: int) -> Order:
    return data


JobType("ORDER", Order, version="2")  # E: call-overload
JobType("ORDER", Order, version=2, upgrade={1: two})  # E: dict-item
JobType("ORDER", Order, version=2, upgrade={1: 7})  # E: dict-item
JobType("ORDER", Order, version=2, upgrade={"1": print})  # E: dict-item
JobType("ORDER", Order, version=2, upgrade=[print])  # E: call-overload
JobType("ORDER", Order, 2)  # E: call-overload

service = JobService()
JobService(storage=7)  # E: arg-type
JobService(concurrency="5")  # E: arg-type
JobService(workers=5)  # E: call-arg
JobService(queues=["mail"])  # E: arg-type


async def data() -> None:
    await service.schedule(ORDER, Mail(recipient="ada"))  # E: misc
    await service.schedule(ORDER, {"number": 7})  # E: misc
    await service.schedule(ORDER)  # E: call-overload
    await service.schedule(ORDER, Order("7"))  # E: arg-type
    await service.schedule(MAIL, Mail(recipient=7))  # E: typeddict-item
    # mypy does not see a TypedDict in a literal here (pyright does); `Mail(...)` says it.
    await service.schedule(MAIL, {"recipient": "ada"})  # M: misc
    await service.schedule(MAIL, {"recipient": 7})  # E: misc
    await service.schedule(MAIL, {"recipient": "ada", "subject": "x"})  # E: misc
    await service.schedule(MAIL, {})  # E: misc
    await service.schedule(PICTURE, Order(1))  # E: misc
    await service.schedule(PERSON, {"name": "Ada"})  # E: misc
    await service.schedule(PERSON, Person(name=7))  # E: arg-type
    await service.schedule("BARE", Order(7))  # E: call-overload
    await service.schedule("BARE", [1])  # E: call-overload
    await service.schedule(7, {})  # E: call-overload


async def recurring() -> None:
    await service.cron("0 9 * * *", ORDER)  # E: call-overload
    await service.cron("0 9 * * *", ORDER, Mail(recipient="ada"))  # E: misc
    await service.cron("0 9 * * *", ORDER, Order(7), delay=5)  # E: call-overload
    await service.cron(60, ORDER, Order(7))  # E: call-overload
    await service.every("5m", ORDER, Order(7))  # E: call-overload
    await service.every(60, ORDER, Order(7), tz="UTC")  # E: call-overload
    await service.every(60, ORDER, Order(7), missed="all")  # E: call-overload
    service.handler(ORDER, cron="0 9 * * *")  # E: call-overload
    service.handler(ORDER, every="5m")  # E: call-overload
    JobType("ORDER", Order, cron=Cron("@daily"))  # E: call-overload
    JobType("ORDER", Order, limit=2)  # E: call-overload
    Schedule("0 9 * * *")  # E: arg-type
    Schedule(60, unique_key="x")  # E: call-arg


async def composing() -> None:
    async with service.workflow("import") as flow:
        flow.add(ORDER, Mail(recipient="ada"))  # E: misc
        flow.add(ORDER, Order(7), after="ORDER")  # E: arg-type
        flow.add(ORDER, Order(7), undo=ORDER)  # E: call-overload
    service.workflow("import", on_failure="retry")  # E: arg-type
    service.batch("mails", on_success=ORDER)  # E: arg-type


async def options() -> None:
    await service.schedule(ORDER, Order(7), priority="urgent")  # E: call-overload
    await service.schedule(ORDER, Order(7), prioritiy="low")  # E: call-overload
    await service.schedule(ORDER, Order(7), unique="number")  # E: call-overload
    await service.schedule(ORDER, Order(7), delay="60")  # E: call-overload
    await service.schedule(ORDER, Order(7), run_at="tomorrow")  # E: call-overload
    await service.schedule(ORDER, Order(7), retries=1.5)  # E: call-overload
    await service.schedule(ORDER, Order(7), backoff=lambda retry: 1.0)  # E: call-overload
    await service.schedule(ORDER, Order(7), {"delay": 60})  # E: call-overload
    await service.schedule("BARE", {}, tags="a", queue=7)  # E: call-overload


@service.handler(ORDER)  # E: arg-type
async def wrong_argument(job: Job[Report]) -> None: ...


@service.handler(REPORT)  # E: arg-type
async def wrong_result(job: Job[Order]) -> str:
    return ""


@service.handler(REPORT)  # E: arg-type
async def no_result(job: Job[Order]) -> None: ...


@service.handler(REPORT)  # E: arg-type
def wrong_plain_result(job: Job[Order]) -> int:
    return 1


@service.handler(ORDER)  # E: arg-type
async def too_many(job: Job[Order], other: int) -> None: ...


@service.handler(ORDER, retry=3)  # E: call-overload, untyped-decorator
async def wrong_option(job: Job[Order]) -> None: ...


@service.handler(ORDER, timeout="5")  # E: call-overload, untyped-decorator
async def wrong_value(job: Job[Order]) -> None: ...


async def report(job: Job[Order]) -> Report:
    print(job.data.pages)  # E: attr-defined
    job.data = Order(2)
    job.progress("half")  # E: arg-type
    return Report(1)


service.register_handler(PICTURE, report)  # E: arg-type
service.register_handler(REPORT, report, retries="3")  # E: call-overload
service.register_handler(REPORT, 7)  # E: call-overload


async def results() -> None:
    job_id = await service.schedule(PICTURE, Picture(1))
    text: str = await service.result(job_id)  # E: arg-type
    wrong: JobId[str] = job_id  # E: assignment
    await service.result("019c")  # E: arg-type
    await service.result(job_id, 5)  # E: call-arg
    print(text, wrong)
    service.result(job_id)  # E: unused-coroutine
    service.schedule(ORDER, Order(1))  # E: unused-coroutine


async def many() -> None:
    JobRequest(ORDER, Mail(recipient="ada"))  # E: misc
    JobRequest(ORDER, Order(1), prio="low")  # E: call-overload
    JobRequest("BARE", 7)  # E: call-overload
    await service.schedule_many([(ORDER, Order(1))])  # E: arg-type
    one = JobRequest(PICTURE, Picture(1))
    ids: list[JobId[str]] = await service.schedule_many([one])  # E: list-item
    print(ids)


async def look() -> None:
    await service.get_jobs(state="failed")  # E: call-arg
    await service.get_jobs(limit="10")  # E: arg-type
    await service.cancel_jobs(job="019c")  # E: call-arg
    await service.search_jobs(colour="red")  # E: call-arg
    await service.limit_queue("mail", "3")  # E: arg-type
    info = await service.get_job("019c")
    info.status = "failed"  # E: assignment, misc
    print(info.state)  # E: attr-defined


class Half:
    async def schedule(self, type: Any, data: Any = None, /, **options: Any) -> JobId[Any]:
        return JobId("019c")


def protocols() -> None:
    scheduler: JobScheduler = Half()  # E: assignment
    whole: JobServiceProtocol = scheduler  # E: assignment
    print(whole)


@service.task
def add(a: int, b: int = 0) -> int:
    return a + b


@service.task(retries=3)
async def fetch(url: str) -> bytes:
    return url.encode()


service.task(retrys=3)  # E: call-overload
service.task(isolation="thread")  # E: call-overload


async def function_style() -> None:
    await add.schedule("1")  # E: arg-type
    await add.schedule()  # E: call-arg
    await add.schedule(1, c=2)  # E: call-arg
    await fetch.schedule(url=1)  # E: arg-type
    add.options(delay="soon")  # E: arg-type
    text: str = await service.result(await add.schedule(1))  # E: arg-type
    number: int = await fetch("a")  # E: assignment
    print(text, number)


plain = blocking.JobService()
blocking.JobService(storage=7)  # E: call-overload
blocking.JobService(workers=5)  # E: call-overload
blocking.JobService("memory:", service=service)  # E: call-overload
blocking.JobService(service=plain)  # E: call-overload


@plain.handler(REPORT)  # E: arg-type
def plain_report(job: Job[Order]) -> int:
    return 1


async def blocked() -> None:
    plain.schedule(ORDER, Mail(recipient="ada"))  # E: misc
    plain.schedule(ORDER, Order(7), priority="urgent")  # E: call-overload
    plain.schedule("BARE", Order(7))  # E: call-overload
    wrong: JobId[str] = plain.schedule(PICTURE, Picture(1))  # E: arg-type
    plain.result("019c")  # E: arg-type
    await plain.schedule(ORDER, Order(1))  # E: misc
    async with plain:  # E: attr-defined, attr-defined
        print(wrong)
    scheduler: JobScheduler = plain  # E: assignment
    print(scheduler)


async def kit(jobs: testing.Jobs) -> None:
    jobs.assert_scheduled(7)  # E: call-overload
    jobs.assert_scheduled(ORDER, count="1")  # E: call-overload
    print(jobs.scheduled(ORDER)[0].data.name)  # E: attr-defined
    jobs.fail(ORDER, error="no route")  # E: arg-type
    jobs.kill(ORDER, when="during")  # E: arg-type
    await jobs.advance(Order(1))  # E: arg-type
    jobs.drain()  # E: unused-coroutine
    testing.run_virtual(print)  # E: arg-type
    testing.kit(ORDER)  # E: arg-type


def crash_test() -> None:
    testing.crash_test(service, ORDER, Mail(recipient="ada"))  # E: misc
    testing.crash_test(service, "BARE", Order(7))  # E: call-overload
    testing.assert_safe_to_rerun(service, ORDER, Order(7), kinds=["flood"])  # E: list-item
    testing.assert_safe_to_rerun(service, ORDER, Order(7), priority="urgent")  # E: call-overload


async def quote(order: Order, *, rush: bool = False) -> int:
    return order.number


async def in_steps(job: Job[Order]) -> None:
    await job.step("quote", quote, 7)  # E: call-overload
    await job.step("quote", quote, Order(7), slow=True)  # E: call-arg
    await job.step(quote, Order(7))  # E: call-overload
    wrong: str = await job.step("quote", quote, Order(7))  # E: call-overload
    job.step("quote", quote, Order(7))  # E: unused-coroutine
    job.sleep("1d")  # E: unused-coroutine
    await job.sleep([1])  # E: arg-type
    other: str = await job.wait_for("approved", type=Order)  # E: arg-type
    print(wrong, other)


@service.handler(REPORT, batch=10)  # E: arg-type
async def one_of_many(job: Job[Order]) -> Report:
    return Report(1)


@service.handler(REPORT)  # E: arg-type
async def many_of_one(jobs: Sequence[BulkJob[Order, Report]]) -> None: ...


@service.handler(REPORT, batch=10)
async def says_wrong(jobs: Sequence[BulkJob[Order, Report]]) -> None:
    jobs[0].succeed("a page")  # E: arg-type
    jobs[0].succeed()  # E: call-arg
    jobs[0].fail(5)  # E: arg-type
    jobs[0].fail("no", retry_in="1d")  # E: arg-type
    jobs[0].snooze("1d")  # E: arg-type


@service.handler(REPORT, batch=10)  # E: arg-type
def returns_wrong(jobs: Sequence[BulkJob[Order, Report]]) -> list[str]:
    return ["a page"]


service.handler(REPORT, within=1)  # E: call-overload
service.handler(REPORT, batch="ten")  # E: call-overload
service.handler("NAME", batch=10, within="soon")  # E: call-overload
JobType("ORDER", Order, batch=10)  # E: call-overload


def of_success(event: JobCompleted) -> None: ...


JobService().on("job.failed", of_success)  # E: arg-type
JobService().on("*", of_success)  # E: arg-type
