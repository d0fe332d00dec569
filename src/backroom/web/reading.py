"""What a request says -> a checked Struct, or a problem with the place and the mend."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, Literal, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec

from backroom.web.problem import Problem

__all__ = ["read_fields", "read_form", "read_json", "read_query", "read_value"]

S = TypeVar("S", bound=msgspec.Struct)

MOST_FIELDS: Final = 2_000
"""Of a query or a form."""
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)
EXAMPLE: Final = "2030-01-31T09:30:00Z"
"""Of a moment."""
_LONE: Final = "a text in it has half of a surrogate pair, such as \\ud800, which is no character"
_AT: Final = re.compile(r"(.*?)(?: - at `\$?(.*)`)?", re.DOTALL)
_MINUTE: Final = re.compile(r"^(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d)([Zz]|[+-]\d\d:\d\d)$")
"""A moment without seconds, as people type it."""
_OPENING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|([\[{])|([\]}])', re.DOTALL)


def read_query(text: bytes, shape: type[S] | None) -> S | None:
    """A query string. Each name at most once; values are read as the type wants them.

    Raises:
        Problem: 400.
    """
    return _read_pairs(_pairs(text, "query"), shape, "query")


def read_form(body: bytes, shape: type[S] | None) -> S | None:
    """A form as browsers send it; names may repeat where the type is a list.

    Raises:
        Problem: 400.
    """
    return _read_pairs(_pairs(body, "body"), shape, "body")


def read_fields(said: Mapping[str, Any], shape: type[S]) -> S:
    """Fields of a form that were kept as text until now; None: nothing is said.

    Raises:
        Problem: 422.
    """
    found = _read_pairs([(k, v) for k, v in said.items() if v is not None], shape, "body")
    assert found is not None
    return found


def _pairs(text: bytes, where: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            text.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict",
            max_num_fields=MOST_FIELDS,
        )  # fmt: skip
    except ValueError:
        raise Problem(
            400, "bad-text",
            f"this cannot be read: at most {MOST_FIELDS:,} fields, as percent-encoded UTF-8",
            at=where,
        ) from None  # fmt: skip


def _read_pairs(pairs: Sequence[tuple[str, Any]], shape: type[S] | None, where: str) -> S | None:
    lists, moments = _lists(shape), _moments(shape)
    said: dict[str, Any] = {}
    for name, value in pairs:
        if name in lists:
            said.setdefault(name, []).append(value)
        elif name in said:
            raise Problem(400, "said-twice", f"{name} is said twice; say it once",
                          at=f"{where}.{name}")  # fmt: skip
        elif value != "":  # As an empty field of a form: nothing is said.
            said[name] = _MINUTE.sub(r"\1:00\2", value) if name in moments else value
    return _convert(said, shape, where, strict=False)


def _lists(shape: type[msgspec.Struct] | None) -> frozenset[str]:
    return _named(shape, lambda type_: type_.startswith(("list", "tuple")))


def _moments(shape: type[msgspec.Struct] | None) -> frozenset[str]:
    return _named(shape, lambda type_: "datetime.datetime" in type_)


def _named(shape: type[msgspec.Struct] | None, is_one: Callable[[str], bool]) -> frozenset[str]:
    """The fields whose type, as text, is such a one."""
    if shape is None:
        return frozenset()
    fields = msgspec.structs.fields(shape)
    return frozenset(field.encode_name for field in fields if is_one(str(field.type)))


def read_json(body: bytes, shape: type[S] | None, depth: int) -> S | None:
    """A JSON document.

    Raises:
        Problem: 400, it is no JSON, is nested too deeply, or has a key twice; 422, it is not of
            the shape.
    """
    if not body.strip():
        if shape is None:
            return None
        body = b"{}"
    return _convert(_decoded(body, depth, "body"), shape, "body", strict=True)


def read_value(text: str, depth: int, at: str) -> Any:
    """A field of a form that is JSON; empty: null.

    Raises:
        Problem: 400, as `read_json`.
    """
    return _decoded(text.encode("utf-8", "surrogatepass"), depth, at) if text.strip() else None


def _decoded(body: bytes, depth: int, at: str) -> Any:
    what = at.rpartition(".")[2]
    if _is_deeper(body, depth):
        raise Problem(400, "too-deep", f"the {what} is nested more than {depth} deep", at=at)
    read: Any = None
    try:
        read = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
        return msgspec.json.decode(body)
    except _Twice as error:
        raise Problem(400, "said-twice", f"the key {error} stands twice in one object",
                      at=at) from None  # fmt: skip
    except (ValueError, RecursionError) as error:
        why = _LONE if _is_half(read) else str(error)
        raise Problem(400, "bad-json", f"the {what} is no JSON: {why}", at=at) from None


def _is_half(read: Any) -> bool:
    """Whether a text in it has half of a character."""
    try:
        json.dumps(read, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


class _Twice(Exception):
    """A key stands twice in one object."""


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(repr(name[:100]))
        found[name] = value
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def _is_deeper(body: bytes, depth: int) -> bool:
    """Whether it is nested deeper than that, without reading it further than it takes to tell."""
    now = 0
    for match in _OPENING.finditer(body):
        if match.group(1):
            now += 1
            if now > depth:
                return True
        elif match.group(2):
            now -= 1
    return False


def _convert(said: Any, shape: type[S] | None, where: str, *, strict: bool) -> S | None:
    if shape is None:
        if said:
            name = next(iter(said), "") if isinstance(said, dict) else ""
            raise Problem(400, "unknown-field", f"nothing is taken here, got {name!r}",
                          at=f"{where}.{name}".rstrip("."))  # fmt: skip
        return None
    try:
        found = msgspec.convert(said, shape, strict=strict)
    except msgspec.ValidationError as error:
        raise _shape_problem(str(error), shape, where) from None
    for field in shape.__struct_fields__:
        value = getattr(found, field)
        if isinstance(value, datetime) and not EARLIEST <= value < LATEST:
            # Beyond them, the same moment in another zone may be none that can be written.
            raise Problem(
                422 if where == "body" else 400, "bad-value",
                "a moment lies between the years 1970 and 9998", at=f"{where}.{field}",
            )  # fmt: skip
    return found


def _shape_problem(message: str, shape: type[msgspec.Struct], where: str) -> Problem:
    match = _AT.fullmatch(message)
    text, path = (match.group(1), match.group(2) or "") if match else (message, "")
    text = text.replace("`", "")
    unknown = re.fullmatch(r"Object contains unknown field (.*)", text, re.DOTALL)
    if unknown:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(shape))
        text = f"there is no {unknown.group(1)}" + ("" if path else f"; there are: {known}")
        path = f"{path}.{unknown.group(1)}"
    elif text.startswith("Invalid enum value") and (words := _known(shape, path)):
        text += f"; there are: {', '.join(words)}"
    elif "RFC3339" in text or "timezone component" in text:
        text += f"; say it as {EXAMPLE}"
    status = 422 if where == "body" else 400
    name = "unknown-field" if unknown else "bad-value"
    return Problem(status, name, text, at=f"{where}{path}")


def _known(shape: type[msgspec.Struct], path: str) -> list[str]:
    """What may stand in a field of a few words."""
    for field in msgspec.structs.fields(shape):
        if f".{field.encode_name}" == path:
            return _words(field.type)
    return []


def _words(type_: Any) -> list[str]:
    if isinstance(type_, type) and issubclass(type_, Enum):
        return [str(member.value) for member in type_]
    if get_origin(type_) is Literal:
        return [str(word) for word in get_args(type_)]
    return [word for one in get_args(type_) for word in _words(one)]
