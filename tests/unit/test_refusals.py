"""Bad input: every refusal names the thing, the place and the mend, and stores nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, TypedDict
from uuid import UUID, uuid4

import pydantic
import pytest

from backroom import (
    Backoff,
    BackroomError,
    ConfigurationError,
    FileJobStorage,
    Job,
    JobCancelledError,
    JobId,
    JobNotFoundError,
    JobRequest,
    JobService,
    JobStatus,
    JobType,
    JobTypeError,
    MemoryJobStorage,
    OptionError,
    PayloadTooLargeError,
    Unique,
    UnknownJobTypeError,
)


@dataclass
class SendEmail:
    template: str
    recipient: str
    subject: str | None = None


class Mail(TypedDict):
    recipient: str


class Person(pydantic.BaseModel):
    name: str


SEND_EMAIL = JobType("SEND_EMAIL", SendEmail)
MAIL = JobType("MAIL", Mail)
PERSON = JobType("PERSON", Person)
GOOD = SendEmail("welcome", "ada@example.com")
NAN, INF = float("nan"), float("inf")

Call = Callable[[JobService], Awaitable[object]]
request: Callable[..., JobRequest[Any]] = JobRequest
"""Without the overloads: a type checker refuses most of what stands here."""


async def send(job: Job[Any]) -> None: ...


@pytest.fixture
async def service() -> AsyncIterator[JobService]:
    service = JobService("memory:", max_payload=1000)
    service.declare(SEND_EMAIL)
    service.declare("BARE")
    yield service
    await service.stop()


async def stored(service: JobService) -> tuple[list[Any], tuple[Any, ...]]:
    return list(await service.get_jobs()), (await service.get_stats()).queues


def scheduled(type_: Any, data: Any = None, **options: Any) -> Call:
    return lambda service: service.schedule(type_, data, **options)


def optioned(**options: Any) -> Call:
    return scheduled(SEND_EMAIL, GOOD, **options)


BAD_DATA: Mapping[str, tuple[Call, type[BackroomError], list[str]]] = {
    "unknown type": (
        scheduled("SEND_EMIAL", {}),
        UnknownJobTypeError,
        ["job type 'SEND_EMIAL' is not declared", "did you mean 'SEND_EMAIL'?",
         "in this process: make it known there by a JobType, a handler or `declare`"],
    ),
    "unknown type, nothing near": (
        scheduled("INVOICE", {}), UnknownJobTypeError,
        ["'INVOICE'", "a JobType, a handler or `declare`"],
    ),
    "type that is none": (scheduled(7, {}), UnknownJobTypeError, ["job type 7"]),
    "type that cannot be a key": (scheduled([], {}), UnknownJobTypeError, ["job type []"]),
    "wrong field": (
        scheduled(SEND_EMAIL, {"template": "welcome", "recipient": 7}),
        JobTypeError,
        ["SEND_EMAIL: expected str at $.recipient of the data, got int"],
    ),
    "wrong field of an instance": (
        scheduled(SEND_EMAIL, SendEmail("welcome", 7)),  # type: ignore[arg-type]
        JobTypeError,
        ["SEND_EMAIL: expected str at $.recipient of the data, got int"],
    ),
    "missing field": (
        scheduled(SEND_EMAIL, {"template": "welcome"}),
        JobTypeError,
        ["SEND_EMAIL: ", "missing required field recipient at $ of the data"],
    ),
    "unknown field": (
        scheduled(SEND_EMAIL, {"template": "t", "recipient": "r", "subjet": "s"}),
        JobTypeError,
        ["SEND_EMAIL: unknown key $.subjet in the data", "SendEmail has no such field"],
    ),
    "no data": (scheduled(SEND_EMAIL), JobTypeError, ["SEND_EMAIL: expected object at $", "null"]),
    "typed dict": (scheduled(MAIL, {"recipient": 7}), JobTypeError, ["MAIL: ", "$.recipient"]),
    "pydantic": (scheduled(PERSON, {"name": 7}), JobTypeError, ["PERSON: ", "(field name)"]),
    "a list under a bare name": (scheduled("BARE", [1]), JobTypeError, ["BARE: expected object"]),
    "no JSON": (scheduled("BARE", {"a": object()}), JobTypeError, ["BARE: the data cannot be enc"]),
    "NaN": (scheduled("BARE", {"a": NAN}), JobTypeError, ["BARE: NaN", "$.a", "give None"]),
    "surrogate": (scheduled("BARE", {"a": "\ud800"}), JobTypeError, ["BARE: the data cannot be"]),
    "over the limit": (
        scheduled(SEND_EMAIL, SendEmail("x" * 1000, "r")),
        PayloadTooLargeError,
        ["SEND_EMAIL: the data has 1,0", "bytes as JSON, the limit is 1,000", "keep large things"],
    ),
    "over the limit in bytes only": (
        scheduled("BARE", {"a": "ü" * 600}), PayloadTooLargeError, ["BARE: the data has 1,208 by"],
    ),
}  # fmt: skip

BAD_OPTIONS: Mapping[str, tuple[Call, list[str]]] = {
    "negative delay": (optioned(delay=-1), ["delay must be 0 to", "got -1"]),
    "negative timedelta": (optioned(delay=timedelta(-1)), ["delay must be 0 to", "got -86400.0"]),
    "absurd delay": (optioned(delay=1e12), ["delay must be 0 to 3162240000 seconds"]),
    "longest timedelta": (optioned(delay=timedelta.max), ["delay must be 0 to"]),
    "endless delay": (optioned(delay=INF), ["delay must be", "got inf"]),
    "NaN delay": (optioned(delay=NAN), ["delay must be", "got nan"]),
    "delay in words": (optioned(delay="1h"), ["delay must be seconds or a timedelta, got '1h'"]),
    "true delay": (optioned(delay=True), ["delay must be seconds or a timedelta, got True"]),
    "naive moment": (
        optioned(run_at=datetime(2026, 3, 1, 12)),
        ["run_at must be an aware datetime", "naive 2026-03-01T12:00:00", "datetime.now(timez"],
    ),
    "moment in words": (optioned(run_at="tomorrow"), ["run_at must be an aware datetime, got '"]),
    "delay and moment": (
        optioned(delay=1, run_at=datetime.now(UTC)), ["give delay or run_at, not both"],
    ),
    "negative retries": (optioned(retries=-1), ["retries must be a whole number from 0 to 1000"]),
    "true retries": (optioned(retries=True), ["retries must be a whole number", "got True"]),
    "half retries": (optioned(retries=1.5), ["retries must be a whole number", "got 1.5"]),
    "too many retries": (optioned(retries=1001), ["retries must be a whole number from 0 to 1000"]),
    "priority": (
        optioned(priority="urgent"), ["priority must be one of critical, high, normal, low, got '"],
    ),
    "numeric priority": (optioned(priority=1), ["priority must be one of", "got 1"]),
    "unknown option": (
        optioned(retry=3), ["unknown option 'retry'; did you mean 'retries'?", "known are prior"],
    ),
    "option of another kind": (optioned(cron="* * * * *"), ["unknown option 'cron'; known are"]),
    "timeout of nothing": (optioned(timeout=0), ["timeout must be more than 0"]),
    "expiry of nothing": (optioned(expires_in=0), ["expires_in must be more than 0"]),
    "negative retry delay": (optioned(retry_delay=-1), ["retry_delay must be 0 to"]),
    "unknown backoff": (optioned(backoff="quadratic"), ['backoff must be "fixed", "linear", "exp']),
    "backoff of code": (
        optioned(backoff=lambda retry: 1.0), ["backoff must be", "in the store cannot hold code"],
    ),
    "backoff out of range": (optioned(backoff=Backoff(factor=0)), ["backoff factor must be 1 to"]),
    "backoff of no kind": (
        optioned(backoff=Backoff("cubic")),  # type: ignore[arg-type]
        ["this is no backoff", "build one with fixed(), linear() or exponential()"],
    ),
    "queue without a name": (optioned(queue=""), ["a queue needs a name of 1 to 200 printable"]),
    "queue with a line": (optioned(queue="a\nb"), ["a queue needs a name", "got 'a\\nb'"]),
    "queue that is none": (optioned(queue=7), ["a queue needs a name", "got 7"]),
    "key without a text": (optioned(unique_key=""), ["unique_key must be a text of 1 to 500"]),
    "key that is none": (optioned(unique_key=7), ["unique_key must be a text"]),
    "key too long": (optioned(unique_key="x" * 501), ["unique_key must be a text of 1 to 500"]),
    "key with a zero": (optioned(unique_key="a\0b"), ["unique_key must be a text"]),
    "key with half a pair": (optioned(unique_key="\ud800"), ["unique_key"]),
    "unique that is none": (
        optioned(unique="k"), ["unique must be a Unique, such as Unique(by='data'), got 'k'"],
    ),
    "unique by nothing": (
        optioned(unique=Unique()), ["needs either key= or by=", "say what makes two jobs the same"],
    ),
    "unique twice": (optioned(unique=Unique(key="k", by="data")), ["needs either key= or by="]),
    "unique and its short form": (
        optioned(unique=Unique(key="k"), unique_key="k"), ["give unique or unique_key"],
    ),
    "unique without a key": (optioned(unique=Unique(key="")), ["unique: key must be a text of 1"]),
    "unique by a word": (
        optioned(unique=Unique(by="user_id")), ["by must be 'data', 'type', or a field such as"],
    ),
    "unique by half a path": (optioned(unique=Unique(by="data.")), ["got 'data.'"]),
    "unique by no list": (optioned(unique=Unique(by=[])), ["1 to 20 of them, got []"]),
    "unique by a number": (optioned(unique=Unique(by=7)), ["unique: by must be"]),  # type: ignore[arg-type]
    "unique by all and a field": (optioned(unique=Unique(by=["data", "data.a"])), ["got 'data'"]),
    "unique by a field twice": (
        optioned(unique=Unique(by=["data.a", "data.a"])), ["names the same field twice"],
    ),
    "unique by a field that is not there": (
        optioned(unique=Unique(by="data.user")),
        ["SEND_EMAIL: unique: by data.user: data has no field 'user', it has template, recip"],
    ),
    "unique until and for": (
        optioned(unique=Unique(key="k", until="end", period=1)), ["takes until or period, not b"],
    ),
    "unique until never": (
        optioned(unique=Unique(key="k", until="never")),  # type: ignore[arg-type]
        ['until must be "end" or "start", got \'never\''],
    ),
    "unique for no time": (
        optioned(unique=Unique(key="k", period=0)), ["unique: period must be more than 0"],
    ),
    "unique with another word": (
        optioned(unique=Unique(key="k", on_conflict="ignore")),  # type: ignore[arg-type]
        ["on_conflict must be one of existing, replace, raise, got 'ignore'"],
    ),
    "tags as a text": (optioned(tags="a,b"), ["tags must be a list of words, got 'a,b'"]),
    "tags that are none": (optioned(tags=[7]), ["a tag is 1 to 100 printable characters, got 7"]),
    "empty tag": (optioned(tags=[""]), ["a tag is 1 to 100 printable characters"]),
    "many tags": (optioned(tags=["t"] * 21), ["at most 20 tags, got 21"]),
    "metadata that is none": (optioned(metadata=[1]), ["metadata must be a JSON object, got [1]"]),
    "metadata no JSON": (optioned(metadata={"a": object()}), ["metadata", "cannot be encoded"]),
    "metadata NaN": (optioned(metadata={"a": NAN}), ["metadata", "NaN", "$.a"]),
    "large metadata": (
        optioned(metadata={"a": "x" * 20_000}), ["metadata may have 16,384 bytes as JSON, got 20,"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_DATA)
async def test_bad_data_is_refused_and_nothing_is_stored(service: JobService, case: str) -> None:
    call, kind, texts = BAD_DATA[case]
    with pytest.raises(kind) as caught:
        await call(service)
    for text in texts:
        assert text in str(caught.value)
    assert await stored(service) == ([], ())


@pytest.mark.parametrize("case", BAD_OPTIONS)
async def test_a_bad_option_is_refused_and_nothing_is_stored(
    service: JobService, case: str
) -> None:
    call, texts = BAD_OPTIONS[case]
    with pytest.raises(OptionError) as caught:
        await call(service)
    for text in ["SEND_EMAIL: ", *texts]:
        assert text in str(caught.value)
    assert await stored(service) == ([], ())


@pytest.mark.parametrize("case", BAD_DATA)
async def test_no_message_is_longer_than_what_a_terminal_shows(
    service: JobService, case: str
) -> None:
    call, kind, _ = BAD_DATA[case]
    with pytest.raises(kind) as caught:
        await call(service)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("at", [0, 7, 749, 999])
@pytest.mark.parametrize(
    ("bad", "kind", "text"),
    [
        (request("SEND_EMIAL", {}), UnknownJobTypeError, "'SEND_EMIAL' is not declared"),
        (request(SEND_EMAIL, {"template": 1}), JobTypeError, "SEND_EMAIL: expected str at $.temp"),
        (request("BARE", {}, delay=-1), OptionError, "BARE: delay must be"),
        (request("BARE", {}, priotity="low"), OptionError, "did you mean 'priority'?"),
        (request("BARE", {"a": "x" * 1000}), PayloadTooLargeError, "the limit is 1,000"),
        (("BARE", {}), OptionError, "expected a JobRequest, got ('BARE', {})"),
        (request(JobType("SEND_EMAIL", Mail), {}), ConfigurationError, "two types of data"),
        (request([], {}), UnknownJobTypeError, "job type []"),
    ],
    ids=["type", "data", "option", "name", "size", "tuple", "two types", "list"],
)
async def test_schedule_many_names_the_index_and_stores_nothing(
    service: JobService, at: int, bad: Any, kind: type[BackroomError], text: str
) -> None:
    requests: list[Any] = [JobRequest("BARE", {"n": n}) for n in range(1000)]
    requests[at] = bad
    with pytest.raises(kind) as caught:
        await service.schedule_many(requests)
    assert f"job {at} of schedule_many: " in str(caught.value)
    assert text in str(caught.value)
    assert caught.value.index == at
    assert await stored(service) == ([], ())


async def test_schedule_many_takes_a_bounded_number(service: JobService) -> None:
    with pytest.raises(OptionError, match="schedule_many takes 100,000 jobs, got 100,001"):
        await service.schedule_many([JobRequest("BARE")] * 100_001)
    assert await service.schedule_many([]) == []
    with pytest.raises(OptionError, match="takes a list of JobRequests, got None"):
        await service.schedule_many(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        ({"concurrency": 0}, ["concurrency must be a whole number from 1 to 10,000, got 0"]),
        ({"concurrency": -1}, ["concurrency must be", "got -1"]),
        ({"concurrency": 10_001}, ["concurrency must be"]),
        ({"concurrency": True}, ["concurrency must be", "got True"]),
        ({"concurrency": 1.5}, ["concurrency must be", "got 1.5"]),
        ({"concurrency": "5"}, ["concurrency must be", "got '5'"]),
        ({"queues": {"mail": 0}}, ["the concurrency of queue 'mail' must be", "got 0"]),
        ({"queues": {"": 1}}, ["a queue needs a name"]),
        ({"only": "mail"}, ["only must be a list of queue names, got 'mail'"]),
        ({"only": []}, ["only must be a list of queue names, got []"]),
        ({"only": [7]}, ["a queue needs a name", "got 7"]),
        ({"poll_interval": 0}, ["poll_interval must be 0.01 to 3600 seconds, got 0"]),
        ({"poll_interval": NAN}, ["poll_interval must be", "got nan"]),
        ({"lease": 0.5}, ["lease must be 1 to 3600 seconds, got 0.5"]),
        ({"default_retry_limit": -1}, ["default_retry_limit: retries must be", "got -1"]),
        ({"default_retry_limit": True}, ["default_retry_limit: ", "got True"]),
        ({"default_retry_delay": -1}, ["default_retry_delay must be", "got -1"]),
        ({"default_timeout": 0}, ["default_timeout must be 0.001 to", "got 0"]),
        ({"default_timeout": "5m"}, ["default_timeout must be seconds or a timedelta, got '5m'"]),
        ({"starvation_after": -1}, ["starvation_after must be", "got -1"]),
        ({"max_payload": 0}, ["max_payload must be 1 to 268,435,456 bytes, got 0"]),
        ({"max_payload": 1.5}, ["max_payload must be"]),
    ],
)
async def test_a_setting_that_makes_no_sense_is_refused(
    settings: dict[str, Any], texts: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        JobService("memory:", **settings)
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("url", "texts", "hidden"),
    [
        (
            "redis://:secret@cache:6379/0",
            ["no storage for redis yet", "use file:, postgresql: or memory:"],
            "secret",
        ),
        ("rediss://cache", ["no storage for rediss yet"], None),
        (
            "mysql://ada:secret@db/jobs",
            ["'mysql://ada:***@db/jobs' is no storage", '"memory:"'],
            "secret",
        ),
        ("mysql://ada:s:e@c@db/jobs", ["is no storage"], "s:e@c"),
        ("mysql://ada:se%20cret@db/jobs", ["is no storage"], "se%20cret"),
        ("http://[ada:secret@db", ["is no storage"], "secret"),
        (
            "jobs",
            ['\'jobs\' is no storage; use "memory:", "file:./storage/jobs" or "postgresql:'],
            None,
        ),
        ("", ["'' is no storage"], None),
        ("file:", ["'file:' is no storage"], None),
        ("memory", ["'memory' is no storage"], None),
    ],
)
async def test_a_bad_url_is_refused_and_shows_no_password(
    url: str, texts: list[str], hidden: str | None
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        JobService(url)
    for text in texts:
        assert text in str(caught.value)
    if hidden is not None:
        assert hidden not in str(caught.value)


@pytest.mark.parametrize("storage", [7, object(), ["memory:"], b"memory:"])
async def test_what_is_no_storage_is_refused(storage: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no storage"):
        JobService(storage)


@pytest.mark.parametrize("build", [MemoryJobStorage, FileJobStorage])
@pytest.mark.parametrize("retention", [-1, NAN, "7d", True])
def test_a_retention_that_makes_no_sense_is_refused(build: Any, retention: Any) -> None:
    with pytest.raises(ConfigurationError, match="retention must be"):
        build(retention=retention)


async def test_a_handler_is_registered_once_and_two_types_for_one_name_are_refused() -> None:
    service = JobService("memory:")
    service.register_handler(SEND_EMAIL, send)
    with pytest.raises(ConfigurationError, match="SEND_EMAIL has a handler already"):
        service.register_handler("SEND_EMAIL", send)
    with pytest.raises(ConfigurationError, match="SEND_EMAIL has a handler already"):

        @service.handler("SEND_EMAIL")
        async def again(job: Job[Any]) -> None: ...

    with pytest.raises(ConfigurationError, match="SEND_EMAIL is declared with two types of data"):
        service.declare("SEND_EMAIL", Mail)
    with pytest.raises(ConfigurationError, match="SEND_EMAIL is declared with two types of data"):
        await service.schedule(JobType("SEND_EMAIL", Mail), Mail(recipient="r"))
    await service.stop()


@pytest.mark.parametrize(
    ("type_", "options", "text"),
    [
        (send, {}, 'send stands where a job type is expected: write @service.handler("NAME")'),
        (None, {}, "a job type needs a name"),
        ("BARE", {"retries": -1}, "BARE: retries must be"),
        (SEND_EMAIL, {"retry": 1}, "did you mean 'retries'?"),
    ],
)
def test_a_decorator_is_refused_before_it_decorates(
    service: JobService, type_: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        service.handler(type_, **options)
    assert text in str(caught.value)


async def test_texts_and_numbers_of_classes_of_their_own_are_taken(service: JobService) -> None:
    parent = await service.schedule("BARE")
    service.declare(JobId("CHILD"))
    child = await service.schedule(
        JobId("CHILD"),
        queue=parent,
        unique_key=parent,
        tags=[parent],
        metadata={parent: parent},
        retries=HTTPStatus(200),
    )
    info = await service.get_job(child)
    assert (info.type, info.queue, info.unique_key) == ("CHILD", parent, parent)
    assert (info.tags, info.metadata) == ((parent,), {parent: parent})
    assert info.options == {"retries": 200}


@pytest.mark.parametrize(
    ("look", "text"),
    [
        (lambda s: s.get_jobs(status="done"), "status must be one of scheduled, pending, blocked"),
        (lambda s: s.get_jobs(limit=0), "limit must be a whole number from 1 to 1000, got 0"),
        (lambda s: s.get_jobs(limit=1001), "limit must be"),
        (lambda s: s.get_jobs(limit=True), "limit must be"),
        (lambda s: s.get_jobs(cursor="x"), "'x' is no cursor"),
        (lambda s: s.get_jobs(cursor="-1"), "'-1' is no cursor"),
        (lambda s: s.get_jobs(status=[]), "status must be one of"),
        (lambda s: s.get_jobs(cursor=5), "5 is no cursor"),
        (lambda s: s.get_jobs(cursor="\ud800"), "is no cursor"),
        (lambda s: s.get_jobs(queue=5), "a queue needs a name of 1 to 200 printable characters"),
        (lambda s: s.get_jobs(queue="\ud800"), "a queue needs a name"),
        (lambda s: s.get_jobs(queue=""), "a queue needs a name"),
        (lambda s: s.get_jobs(type=[1]), "a job type needs a name"),
        (lambda s: s.get_jobs(type="\ud800"), "a job type needs a name"),
        (lambda s: s.get_jobs(tag=object()), "a tag is 1 to 100 printable characters"),
        (lambda s: s.cancel_jobs(tag="\ud800"), "a tag is 1 to 100 printable characters"),
        (lambda s: s.cancel_jobs(queue=5), "a queue needs a name"),
        (lambda s: s.retry_jobs(type=5), "a job type needs a name"),
        (lambda s: s.pause_queue(5), "a queue needs a name"),
        (lambda s: s.resume_queue("a\nb"), "a queue needs a name"),
        (lambda s: s.retry_jobs(status="active"), "only ended jobs are retried in bulk"),
        (lambda s: s.retry_jobs(status=None), "retry_jobs needs a status"),
        (lambda s: s.retry_jobs(status=None, type="BARE"), "retry_jobs needs a status"),
        (lambda s: s.cancel_jobs(), "cancel_jobs needs a filter"),
        (lambda s: s.stop(grace=-1), "grace must be"),
        (lambda s: s.stop(grace=NAN), "grace must be"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    service: JobService, look: Call, text: str
) -> None:
    with pytest.raises(OptionError, match=text.replace("'", ".")):
        await look(service)


VERBS = ["get_job", "get_job_status", "result", "cancel_job", "retry_job", "delete_job"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("job_id", [None, 7, b"x", [1], JobStatus, uuid4])
async def test_what_is_no_id_is_refused_by_every_verb(
    service: JobService, verb: str, job_id: Any
) -> None:
    with pytest.raises(OptionError, match="a job id must be a text or a UUID, got"):
        await getattr(service, verb)(job_id)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("job_id", ["", "\ud800", "a\0b", uuid4()])
async def test_an_id_that_no_job_has_is_not_found_by_any_verb(
    service: JobService, verb: str, job_id: Any
) -> None:
    with pytest.raises(JobNotFoundError, match="no job has the id"):
        await getattr(service, verb)(job_id)


async def test_an_id_may_be_a_uuid(service: JobService) -> None:
    job_id = await service.schedule("BARE")
    same = UUID(job_id)
    assert (await service.get_job(same)).id == job_id
    assert await service.get_job_status(same) is JobStatus.PENDING
    assert await service.cancel_job(same) is JobStatus.CANCELLED
    with pytest.raises(JobCancelledError):
        await service.result(same)  # type: ignore[arg-type]  # it says nothing of the result
    await service.retry_job(same)
    await service.delete_job(same)
    assert await stored(service) == ([], (await service.get_stats()).queues)


async def test_filters_may_be_texts_of_classes_of_their_own(service: JobService) -> None:
    word: JobId[Any] = JobId("BARE")
    job_id = await service.schedule(word, queue=word, tags=[word])
    page = await service.get_jobs(type=word, queue=word, tag=word, cursor=JobId("1000"))
    assert [info.id for info in page] == [job_id]


async def test_a_started_service_is_not_configured(service: JobService) -> None:
    async with service:
        with pytest.raises(ConfigurationError, match="stop it first"):
            service.configure(concurrency=3)
    service.configure(concurrency=3, only=["mail"])
    assert service.concurrency == 3
    with pytest.raises(ConfigurationError, match="concurrency must be"):
        service.configure(concurrency=0)


def test_every_refusal_is_a_backroom_error_and_a_usual_one_too() -> None:
    assert issubclass(OptionError, (BackroomError, ValueError))
    usual = {
        ConfigurationError: ValueError,
        OptionError: ValueError,
        JobTypeError: TypeError,
        UnknownJobTypeError: LookupError,
        PayloadTooLargeError: ValueError,
    }
    for ours, theirs in usual.items():
        assert issubclass(ours, BackroomError)
        assert issubclass(ours, theirs)
