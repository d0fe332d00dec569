"""Versions of data: what may be said of them, and the way up from an older one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pydantic
import pytest

from backroom import ConfigurationError, FailJob, Job, JobType, RetryJob, UpgradeError
from backroom.codec import Codec
from backroom.declaring import JobRegistry
from backroom.registry import Defaults, Registry
from backroom.scheduling import RecordMaker
from backroom.versions import LATEST, WayUp, mark_of, version_of


@dataclass
class First:
    to: str


@dataclass
class Second:
    recipient: str


@dataclass
class Third:
    recipients: list[str]
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class Model(pydantic.BaseModel):
    recipients: list[str]


def from_v1(data: dict[str, Any]) -> dict[str, Any]:
    return {"recipient": data["to"]}


def from_v2(data: Second) -> Third:
    return Third([data.recipient])


async def send(job: Job[Any]) -> None: ...


def lead(text: str, version: int, steps: Mapping[int, Any], top: Any = Third) -> Any:
    return WayUp("MAIL", steps).lead(text, version, Codec("MAIL", "data", top))


# -- what may be said ----------------------------------------------------------------------------


def test_nothing_said_is_version_1() -> None:
    kind = JobType("MAIL", First)
    assert (kind.version, kind.upgrade) == (1, {})
    assert JobType("MAIL", First, version=1, upgrade={}).version == 1


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "2", None, LATEST + 1])
def test_a_version_that_is_none_is_refused(version: Any) -> None:
    with pytest.raises(ConfigurationError, match="MAIL: version must be a whole number from 1"):
        JobType("MAIL", First, version=version)


@pytest.mark.parametrize(
    ("version", "upgrade", "missing"),
    [(2, {}, 1), (2, None, 1), (3, {2: from_v2}, 1), (3, {1: from_v1}, 2), (4, {1: from_v1}, 2)],
)
def test_a_version_without_a_way_up_is_named(version: int, upgrade: Any, missing: int) -> None:
    with pytest.raises(
        ConfigurationError,
        match=rf"MAIL: data of version {missing} has no way up to version {version}:"
        rf" give upgrade=\{{{missing}: function\}}",
    ):
        JobType("MAIL", First, version=version, upgrade=upgrade)


@pytest.mark.parametrize(
    ("version", "upgrade", "says"),
    [
        (1, {1: from_v1}, "of version 1: nothing is older"),
        (2, {1: from_v1, 2: from_v2}, "for version 2, but .* version 1 is older"),
        (
            3,
            {1: from_v1, 2: from_v2, 7: from_v2},
            "for version 7, but .* versions 1 to 2 are older",
        ),
        (2, {0: from_v1, 1: from_v1}, "for version 0"),
        (2, {"1": from_v1}, "for version '1'"),
        (2, {True: from_v1}, "for version True"),
    ],
)
def test_a_function_for_a_version_that_is_not_older_is_refused(
    version: int, upgrade: Any, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"MAIL: upgrade has a function {says}|{says}"):
        JobType("MAIL", Third, version=version, upgrade=upgrade)


async def from_v1_async(data: Any) -> Any: ...


def from_v1_yielding(data: Any) -> Any:
    yield data


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (7, "must be a function, got 7"),
        (from_v1_async, "must be a plain function"),
        (from_v1_yielding, "must be a plain function"),
        (lambda: None, "must take the data as its one argument"),
        (lambda data, more: {}, "must take the data as its one argument"),
        (lambda *, data: {}, "must take the data as its one argument"),
    ],
)
def test_what_cannot_lead_up_is_refused(function: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"MAIL: the upgrade from version 1 {says}"):
        JobType("MAIL", Third, version=2, upgrade={1: function})


@pytest.mark.parametrize("upgrade", [from_v1, [from_v1], 1])
def test_what_is_no_mapping_of_functions_is_refused(upgrade: Any) -> None:
    with pytest.raises(ConfigurationError, match="MAIL: upgrade must say by version"):
        JobType("MAIL", Third, version=2, upgrade=upgrade)


# -- the way up ----------------------------------------------------------------------------------


def test_each_function_takes_what_the_former_gave() -> None:
    steps = {1: from_v1, 2: from_v2}
    assert lead('{"to":"ada"}', 1, steps) == Third(["ada"])
    assert lead('{"recipient":"ada"}', 2, steps) == Third(["ada"])


def test_what_a_function_gets_is_what_its_parameter_says() -> None:
    seen: list[Any] = []

    def plain(data):  # type: ignore[no-untyped-def]
        seen.append(data)
        return First(data["to"])

    def typed(data: First) -> Second:
        seen.append(data)
        return Second(data.to)

    def plain_again(data: dict[str, str]) -> dict[str, Any]:
        seen.append(data)
        return {"recipients": [data["recipient"]], "more": "passed over"}

    steps = {1: plain, 2: typed, 3: plain_again}
    assert lead('{"to":"ada"}', 1, steps) == Third(["ada"])
    assert seen == [{"to": "ada"}, First("ada"), {"recipient": "ada"}]
    seen.clear()
    assert lead('{"recipient":"ada"}', 3, steps) == Third(["ada"])
    assert seen == [{"recipient": "ada"}]


class Reader:
    """Functions that are none by themselves."""

    @classmethod
    def of(cls, data: First) -> dict[str, Any]:
        return {"recipients": [data.to]}

    def __call__(self, data: First) -> dict[str, Any]:
        return self.of(data)


def with_more(suffix: str, data: First) -> dict[str, Any]:
    return {"recipients": [data.to + suffix]}


@pytest.mark.parametrize("function", [Reader.of, Reader(), partial(with_more, "")])
def test_methods_objects_and_partials_lead_up_too(function: Any) -> None:
    assert lead('{"to":"ada"}', 1, {1: function}) == Third(["ada"])


def test_the_last_may_give_the_type_itself_or_a_dict_that_fits() -> None:
    for top in (Third, Model):
        for given in (top(recipients=["ada"]), {"recipients": ["ada"]}):
            led = lead("{}", 1, {1: lambda data, given=given: given}, top)
            assert (type(led), led.recipients) == (top, ["ada"])


def test_data_need_not_be_an_object() -> None:
    text = "00000000-0000-4000-8000-000000000000"
    steps = {1: lambda data: str(UUID(int=data - 7, version=4))}
    assert lead("7", 1, steps, UUID) == UUID(text)


def test_the_time_and_other_values_survive_between_two_steps() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def second(data: Third) -> Third:
        assert data.at == at
        return data

    assert lead("{}", 1, {1: lambda data: Third(["a"], at), 2: second}) == Third(["a"], at)


def test_a_function_that_raises_is_named_with_its_version() -> None:
    with pytest.raises(
        UpgradeError,
        match=r"^MAIL: the upgrade of its data from version 1 to 2 failed: KeyError: 'to'$",
    ) as caught:
        lead("{}", 1, {1: from_v1, 2: from_v2})
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("text", "steps", "says"),
    [
        ('{"to":7}', {1: Reader.of}, "from version 1 to 2 failed: JobTypeError: MAIL: expected str,"
         r" got int at \$.to of the data of version 1|at \$.to"),
        ("{}", {1: lambda data: {"recipients": 7}}, r"from version 1 to 2 .*at \$.recipients"),
        ("{}", {1: lambda data: None}, "from version 1 to 2 .*JobTypeError"),
        ("{}", {1: lambda data: object()}, "from version 1 to 2 .*cannot be encoded"),
        ("{}", {1: lambda data: {"recipients": [float("nan")]}}, "from version 1 to 2 .*NaN"),
        ("{}", {1: lambda data: {}, 2: from_v2}, r"from version 2 to 3 .*recipient"),
    ],
)  # fmt: skip
def test_what_does_not_fit_on_the_way_is_named_too(text: str, steps: Any, says: str) -> None:
    with pytest.raises(UpgradeError, match=says):
        lead(text, 1, steps)


@pytest.mark.parametrize("error", [FailJob("too old"), RetryJob(delay=5)])
def test_a_function_may_end_the_attempt_as_a_handler_does(error: Exception) -> None:
    def refuse(data: Any) -> Any:
        raise error

    with pytest.raises(type(error)) as caught:
        lead("{}", 1, {1: refuse})
    assert caught.value is error


def test_an_error_whose_text_fails_is_told_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    def refuse(data: Any) -> Any:
        raise Mute

    with pytest.raises(UpgradeError, match=r"Mute \(its own text failed: ValueError\)"):
        lead("{}", 1, {1: refuse})


def test_an_annotation_that_cannot_be_read_is_refused_where_the_type_is_first_used() -> None:
    def unreadable(data: Nowhere) -> Any: ...  # type: ignore[name-defined]  # noqa: F821

    def unmakeable(data: object) -> Any: ...

    for function in (unreadable, unmakeable):
        kind = JobType("MAIL", Third, version=2, upgrade={1: function})
        registry = Registry(Defaults())
        with pytest.raises(ConfigurationError, match=r"MAIL: .*version 1"):
            registry.declare(kind)
        assert registry.get("MAIL") is None


# -- what a process knows ------------------------------------------------------------------------


MAIL = JobType("MAIL", Third, version=3, upgrade={1: from_v1, 2: from_v2})


@pytest.fixture
def registry() -> Registry:
    return Registry(Defaults())


def test_a_handler_takes_the_version_of_its_type(registry: Registry) -> None:
    registry.handle(MAIL, send, {})
    registry.handle("BARE", send, {})
    registry.declare("NO HANDLER")
    assert registry.handled == {"MAIL": 3, "BARE": 1}
    known = registry.find("MAIL")
    assert known.read('{"to":"ada"}', 1) == Third(["ada"])
    assert known.read('{"recipients":["ada"]}', 3) == Third(["ada"])


@pytest.mark.parametrize("version", [4, 0, -1])
def test_data_that_has_no_way_here_is_refused(registry: Registry, version: int) -> None:
    registry.handle(MAIL, send, {})
    with pytest.raises(UpgradeError, match=rf"of version {version}, this code knows version 3"):
        registry.find("MAIL").read("{}", version)


@pytest.mark.parametrize(
    "again",
    [
        lambda registry: registry.declare("MAIL"),
        lambda registry: registry.declare("MAIL", Third),
        lambda registry: registry.handle("MAIL", send, {}),
        lambda registry: registry.declare(JobType("MAIL", Third)),
        lambda registry: registry.find(JobType("MAIL", Third)),
        lambda registry: registry.find(JobType("MAIL", Third, version=2, upgrade={1: from_v1})),
    ],
)
def test_two_versions_of_one_type_are_refused(registry: Registry, again: Any) -> None:
    registry.declare(MAIL)
    with pytest.raises(ConfigurationError, match="MAIL is declared with two versions of its data"):
        again(registry)
    assert registry.find("MAIL").version == 3
    assert registry.handled == {}


def test_a_bare_name_is_version_1_whoever_says_it_first(registry: Registry) -> None:
    registry.handle("MAIL", send, {})
    with pytest.raises(ConfigurationError, match="two versions of its data: 1 and 3; a bare name"):
        registry.find(MAIL)
    assert registry.find("MAIL").given.type is None


def test_two_upgrades_from_one_version_are_refused(registry: Registry) -> None:
    registry.declare(MAIL)
    registry.declare(JobType("MAIL", Third, version=3, upgrade={1: from_v1, 2: from_v2}))
    other = JobType("MAIL", Third, version=3, upgrade={1: from_v1, 2: lambda data: data})
    with pytest.raises(
        ConfigurationError, match="MAIL is declared with two upgrades from version 2"
    ):
        registry.declare(other)


def test_a_registry_of_another_version_is_not_included(registry: Registry) -> None:
    apart = JobRegistry()
    apart.handler(MAIL)(send)
    registry.declare("MAIL")
    with pytest.raises(ConfigurationError, match="MAIL is declared with two versions"):
        registry.check_new(apart._own)


# -- what a job is kept with ---------------------------------------------------------------------


def test_the_first_version_costs_no_byte(registry: Registry) -> None:
    maker = RecordMaker(registry, 1000, lambda now: "id")
    kind = JobType("OLD", First)
    assert maker.make(kind, First("ada"), {}, 0).options is None
    assert maker.make(kind, First("ada"), {"delay": 5}, 0).options is None
    assert maker.make(kind, First("ada"), {"retries": 5}, 0).options == '{"retries":5}'


def test_a_later_version_is_kept_with_the_options(registry: Registry) -> None:
    maker = RecordMaker(registry, 1000, lambda now: "id")
    records = [
        maker.make(MAIL, Third([]), options, 0)
        for options in ({}, {"delay": 5}, {"retries": 5, "tags": ["a"]})
    ]
    assert [record.options for record in records] == [
        '{"version":3}', '{"version":3}', '{"retries":5,"tags":["a"],"version":3}',
    ]  # fmt: skip
    assert [version_of(record.options) for record in records] == [3, 3, 3]
    assert (version_of(None), version_of('{"retries":1}')) == (1, 1)
    assert (mark_of(1), mark_of(2)) == (None, '{"version":2}')
