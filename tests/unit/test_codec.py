"""Typed data as JSON text, and back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any, Optional, TypedDict

import msgspec
import pydantic
import pytest

from backroom import ConfigurationError, JobId, JobTypeError
from backroom.codec import Codec, encode_json


@dataclass
class Line:
    article: str
    count: int = 1


@dataclass
class Order:
    number: int
    lines: list[Line] = field(default_factory=list)
    by_name: dict[str, Line] = field(default_factory=dict)
    gift: Line | None = None
    price: float | None = None


class Mail(TypedDict, total=False):
    recipient: str
    order: Order


class Picture(msgspec.Struct, rename="camel"):
    full_width: int
    made_at: datetime | None = None


class Address(pydantic.BaseModel):
    street: str


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(default=0, alias="years")
    home: Address | None = None


class Follow(msgspec.Struct):
    parent: JobId[Any]
    others: list[JobId[Any]] = []


class Tree(msgspec.Struct):
    value: int
    children: list[Optional[Tree]] = []  # noqa: UP045 - a type that names itself


class Few(IntEnum):
    TWO = 2


def codec(type_: Any) -> Codec[Any]:
    return Codec("SEND", "data", type_)


def refusal(type_: Any, value: Any) -> str:
    with pytest.raises(JobTypeError) as caught:
        codec(type_).encode(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        (None, {"a": [1, None, {"b": "ü"}]}, '{"a":[1,null,{"b":"ü"}]}'),
        (None, {}, "{}"),
        (Line, Line("pen", 3), '{"article":"pen","count":3}'),
        (Mail, Mail(recipient="ada"), '{"recipient":"ada"}'),
        (Picture, Picture(3), '{"fullWidth":3,"madeAt":null}'),
        (Person, Person(name="Ada", years=36), '{"name":"Ada","years":36,"home":null}'),
        (Follow, Follow(JobId("a"), [JobId("b")]), '{"parent":"a","others":["b"]}'),
        (Tree, Tree(1, [Tree(2), None]), '{"value":1,"children":[{"value":2,"children":[]},null]}'),
        (list[int], [1, 2], "[1,2]"),
        (bytes, b"ab", '"YWI="'),
    ],
)
def test_a_value_travels_as_json_and_comes_back_as_itself(
    type_: Any, value: Any, text: str
) -> None:
    assert codec(type_).encode(value) == text
    assert codec(type_).decode(text) == value


@pytest.mark.parametrize("type_", [Line, Mail, Picture, Person])
def test_plain_data_is_taken_for_every_kind_of_type(type_: Any) -> None:
    plain = {
        Line: {"article": "pen"},
        Mail: {"recipient": "ada"},
        Picture: {"fullWidth": 3},
        Person: {"name": "Ada", "years": 36},
    }[type_]
    text = codec(type_).encode(plain)
    assert json.loads(text) == plain


def test_types_may_be_nested_in_each_other() -> None:
    order = Order(7, [Line("pen")], {"a": Line("ink")}, Line("cap"), 1.5)
    both = codec(Mail)
    read = both.decode(both.encode({"recipient": "ada", "order": order}))
    assert read == {"recipient": "ada", "order": order}


@pytest.mark.parametrize(
    ("type_", "value", "place"),
    [
        (Line, {"article": 7}, "SEND: expected str at $.article of the data, got int"),
        (Line, {}, "SEND: object missing required field article at $ of the data"),
        (Line, [], "SEND: expected object at $ of the data, got array"),
        (Line, None, "SEND: expected object at $ of the data, got null"),
        (Line, Line(7), "$.article"),  # type: ignore[arg-type]
        (Mail, {"recipient": None}, "$.recipient"),
        (Picture, {"fullWidth": "3"}, "$.fullWidth"),
        (Order, {"number": 1, "lines": [{"article": "a"}, {"article": 1}]}, "$.lines[1].article"),
        (Order, {"number": 1, "by_name": {"x": {"article": 1}}}, "$.by_name[...].article"),
        (Person, {"name": 7}, "(field name)"),
        (Person, {"name": "A", "home": {"street": 7}}, "(field home.street)"),
        (Person, {}, "(field name)"),
        (list[int], [1, "2"], "$[1]"),
        (None, [1], "SEND: expected object at $ of the data, got array"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_its_place(
    type_: Any, value: Any, place: str
) -> None:
    message = refusal(type_, value)
    assert message.startswith("SEND: ")
    assert "of the data" in message
    assert place in message


@pytest.mark.parametrize(
    ("type_", "value", "path"),
    [
        (Line, {"article": "a", "cuont": 2}, "$.cuont"),
        (Mail, {"recipient": "a", "cc": "b"}, "$.cc"),
        (Picture, {"full_width": 1, "fullWidth": 1}, "$.full_width"),
        (Person, {"name": "A", "surname": "B"}, "$.surname"),
        (Order, {"number": 1, "gift": {"article": "a", "x": 1}}, "$.gift.x"),
        (
            Order,
            {"number": 1, "lines": [{"article": "a"}, {"article": "a", "x": 1}]},
            "$.lines[1].x",
        ),
        (Order, {"number": 1, "by_name": {"k": {"article": "a", "x": 1}}}, "$.by_name.k.x"),
        (Tree, {"value": 1, "children": [{"value": 2, "leaf": 1}]}, "$.children[0].leaf"),
    ],
)
def test_an_unknown_key_is_refused_when_scheduling_and_passed_over_when_running(
    type_: Any, value: Any, path: str
) -> None:
    message = refusal(type_, value)
    assert f"SEND: unknown key {path} in the data" in message
    assert type_.__name__ in message
    codec(type_).decode(json.dumps(value))


def test_a_job_id_inside_plain_data_is_its_text() -> None:
    text = codec(None).encode({"parent": JobId("a"), "all": [JobId("b")], JobId("c"): 1})
    assert json.loads(text) == {"parent": "a", "all": ["b"], "c": 1}


def test_a_job_id_in_a_field_comes_back_as_one() -> None:
    read = codec(Follow).decode('{"parent": "a", "others": ["b"]}')
    assert type(read.parent) is JobId
    assert type(read.others[0]) is JobId


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("type_", "wrap", "path"),
    [
        (None, lambda bad: {"a": [1, {"b": bad}], "c": None}, "$.a[1].b"),
        (Order, lambda bad: Order(1, price=bad), "$.price"),
        (Order, lambda bad: {"number": 1, "price": bad}, "$.price"),
        (list[Any], lambda bad: [None, bad], "$[1]"),
        (Any, lambda bad: bad, "$"),
    ],
)
def test_what_json_cannot_say_is_refused_and_not_turned_into_null(
    type_: Any, wrap: Any, path: str, bad: float
) -> None:
    assert f"NaN or an infinity at {path} of the data" in refusal(type_, wrap(bad))
    with pytest.raises(JobTypeError, match="NaN or an infinity at"):
        encode_json("SEND", "result", wrap(bad))


class Cover(msgspec.Struct):
    sheet: msgspec.Raw
    price: float = 0.0


@pytest.mark.parametrize("raw", [b"}{", b"\xff", b'"\xff"', b"", b"1 2", b"[1,]", b"1e999", b"nul"])
@pytest.mark.parametrize(
    ("type_", "wrap"),
    [(None, lambda raw: {"a": raw}), (Any, lambda raw: raw), (Cover, Cover)],
)
def test_raw_text_that_is_no_json_is_refused(type_: Any, wrap: Any, raw: bytes) -> None:
    assert refusal(type_, wrap(msgspec.Raw(raw))).startswith("SEND: ")
    with pytest.raises(JobTypeError, match="SEND: the result cannot be "):
        encode_json("SEND", "result", wrap(msgspec.Raw(raw)))


def test_raw_text_that_is_json_is_taken() -> None:
    raw = msgspec.Raw(b"[null]")
    assert codec(None).encode({"a": raw}) == '{"a":[null]}'
    assert codec(Cover).encode(Cover(raw)) == '{"sheet":[null],"price":0.0}'
    assert encode_json("SEND", "result", raw) == "[null]"
    assert "NaN or an infinity at $.price" in refusal(Cover, Cover(raw, math.nan))


@dataclass
class Shelf:
    places: dict[int, str]


@pytest.mark.parametrize(
    ("value", "key", "path"),
    [
        ({1: 2}, "1", "$"),
        ({"a": {}, "b": [{"c": {1.5: 2}}]}, "1.5", "$.b[0].c"),
        ({"a": {"b": ({Few.TWO: None},)}}, "2", "$.a.b[0]"),
        ({"shelf": Shelf({7: "pens"})}, "7", "$.shelf.places"),
    ],
)
def test_without_a_type_keys_must_be_text_since_text_would_come_back(
    value: Any, key: str, path: str
) -> None:
    message = refusal(None, value)
    assert message.startswith(f"SEND: the key {key} at {path} of the data must be a text")


def test_keys_of_a_type_that_says_so_come_back_as_numbers() -> None:
    assert codec(Shelf).decode(codec(Shelf).encode(Shelf({7: "pens"}))) == Shelf({7: "pens"})


class Unlike(dict[str, int]):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = None  # type: ignore[assignment]


def test_data_that_cannot_be_compared_is_taken() -> None:
    assert codec(None).encode({"a": Unlike(b=1)}) == '{"a":{"b":1}}'


@pytest.mark.parametrize("value", [2**53 + 1, 2**64, -(2**63) - 1, 10**40])
def test_a_huge_number_comes_back_whole_or_is_refused(value: int) -> None:
    try:
        text = codec(None).encode({"n": value})
    except JobTypeError as error:
        assert "cannot be encoded as JSON" in str(error)  # noqa: PT017 - one of two is right
    else:
        assert codec(None).decode(text) == {"n": value}


def around(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def test_data_that_holds_itself_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    assert "cannot be encoded as JSON" in refusal(None, circle)
    tree = Tree(1)
    tree.children.append(tree)
    assert "cannot be encoded as JSON" in refusal(Tree, tree)


def branch(depth: int) -> Any:
    value = None
    for _ in range(depth):
        value = {"value": 1, "children": [value]}
    return value


@pytest.mark.parametrize("depth", [100, 200, 300, 400, 450, 500, 900, 2000, 20_000])
@pytest.mark.parametrize(("type_", "deep"), [(None, around), (None, branch), (Tree, branch)])
def test_deep_data_is_kept_or_refused_but_is_no_crash(type_: Any, deep: Any, depth: int) -> None:
    try:
        text = codec(type_).encode(deep(depth))
    except JobTypeError as error:
        assert "SEND: " in str(error)  # noqa: PT017 - one of two is right
    else:
        codec(type_).decode(text)
        assert codec(None).decode(text) == deep(depth)


@pytest.mark.parametrize(
    "value",
    [
        {"a": "\ud800"},
        {"\udfff": 1},
        {"a": {1, 2}, "b": object()},
        {"a": lambda: None},
        {"a": Codec},
        {(1, 2): 3},
        {"a": 1 + 2j},
    ],
    ids=["surrogate", "surrogate key", "object", "lambda", "class", "tuple key", "complex"],
)
def test_what_is_no_json_is_refused(value: Any) -> None:
    message = refusal(None, value)
    assert message.startswith("SEND: the data cannot be encoded as JSON")


@pytest.mark.parametrize(
    "text", ["", "{", "nul", '{"article": ""} x', "\x00", '{"article": "\\ud8']
)
def test_a_text_that_is_no_json_is_an_error_of_the_data(text: str) -> None:
    with pytest.raises(JobTypeError, match="SEND: the data cannot be read"):
        codec(Line).decode(text)


@dataclass
class Touchy:
    n: int

    def __post_init__(self) -> None:
        if self.n == 0:
            raise ValueError("zero is no number")
        raise {1: KeyError, 2: ZeroDivisionError, 3: AssertionError}[self.n]("from inside")


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_whatever_a_type_s_own_check_raises_is_an_error_of_the_data(n: int) -> None:
    with pytest.raises(JobTypeError, match="SEND: "):
        codec(Touchy).decode(f'{{"n": {n}}}')
    with pytest.raises(JobTypeError, match="SEND: "):
        codec(Touchy).encode({"n": n})


class Foreign:
    pass


@pytest.mark.parametrize(
    "type_",
    [
        3, "Order", object(), lambda: None, complex | int, object, Foreign, complex,
        dict[str, list[Foreign]],
    ],
)  # fmt: skip
def test_a_type_that_cannot_be_read_is_refused_where_it_is_declared(type_: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"SEND: .* cannot be the type of its data"):
        codec(type_)


def test_a_default_that_is_mutable_is_not_shared() -> None:
    first, second = (codec(Order).decode('{"number": 1}') for _ in range(2))
    first.lines.append(Line("pen"))
    assert second.lines == []
