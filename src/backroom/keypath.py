"""A key of a job, read from its data: `data.tenant_id`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from backroom.errors import OptionError

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

    @property
    def names(self) -> tuple[str, ...]:
        """Of the fields on the way, as JSON has them."""
        return self._names

    def read(self, owner: str, data: Any) -> str:
        """The key, as a text.

        Args:
            data: as it is read from JSON.

        Raises:
            OptionError: the data has none there, or what can be no key.
        """
        value = data
        for name in self._names:
            if not isinstance(value, Mapping) or name not in value:
                raise OptionError(
                    f"{owner}: the data has no {self._text} ({name!r} is not there), which is the"
                    " key of a limit, or of turns"
                )
            value = value[name]
        text = value if isinstance(value, str) else _plain(self._text, owner, value)
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
