"""A key of a job, read from its data: `data.tenant_id`."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from backroom.errors import ConfigurationError, OptionError

__all__ = ["KeyPath"]

MAX_KEY: Final = 500
_PATH: Final = re.compile(r"data(\.[^\W\d]\w*)*\Z")


class KeyPath:
    """Where a key stands in the data of a job.

    Raises:
        OptionError: it is no such path.
    """

    __slots__ = ("_names", "_text")

    def __init__(self, text: object) -> None:
        if not isinstance(text, str) or not _PATH.match(text):
            raise OptionError(
                f'a key is where it stands in the data, "data.tenant_id", got {text!r}'
            )
        self._text = text
        self._names = tuple(text.split(".")[1:])

    def check(self, owner: str, type_: Any) -> None:
        """Whether data of this type has it; None is any JSON object.

        Raises:
            ConfigurationError: it has not.
        """
        for name in self._names:
            fields = _fields(type_)
            if fields is None:
                return  # Only the data will tell.
            if name not in fields:
                shown = getattr(type_, "__name__", type_)
                raise ConfigurationError(
                    f"{owner}: there is no {self._text}: {shown} has {', '.join(fields) or 'none'}"
                )
            type_ = fields[name]

    def read(self, owner: str, data: Any) -> str:
        """The key, as a text.

        Raises:
            OptionError: the data has none there, or what can be no key.
        """
        value = data
        for name in self._names:
            try:
                value = value[name] if isinstance(value, Mapping) else getattr(value, name)
            except (KeyError, AttributeError):
                raise OptionError(
                    f"{owner}: the data has no {self._text} ({name!r} is not there), which is the"
                    " key of a limit"
                ) from None
        if isinstance(value, str):
            text = str.__str__(value)
        else:
            built = msgspec.to_builtins(value, enc_hook=_no_key)
            text = built if isinstance(built, str) else _plain(self._text, owner, built)
        if len(text) > MAX_KEY or "\0" in text:
            raise OptionError(
                f"{owner}: {self._text} is a key of at most {MAX_KEY} characters, none of them"
                f" \\0, got {text[:60]!r}"
            )
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyPath) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __str__(self) -> str:
        return self._text


def _plain(path: str, owner: str, value: Any) -> str:
    if isinstance(value, bool | int | float) or value is None:
        return msgspec.json.encode(value).decode()
    raise OptionError(
        f"{owner}: {path} can be no key: it must be a text or a number, got {value!r:.60}"
    )


def _no_key(value: Any) -> Any:
    return [repr(value)]


def _fields(type_: Any) -> dict[str, Any] | None:
    """The fields of a type of data and their types; None: it is not known which it has."""
    others = [one for one in typing.get_args(type_) if one is not type(None)]
    if len(others) == 1 and type(None) in typing.get_args(type_):
        type_ = others[0]  # Perhaps it is not there; then the data will tell.
    try:
        if dataclasses.is_dataclass(type_) and isinstance(type_, type):
            hints = typing.get_type_hints(type_)
            return {field.name: hints.get(field.name) for field in dataclasses.fields(type_)}
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            hints = typing.get_type_hints(type_)
            return {name: hints.get(name) for name in type_.__struct_fields__}
        if typing.is_typeddict(type_):
            return dict(typing.get_type_hints(type_))
    except NameError:  # An annotation of what is defined later.
        return None
    models = getattr(type_, "model_fields", None)
    if isinstance(models, Mapping):
        return {name: getattr(field, "annotation", None) for name, field in models.items()}
    return None
