"""What a test may say of scheduled jobs, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict
from unittest.mock import ANY

import msgspec
import pydantic
import pytest

from backroom import JobRequest, JobType, OptionError, UnknownJobTypeError, fixed
from backroom.testing import Jobs
from tests.testing.app import MAIL, Mail, Shop


class Person(pydantic.BaseModel):
    name: str
    born: datetime


class Place(msgspec.Struct, rename="camel"):
    post_code: str
    tags: list[str] = []


class Plain(TypedDict):
    number: int


@dataclass
class Nested:
    mail: Mail
    more: list[Mail] = field(default_factory=list)


async def test_fields_and_options_side_by_side(shop: Shop, jobs: Jobs) -> None:
    await shop.service.schedule(MAIL, Mail("welcome"), delay=60, priority="high")
    await shop.service.schedule(MAIL, Mail("welcome", "bob"))

    [job] = jobs.assert_scheduled(MAIL, recipient="ada@example.com", delay=60, count=1)
    assert (job.data, job.priority) == (Mail("welcome"), "high")
    jobs.assert_scheduled("MAIL", template="welcome", count=2)
    jobs.assert_scheduled(MAIL, delay=timedelta(minutes=1))
    jobs.assert_scheduled(MAIL, data=Mail("welcome", "bob"))
    jobs.assert_scheduled(MAIL, recipient=ANY, delay=pytest.approx(59.9, abs=1))
    jobs.assert_not_scheduled(MAIL, recipient="bob", delay=60)


async def test_a_field_with_the_name_of_an_option(shop: Shop, jobs: Jobs) -> None:
    await shop.service.schedule(MAIL, Mail("x", queue="a field"), queue="an-option")
    jobs.assert_scheduled(MAIL, queue="an-option")
    jobs.assert_scheduled(MAIL, data={"queue": "a field"}, options={"queue": "an-option"})
    jobs.assert_not_scheduled(MAIL, data={"queue": "an-option"})


async def test_every_option_and_who_said_it(shop: Shop, jobs: Jobs) -> None:
    run_at = datetime(2100, 1, 1, tzinfo=UTC)
    await shop.service.schedule(
        MAIL, Mail("x"), run_at=run_at, priority="low", queue="q", retries=1, retry_delay=2,
        backoff="fixed", timeout=3, expires_in=timedelta(days=99), unique_key="k", tags=["a", "b"],
        metadata={"m": 1},
    )  # fmt: skip
    jobs.assert_scheduled(
        MAIL, run_at=run_at, priority="low", queue="q", retries=1, retry_delay=2,
        backoff="fixed", timeout=timedelta(seconds=3), expires_in=99 * 86_400, unique_key="k",
        tags=["a", "b"], metadata={"m": 1}, count=1,
    )  # fmt: skip
    jobs.assert_scheduled(MAIL, backoff=fixed())

    await shop.service.schedule(MAIL, Mail("x"))
    jobs.assert_scheduled(
        MAIL, delay=0, priority="normal", queue="default", retries=3, retry_delay=60, timeout=300,
        expires_in=None, unique_key=None, tags=[], metadata={}, count=1,
    )  # fmt: skip


CASES: list[tuple[Any, Any, dict[str, Any]]] = [
    (Person, Person(name="Ada", born=datetime(1815, 12, 10, tzinfo=UTC)),
     {"born": datetime(1815, 12, 10, tzinfo=UTC), "name": "Ada"}),
    (Place, Place("SW1", ["a"]), {"post_code": "SW1"}),
    (Plain, {"number": 1}, {"number": 1}),
    (Nested, Nested(Mail("a"), [Mail("b")]), {"mail": Mail("a"), "more": [Mail("b")]}),
    (Nested, Nested(Mail("a")),
     {"mail": {"template": "a", "recipient": "ada@example.com", "queue": None}}),
    (list[int], [1, 2], {"data": [1, 2]}),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "data", "expected"), CASES)
async def test_data_of_every_kind(
    shop: Shop, jobs: Jobs, type_: Any, data: Any, expected: dict[str, Any]
) -> None:
    kind: JobType[Any, Any] = JobType("KIND", type_)
    await shop.service.schedule(kind, data)
    jobs.assert_scheduled(kind, **expected)
    assert jobs.scheduled(kind)[0].data == data


async def test_types_without_a_schema(shop: Shop, jobs: Jobs) -> None:
    shop.service.declare("CLEAN_UP")
    await shop.service.schedule("CLEAN_UP", {"older_than": 30})
    jobs.assert_scheduled("CLEAN_UP", older_than=30)
    jobs.assert_not_scheduled("CLEAN_UP", anything=None)


async def test_a_job_that_was_there_already_was_not_scheduled(shop: Shop, jobs: Jobs) -> None:
    for _ in range(3):
        await shop.service.schedule(MAIL, Mail("x"), unique_key="once")
    await shop.service.schedule_many([JobRequest(MAIL, Mail("y")), JobRequest(MAIL, Mail("z"))])
    jobs.assert_scheduled(MAIL, unique_key="once", count=1)
    assert [job.data.template for job in jobs.scheduled(MAIL)] == ["x", "y", "z"]


async def test_what_has_run_was_still_scheduled(shop: Shop, jobs: Jobs) -> None:
    await shop.service.schedule(MAIL, Mail("x"), delay=60)
    await jobs.advance(timedelta(days=30))  # Retention has removed it.
    assert len(await shop.service.get_jobs()) == 0
    jobs.assert_scheduled(MAIL, delay=60)


async def test_the_message_shows_the_nearest_job_and_the_others(shop: Shop, jobs: Jobs) -> None:
    shop.service.declare("CLEAN_UP")
    await shop.service.schedule(MAIL, Mail("welcome", "bob@example.com"), delay=60)
    await shop.service.schedule(MAIL, Mail("goodbye", "bob@example.com"))
    await shop.service.schedule("CLEAN_UP", {"older_than": 30}, queue="night")

    with pytest.raises(AssertionError) as failed:
        jobs.assert_scheduled(MAIL, template="welcome", recipient="ada@example.com", delay=120)

    assert str(failed.value) == (
        "no job is MAIL with template='welcome', recipient='ada@example.com', delay=120\n"
        "the nearest is MAIL(template='welcome', recipient='bob@example.com', queue=None)"
        " with delay=60\n"
        "    recipient: expected 'ada@example.com'\n"
        "               found    'bob@example.com'\n"
        "    delay: expected 120\n"
        "           found    60\n"
        "also scheduled:\n"
        "    MAIL(template='goodbye', recipient='bob@example.com', queue=None)\n"
        "    CLEAN_UP(older_than=30) with queue='night'"
    )


async def test_the_message_where_nothing_is_near(shop: Shop, jobs: Jobs) -> None:
    with pytest.raises(AssertionError, match=r"^no job is MAIL\nnothing else was scheduled$"):
        jobs.assert_scheduled(MAIL)
    await shop.service.schedule("THREAD")
    with pytest.raises(AssertionError, match=r"^no job is MAIL\nscheduled were:\n    THREAD\(\)$"):
        jobs.assert_scheduled(MAIL)


async def test_the_message_of_a_wrong_count(shop: Shop, jobs: Jobs) -> None:
    for number in range(12):
        await shop.service.schedule(MAIL, Mail("x", str(number)))
    with pytest.raises(AssertionError, match=r"^12 jobs are MAIL with template='x', expected 1:"):
        jobs.assert_scheduled(MAIL, template="x", count=1)
    with pytest.raises(AssertionError, match=r"and 2 more$"):
        jobs.assert_not_scheduled()
    with pytest.raises(AssertionError, match="expected 3\nthe nearest is"):
        jobs.assert_scheduled(MAIL, template="y", count=3)
    jobs.assert_scheduled(MAIL, template="y", count=0)


async def test_the_message_of_what_should_not_have_been(shop: Shop, jobs: Jobs) -> None:
    jobs.assert_not_scheduled()
    await shop.service.schedule(MAIL, Mail("x"))
    with pytest.raises(AssertionError, match=r"^MAIL with template='x' was scheduled, and should"):
        jobs.assert_not_scheduled(MAIL, template="x")


async def test_a_long_value_is_cut(shop: Shop, jobs: Jobs) -> None:
    await shop.service.schedule(MAIL, Mail("x" * 10_000))
    with pytest.raises(AssertionError) as failed:
        jobs.assert_scheduled(MAIL, template="y" * 10_000)
    assert len(str(failed.value)) < 2000


def test_slips_are_told_at_once(jobs: Jobs) -> None:
    with pytest.raises(OptionError, match="no option 'recipent'; did you mean 'recipient'"):
        jobs.assert_scheduled(MAIL, recipent="ada")
    with pytest.raises(OptionError, match="did you mean 'delay'"):
        jobs.assert_not_scheduled(MAIL, options={"dealy": 1})
    with pytest.raises(OptionError, match="naive"):
        jobs.assert_scheduled(MAIL, run_at=datetime(2026, 1, 1))
    with pytest.raises(UnknownJobTypeError, match="did you mean 'MAIL'"):
        jobs.assert_scheduled("MALL")
    with pytest.raises(OptionError, match="of which type"):
        jobs.assert_not_scheduled(delay=60)
