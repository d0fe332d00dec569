"""Unique keys as texts: the same for the same jobs, and for no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from backroom import ConfigurationError, JobType, OptionError, Unique
from backroom.job import SECOND, Hold
from backroom.keying import MAX_KEY, check_unique
from backroom.registry import Defaults, Registry

by = ["data.user.id", "data.kind"]


def key(data: str, **unique: Any) -> str:
    return check_unique(Unique(**unique)).key_of(data)


def test_a_key_is_readable() -> None:
    assert key("{}", key="order-7") == "order-7"
    assert key('{"user":{"id":7},"kind":"a"}', by=by) == 'user.id=7&kind="a"'
    assert key('{"user":{"id":7}}', by="data.user") == 'user={"id":7}'
    assert key("[1]", by="type") == "type"
    assert key('{"a":null}', by="data.a") == "a=null"


@pytest.mark.parametrize("how", ["data", "data.v"])
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a":1,"b":{"c":2,"d":3}}', '{"b":{"d":3,"c":2},"a":1}', True),
        ("1", "1.0", True),
        ("[1,-0.0]", "[1.0,0]", True),
        ("1e3", "1000", True),
        ("1", '"1"', False),
        ("1", "true", False),
        ("0", "false", False),
        ("null", '"null"', False),
        ("1", "1.5", False),
        ('"\\u00e9"', '"é"', True),
        ('"a"', '"A"', False),
        ("[1,2]", "[2,1]", False),
        ('{"a":1}', '{"a":1,"b":null}', False),
    ],
)
def test_the_same_value_is_the_same_key(how: str, one: str, other: str, same: bool) -> None:
    first, second = (key(f'{{"v":{value}}}', by=how) for value in (one, other))
    assert (first == second) == same


def test_values_of_several_fields_do_not_run_into_each_other() -> None:
    paths = ["data.a", "data.b"]
    first = key('{"a":"x\\"&b=\\"y","b":"z"}', by=paths)
    assert first != key('{"a":"x","b":"y\\"&b=\\"z"}', by=paths)
    assert key('{"a":1,"b":11}', by=paths) != key('{"a":11,"b":1}', by=paths)


def test_a_long_key_is_a_hash_of_all_of_it() -> None:
    long = "x" * MAX_KEY
    keys = {key(f'{{"a":"{text}"}}', by="data.a") for text in (long + "1", long + "2", long)}
    assert len(keys) == 3
    assert all(len(one) <= MAX_KEY for one in keys)


def test_how_long_it_is_held() -> None:
    def hold(**said: Any) -> Hold | None:
        return check_unique(Unique(key="k", **said)).hold(1000)

    assert hold() is hold(until="end") is None
    assert hold(until="start") == Hold(0, "existing")
    assert hold(period=3) == Hold(1000 + 3 * SECOND, "existing")
    assert hold(period=1e-9) == Hold(1001, "existing")
    assert hold(on_conflict="raise") == Hold(None, "raise")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("{}", "data has no field 'user', it has no fields"),
        ('{"users":1}', "data has no field 'user', it has users"),
        ('{"user":{}}', "data.user has no field 'id'"),
        ('{"user":7}', "data.user is 7, and has no fields"),
        ("[1]", r"data is \[1\], and has no fields"),
    ],
)
def test_a_field_that_is_not_there_is_told(data: str, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        key(data, by="data.user.id")


@dataclass
class User:
    id: int


class Renamed(msgspec.Struct, rename="camel"):
    user_id: int


class Tuple(msgspec.Struct, array_like=True):
    user: int


class Model(pydantic.BaseModel):
    user: User
    other: int = pydantic.Field(alias="theOther")


class Open(pydantic.BaseModel, extra="allow"):
    user: int


class Dict(TypedDict, total=False):
    user: User | None
    users: dict[str, User]
    ids: list[int]
    anything: Any


@pytest.mark.parametrize(
    ("data", "path", "lack"),
    [
        (Dict, "data.user.id", None),
        (Dict, "data.users.ada.id", None),
        (Dict, "data.users.ada.name", "data.users.ada has no field 'name', it has id"),
        (Dict, "data.ids.0", "data.ids is no object"),
        (Dict, "data.anything.at.all", None),
        (Dict, "data.user.id.deep", "data.user.id is no object"),
        (Renamed, "data.userId", None),
        (Renamed, "data.user_id", "data has no field 'user_id', it has userId"),
        (Tuple, "data.user", "data is no object"),
        (Model, "data.user.id", None),
        (Model, "data.theOther", None),
        (Model, "data.other", "data has no field 'other', it has user, theOther"),
        (Open, "data.whatever", None),
        (dict[str, int], "data.whatever", None),
        (int, "data.user", "data is no object"),
    ],
)
def test_a_type_without_the_field_is_refused_where_it_is_declared(
    data: Any, path: str, lack: str | None
) -> None:
    registry, kind = Registry(Defaults()), JobType("T", data, unique=Unique(by=[path]))
    if lack is None:
        registry.find(kind)
        return
    with pytest.raises(ConfigurationError, match=f"T: unique: by {path}: {lack}"):
        registry.find(kind)
    assert registry.get("T") is None


def test_a_handler_that_names_a_field_that_is_not_there_is_refused() -> None:
    registry = Registry(Defaults())
    unique = Unique(by="data.name")
    with pytest.raises(ConfigurationError, match=r"T: unique: .* data has no field"):
        registry.handle(JobType("T", User), print, {"unique": unique})
    registry.handle("BARE", lambda job: None, {"unique": unique})
    with pytest.raises(ConfigurationError, match=r"BARE: unique: .* data has no field"):
        registry.declare("BARE", User)
