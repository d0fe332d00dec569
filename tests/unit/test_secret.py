"""What is hidden of values, whatever their types are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pytest
from pydantic import BaseModel, Field, SecretStr

from backroom import JobService, JobType, Secret
from backroom.secret import HIDDEN, mask_of, masked, paths_of

Hush = Annotated[str, Secret]


@dataclass
class Plain:
    user: str
    password: Annotated[str, Secret()]


@dataclass
class Nested:
    one: Plain
    many: list[Plain] = field(default_factory=list)
    by_name: dict[str, Plain] = field(default_factory=dict)
    perhaps: Plain | None = None
    pins: tuple[Annotated[int, Secret], ...] = ()


class Typed(TypedDict):
    user: str
    token: NotRequired[Hush]


class Renamed(msgspec.Struct, rename="camel"):
    api_key: Hush
    user_name: str


class Listed(msgspec.Struct, array_like=True):
    user: str
    password: Hush


class Node(msgspec.Struct):
    value: Hush
    below: list[Node] = []


class Model(BaseModel):
    user: str
    password: SecretStr
    key: Hush = Field("", alias="apiKey")


class Cat(msgspec.Struct, tag=True):
    name: Hush


class Dog(msgspec.Struct, tag=True):
    name: str


@pytest.mark.parametrize(
    ("type_", "value", "shown"),
    [
        (None, {"password": "x"}, {"password": "x"}),
        (Plain, {"user": "a", "password": "x"}, {"user": "a", "password": HIDDEN}),
        (Plain, {"user": "a", "password": None}, {"user": "a", "password": None}),
        (Plain, {"user": "a", "password": {"deep": 1}}, {"user": "a", "password": HIDDEN}),
        (Plain, ["a", "x"], HIDDEN),
        (Plain, "x", HIDDEN),
        (
            Nested,
            {
                "one": {"user": "a", "password": "x"},
                "many": [{"user": "a", "password": "x"}],
                "by_name": {"a": {"user": "a", "password": "x"}},
                "perhaps": {"user": "a", "password": "x"},
                "pins": [1, 2],
            },
            {
                "one": {"user": "a", "password": HIDDEN},
                "many": [{"user": "a", "password": HIDDEN}],
                "by_name": {"a": {"user": "a", "password": HIDDEN}},
                "perhaps": {"user": "a", "password": HIDDEN},
                "pins": [HIDDEN, HIDDEN],
            },
        ),
        (Typed, {"user": "a", "token": "x"}, {"user": "a", "token": HIDDEN}),
        (Renamed, {"apiKey": "x", "userName": "a"}, {"apiKey": HIDDEN, "userName": "a"}),
        (Listed, ["a", "x"], HIDDEN),
        (Node, {"value": "x", "below": [{"value": "y"}]}, {"value": HIDDEN, "below": [HIDDEN]}),
        (
            Model,
            {"user": "a", "password": "x", "apiKey": "y", "key": "z"},
            {"user": "a", "password": HIDDEN, "apiKey": HIDDEN, "key": HIDDEN},
        ),
        (Cat | Dog, {"type": "Cat", "name": "x"}, {"type": "Cat", "name": HIDDEN}),
        (list[Plain], [{"user": "a", "password": "x"}], [{"user": "a", "password": HIDDEN}]),
        (dict[str, Hush], {"a": "x"}, {"a": HIDDEN}),
        (Hush, "x", HIDDEN),
        (dict[str, Any], {"a": "x"}, {"a": "x"}),
    ],
)
def test_what_is_marked_is_hidden_wherever_it_stands(type_: Any, value: Any, shown: Any) -> None:
    assert masked(value, mask_of(type_)) == shown


def test_a_type_says_where_its_secrets_are() -> None:
    assert paths_of(mask_of(Nested)) == [
        "$.one.password", "$.many[].password", "$.by_name[].password", "$.perhaps.password",
        "$.pins[]",
    ]  # fmt: skip


def test_the_types_of_a_service_are_told_with_their_shapes() -> None:
    service = JobService("memory:")
    service.declare(JobType("LOGIN", Plain, queue="mail", retries=7))
    service.declare("ANY")
    one, login = service.known_types
    assert (one.name, one.data, one.handled) == ("ANY", None, False)
    assert (login.name, login.queue, login.retries, login.secret) == (
        "LOGIN", "mail", 7, ("$.password",),
    )  # fmt: skip
    assert login.data is not None


@dataclass
class Given:
    user: str = "ada"
    password: Annotated[str, Secret, msgspec.Meta(examples=["hunter2"])] = "hunter2"


class Deep(msgspec.Struct):
    here: Annotated[Given, Secret] = msgspec.field(default_factory=Given)
    tags: Annotated[list[str], Secret] = msgspec.field(name="labels", default_factory=list)
    other: Given | None = None
    each: tuple[Given, ...] = (Given(), Given())
    named: dict[str, Annotated[Literal["hunter2", "hunter22"], Secret]] = {}


class Modelled(BaseModel):
    pin: Annotated[str, Secret] = Field("hunter2", examples=["hunter2"])
    key: SecretStr = SecretStr("hunter2")
    within: Given = Given()
    user: str = "ada"


class Row(msgspec.Struct, array_like=True):
    user: str = "ada"
    password: Hush = "hunter2"


@pytest.mark.parametrize("type_", [Given, Deep, Modelled, Row, list[Given], Given | None])
def test_the_shape_of_a_type_says_no_value_of_what_is_secret(type_: Any) -> None:
    service = JobService("memory:")
    service.declare(JobType("TYPE", type_))
    [told] = service.known_types
    assert told.data is not None
    text = json.dumps(told.data)
    assert "hunter2" not in text
    assert "password" in text or "pin" in text or type_ is Row


def test_what_is_not_secret_keeps_its_default() -> None:
    service = JobService("memory:")
    service.declare(JobType("TYPE", Given))
    [told] = service.known_types
    assert '"default": "ada"' in json.dumps(told.data)
