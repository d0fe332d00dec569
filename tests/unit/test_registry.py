"""What a process knows of job types and handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from functools import partial, wraps
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from backroom import ConfigurationError, Job, JobId, JobType, UnknownJobTypeError, exponential
from backroom.options import MAX_RETRIES, check_name, check_options, check_queue
from backroom.registry import Defaults, Registry
from backroom.retry import Backoff


@dataclass
class Mail:
    recipient: str


@dataclass
class Report:
    pages: int


MAIL = JobType("MAIL", Mail, queue="mail", retries=5)


async def send(job: Job[Any]) -> None: ...


def plain(job: Job[Any]) -> None: ...


@pytest.fixture
def registry() -> Registry:
    return Registry(Defaults(retries=3, retry_delay=60, timeout=300))


def test_what_nobody_said_is_the_default_of_the_service(registry: Registry) -> None:
    known = registry.declare("MAIL")
    assert (known.queue, known.priority, known.expires_in) == ("default", 2, None)
    assert (known.policy.retries, known.policy.retry_delay, known.policy.timeout) == (3, 60, 300)
    assert known.policy.backoff == Backoff("exponential", 2.0, 3600.0, "up")


def test_options_are_kept_as_plain_values(registry: Registry) -> None:
    registry.handle(
        "MAIL",
        send,
        {
            "priority": "critical",
            "retry_delay": timedelta(minutes=1),
            "timeout": 5,
            "expires_in": timedelta(hours=1),
            "backoff": "linear",
            "queue": None,
        },
    )
    known = registry.find("MAIL")
    assert (known.priority, known.expires_in, known.queue) == (0, 3600.0, "default")
    assert (known.policy.retry_delay, known.policy.timeout) == (60.0, 5.0)
    assert known.policy.backoff == Backoff("linear")


def test_declaring_the_same_again_changes_nothing(registry: Registry) -> None:
    first = registry.declare(MAIL)
    assert registry.declare("MAIL", Mail) is first
    assert registry.declare("MAIL") is first
    assert registry.declare(MAIL) is first
    assert first.policy.retries == 5


def test_a_type_may_be_said_after_its_name(registry: Registry) -> None:
    registry.declare("MAIL")
    known = registry.declare(MAIL)
    registry.handle("MAIL", send, {"retries": 1})
    assert (known.given.type, known.data.type) == (Mail, Mail)
    assert (known.queue, known.policy.retries) == ("mail", 1)  # the handler's word counts


@pytest.mark.parametrize("say", [Registry.declare, Registry.find])
def test_what_is_said_after_a_handler_does_not_change_what_it_gets(
    registry: Registry, say: Callable[..., Any]
) -> None:
    registry.handle("MAIL", send, {"retries": 1})
    known = say(registry, JobType("MAIL", Mail, result=Report, queue="mail", retries=5))
    assert (known.given.type, known.awaited.type) == (Mail, Report)
    assert (known.data.type, known.result) == (None, None)
    assert (known.queue, known.policy.retries) == ("mail", 1)
    with pytest.raises(ConfigurationError, match="two types of data"):
        say(registry, JobType("MAIL", Report))


@pytest.mark.parametrize("say", [Registry.declare, Registry.find])
def test_a_type_said_again_adds_what_was_not_said_before(
    registry: Registry, say: Callable[..., Any]
) -> None:
    registry.declare("MAIL", Mail)
    known = say(registry, JobType("MAIL", Mail, result=Report, queue="mail", priority="high"))
    assert (known.awaited.type, known.queue, known.priority) == (Report, "mail", 1)
    assert known.result is known.awaited
    say(registry, JobType("MAIL", Mail, queue="other", retries=7))
    assert (known.queue, known.priority, known.policy.retries) == ("mail", 1, 7)
    with pytest.raises(ConfigurationError, match="two types of result"):
        say(registry, JobType("MAIL", Mail, result=Mail))
    assert known.awaited.type is Report


def test_two_types_for_one_name_are_refused(registry: Registry) -> None:
    registry.declare("MAIL", Mail, Report)
    with pytest.raises(
        ConfigurationError, match=r"MAIL is declared with two types of data: .*Mail"
    ):
        registry.declare("MAIL", Report)
    with pytest.raises(ConfigurationError, match="MAIL is declared with two types of result"):
        registry.declare("MAIL", Mail, Mail)
    with pytest.raises(ConfigurationError, match="two types of data"):
        registry.find(JobType("MAIL", Report))
    assert registry.find("MAIL").data.type is Mail


@pytest.mark.parametrize("name", [[], {}, 5, None, "", "\n", send])
def test_what_is_no_name_declares_nothing(registry: Registry, name: Any) -> None:
    with pytest.raises(ConfigurationError, match="a job type needs a name"):
        registry.declare(name)
    assert registry.get("") is None


@pytest.mark.parametrize(
    "refused",
    [
        lambda registry: registry.declare("NEW", object),
        lambda registry: registry.declare("NEW", Mail, object),
        lambda registry: registry.find(JobType("NEW", object)),
        lambda registry: registry.handle(JobType("NEW", object), send, {}),
        lambda registry: registry.handle("NEW", 7, {}),
        lambda registry: registry.handle("NEW", send, {"retries": -1}),
    ],
)
def test_what_is_refused_leaves_nothing_declared(
    registry: Registry, refused: Callable[[Registry], None]
) -> None:
    with pytest.raises(ConfigurationError, match="NEW"):
        refused(registry)
    with pytest.raises(UnknownJobTypeError):
        registry.find("NEW")


def test_a_type_that_is_refused_the_second_time_adds_nothing(registry: Registry) -> None:
    registry.declare("MAIL", Mail)
    with pytest.raises(ConfigurationError, match="two types of data"):
        registry.find(JobType("MAIL", Report, result=Report, queue="mail"))
    known = registry.find("MAIL")
    assert (known.awaited, known.queue) == (None, "default")


class Few(IntEnum):
    TWO = 2


def test_names_and_numbers_are_kept_as_plain_values(registry: Registry) -> None:
    name: JobId[None] = JobId("MAIL")
    assert type(JobType(name, Mail).name) is str
    assert type(registry.declare(name).name) is str
    assert registry.find(name) is registry.find("MAIL")
    assert type(check_queue(name)) is str
    assert type(check_options("T", {"retries": Few.TWO})["retries"]) is int


def test_a_type_has_one_handler(registry: Registry) -> None:
    registry.handle(MAIL, send, {})
    with pytest.raises(
        ConfigurationError, match=r"MAIL has a handler already \(handler tests.*\.send\)"
    ):
        registry.handle("MAIL", plain, {})
    assert registry.find("MAIL").handler is send


def test_a_handler_must_be_callable(registry: Registry) -> None:
    with pytest.raises(ConfigurationError, match="the handler of MAIL cannot be called: 7"):
        registry.handle("MAIL", 7, {})  # type: ignore[arg-type]


def test_a_handler_whose_options_are_wrong_is_not_registered(registry: Registry) -> None:
    with pytest.raises(ConfigurationError, match="MAIL: retries must be"):
        registry.handle("MAIL", send, {"retries": -1})
    assert registry.handled == {}
    registry.handle("MAIL", send, {"retries": 1})
    assert registry.handled == {"MAIL": 1}


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return traced


class Handler:
    async def __call__(self, job: Job[Any]) -> None: ...

    async def method(self, job: Job[Any]) -> None: ...

    def plain(self, job: Job[Any]) -> None: ...

    @staticmethod
    async def static(job: Job[Any]) -> None: ...


class PlainHandler:
    def __call__(self, job: Job[Any]) -> None: ...


class Yielding:
    async def __call__(self, job: Job[Any]) -> AsyncIterator[int]:
        yield 1

    def method(self, job: Job[Any]) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("handler", "is_async"),
    [
        (send, True),
        (plain, False),
        (lambda job: None, False),
        (traced(send), False),  # What it returns is refused when it runs.
        (traced(plain), False),
        (partial(send), True),
        (partial(partial(plain)), False),
        (Handler(), True),
        (PlainHandler(), False),
        (Handler().method, True),
        (Handler().plain, False),
        (Handler.static, True),
        (partial(Handler().method), True),
        (print, False),
        (Mock(), False),
        (AsyncMock(), True),
        (partial(AsyncMock()), True),
        (PlainHandler, False),
        (Handler, False),
    ],
)
def test_what_runs_on_the_loop_and_what_in_a_thread(
    registry: Registry, handler: Any, is_async: bool
) -> None:
    registry.handle("MAIL", handler, {})
    assert registry.find("MAIL").handler_is_async is is_async


@pytest.mark.parametrize(
    "handler", [Yielding(), Yielding().method, partial(Yielding().method), Yielding().__call__]
)
def test_a_handler_that_yields_is_refused(registry: Registry, handler: Any) -> None:
    with pytest.raises(ConfigurationError, match="the handler of MAIL is a generator"):
        registry.handle("MAIL", handler, {})


@pytest.mark.parametrize("handler", [send, Handler, Handler(), lambda job: None])
def test_a_decorator_without_parentheses_is_refused_with_the_mend(
    registry: Registry, handler: Any
) -> None:
    with pytest.raises(ConfigurationError, match=r'write @service\.handler\("NAME"\)'):
        registry.check(handler, {})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MAlL", "; did you mean 'MAIL'?"),
        ("MAILS", "; did you mean 'MAIL'?"),
        ("INVOICE", r"`declare`$"),
        (7, r"job type 7 is not declared"),
        (["MAIL"], r"job type \['MAIL'\] is not declared"),
        (None, "job type None is not declared"),
    ],
)
def test_an_unknown_type_is_refused_with_the_mend_and_the_nearest_name(
    registry: Registry, name: Any, hint: str
) -> None:
    registry.declare(MAIL)
    with pytest.raises(UnknownJobTypeError, match=hint):
        registry.find(name)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\0", None, 7, b"MAIL", "\ud800"])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="a job type needs a name of 1 to 200 printable"):
        JobType(name, Mail)
    with pytest.raises(ConfigurationError, match="a queue needs a name"):
        check_name("queue", name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry": 3}, "T: unknown option 'retry'; did you mean 'retries'"),
        ({"xyz": 3}, "T: unknown option 'xyz'; known are queue, priority, expires_in, unique"),
        ({"delay": 3}, "T: unknown option 'delay'"),
        ({"retries": -1}, f"T: retries must be a whole number from 0 to {MAX_RETRIES}, got -1"),
        ({"retries": True}, "T: retries must be .* got True"),
        ({"retries": 1.5}, "T: retries must be .* got 1.5"),
        ({"retries": "3"}, "T: retries must be .* got '3'"),
        ({"retries": MAX_RETRIES + 1}, "T: retries must be"),
        (
            {"priority": "urgent"},
            "T: priority must be one of critical, high, normal, low, got 'urg",
        ),
        ({"priority": 1}, "T: priority must be one of"),
        ({"priority": ["low"]}, "T: priority must be one of"),
        ({"timeout": 0}, "T: timeout must be more than 0"),
        ({"timeout": float("nan")}, "T: timeout must be"),
        ({"expires_in": 0}, "T: expires_in must be more than 0"),
        ({"retry_delay": -1}, "T: retry_delay must be 0 to"),
        ({"queue": ""}, "T: a queue needs a name"),
        ({"backoff": "quadratic"}, 'T: backoff must be "fixed", "linear", "exponential"'),
        ({"backoff": Backoff(factor=0)}, "T: backoff factor must be 1 to 1000, got 0"),
    ],
)
def test_an_option_of_a_type_or_handler_that_makes_no_sense_is_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_options("T", options)
    with pytest.raises(ConfigurationError, match=message):
        JobType("T", Mail, **options)


def test_an_option_of_none_is_not_said() -> None:
    assert check_options("T", {"retries": None, "timeout": 3}) == {"timeout": 3.0}


def test_a_backoff_may_be_a_function_on_a_handler() -> None:
    def backoff(retry: int) -> float:
        return retry

    assert check_options("T", {"backoff": backoff}) == {"backoff": backoff}
    assert check_options("T", {"backoff": exponential()}) == {"backoff": exponential()}


def test_a_type_shows_itself() -> None:
    assert repr(MAIL) == "JobType('MAIL', Mail)"
    assert repr(JobType("N", list[int])) == "JobType('N', list)"


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        (None, "null", None),
        (None, '{"a": 1}', {"a": 1}),
        (Report, '{"pages": 3}', Report(3)),
        (Report, '{"pages": 3, "newer": 1}', Report(3)),
        (Report, None, None),
    ],
)
def test_a_result_is_read_as_its_type(
    registry: Registry, declared: Any, text: str | None, value: Any
) -> None:
    registry.declare("MAIL", None, declared)
    assert registry.read_result("MAIL", text) == value
    assert registry.read_result("NOBODY_KNOWS", text) == (None if text is None else eval_json(text))


def test_wrappers_hold_for_all_handlers_and_the_last_is_outermost(registry: Registry) -> None:
    def noting(mark: str) -> Callable[[Callable[[Job[Any]], Any]], Callable[[Job[Any]], Any]]:
        def wrap(handler: Callable[[Job[Any]], Any]) -> Callable[[Job[Any]], Any]:
            @wraps(handler)
            def run(job: Job[Any]) -> Any:
                seen.append(mark)
                return handler(job)

            return run

        return wrap

    seen: list[str] = []
    registry.handle("BEFORE", send, {})
    registry.wrap(noting("inner"))
    registry.wrap(noting("outer"))
    registry.handle("AFTER", plain, {"isolation": "process"})
    for name, is_async in (("BEFORE", True), ("AFTER", False)):
        known = registry.find(name)
        assert known.handler is not None
        assert known.handler_is_async is is_async
        assert known.place.endswith(("test_registry.send", "test_registry.plain"))
        seen.clear()
        ended = known.handler(None)  # type: ignore[arg-type]
        if is_async:
            ended.close()
        assert seen == ["outer", "inner"]


def eval_json(text: str) -> Any:
    import json

    return json.loads(text)
