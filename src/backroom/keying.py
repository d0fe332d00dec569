"""Unique keys as texts: made when a job is made, so that a storage only compares."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, get_args

import msgspec

from backroom.errors import OptionError
from backroom.job import SECOND, Hold, duration
from backroom.unique import OnConflict, Unique

__all__ = ["Keying", "Path", "check_key", "check_unique"]

MAX_KEY: Final = 500
MAX_PATHS: Final = 20

Path: TypeAlias = tuple[str, ...]
"""The names of the fields on the way to a value within the data."""


class Keying(msgspec.Struct, frozen=True):
    """A `Unique` that was checked."""

    key: str | None
    """As it was said; None: it is made of the data."""
    paths: tuple[Path, ...] | None
    """To what it is made of; empty: the type alone. The path without a name is all of the data."""
    until: int | None
    """As `Hold.until`, a moment in microseconds from when the job is made."""
    on_conflict: OnConflict

    def key_of(self, data: str) -> str:
        """The key of a job with this data, as JSON. One that would be longer than a key may be
        is its hash.

        Raises:
            OptionError: the data has no such field.
        """
        if self.key is not None:
            return self.key
        if not self.paths:
            return "type"
        value = msgspec.json.decode(data)
        try:
            if self.paths == ((),):
                return f"data {_hash(_canonical(value))}"
            parts = [f"{'.'.join(path)}={_canonical(_at(value, path))}" for path in self.paths]
        except RecursionError:
            raise OptionError("unique: the data is nested too deeply to be compared") from None
        text = "&".join(parts)
        return text if len(text) <= MAX_KEY else f"hash {_hash(text)}"

    def hold(self, made_at: int) -> Hold | None:
        """How a job that is made at this moment holds its key."""
        until = self.until
        if until is None and self.on_conflict == "existing":
            return None
        return Hold(made_at + until if until else until, self.on_conflict)


def check_unique(value: object) -> Keying:
    """What a caller gave, ready for use.

    Raises:
        OptionError: it is no `Unique`, or one that makes no sense.
    """
    if not isinstance(value, Unique):
        raise OptionError(f"unique must be a Unique, such as Unique(by='data'), got {value!r}")
    if (value.key is None) == (value.by is None):
        raise OptionError(
            "unique needs either key= or by=: say what makes two jobs the same, as"
            f" Unique(key='order-7') or Unique(by='data.user_id'), got {value!r}"
        )
    if value.until is not None and value.period is not None:
        raise OptionError("unique takes until or period, not both")
    if value.until not in (None, "end", "start"):
        raise OptionError(f'unique: until must be "end" or "start", got {value.until!r}')
    if value.on_conflict not in get_args(OnConflict):
        allowed = ", ".join(get_args(OnConflict))
        raise OptionError(
            f"unique: on_conflict must be one of {allowed}, got {value.on_conflict!r}"
        )
    until = 0 if value.until == "start" else None
    if value.period is not None:
        until = max(1, round(duration("unique: period", value.period, zero=False) * SECOND))
    return Keying(
        key=None if value.key is None else check_key("unique: key", value.key),
        paths=None if value.by is None else _paths(value.by),
        until=until,
        on_conflict=value.on_conflict,
    )


def check_key(what: str, value: object) -> str:
    """A key as a plain `str`: a JobId is a fine one.

    Raises:
        OptionError: it is no text of 1 to 500 characters.
    """
    key = str.__str__(value) if isinstance(value, str) else ""
    if not 0 < len(key) <= MAX_KEY or "\0" in key:
        raise OptionError(f"{what} must be a text of 1 to {MAX_KEY} characters, got {value!r}")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise OptionError(f"{what} must be a text that UTF-8 can write: {error}") from None
    return key


def _paths(by: object) -> tuple[Path, ...]:
    said = [by] if isinstance(by, str) else by
    if not isinstance(said, Sequence) or not 0 < len(said) <= MAX_PATHS:
        raise OptionError(
            f"unique: by must be a text such as 'data.user_id', or 1 to {MAX_PATHS} of them, got"
            f" {by!r}"
        )
    if list(said) == ["type"]:
        return ()
    if list(said) == ["data"]:
        return ((),)
    paths = tuple(map(_path, said))
    if len(set(paths)) < len(paths):
        raise OptionError(f"unique: by names the same field twice: {by!r}")
    return paths


def _path(text: object) -> Path:
    root, *names = text.split(".") if isinstance(text, str) else ("",)
    if root != "data" or not names or not all(names):
        raise OptionError(
            "unique: by must be 'data', 'type', or a field such as 'data.user_id' or"
            f" 'data.user.id', got {text!r}"
        )
    return tuple(names)


def _at(data: Any, path: Path) -> Any:
    value, way = data, "data"
    for name in path:
        if not isinstance(value, Mapping):
            raise OptionError(
                f"unique: by data.{'.'.join(path)}: {way} is {value!r:.50}, and has no fields"
            )
        if name not in value:
            has = ", ".join(value) or "no fields"
            raise OptionError(
                f"unique: by data.{'.'.join(path)}: {way} has no field {name!r}, it has {has:.200}"
            )
        value, way = value[name], f"{way}.{name}"
    return value


def _canonical(value: Any) -> str:
    """JSON that is the same text for the same value: 1 and 1.0 are one number, as everywhere in
    JSON, and the order of the fields says nothing."""
    return msgspec.json.encode(_plain(value), order="sorted").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
