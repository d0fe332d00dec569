"""A connection of the application's own, as the statements of a store are said along it.

Whatever goes wrong on it is raised as its driver raises it: it is the application's transaction,
and its own code around that knows what to do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final
from uuid import UUID

__all__ = ["IDLE", "Line", "placed"]

_PLACE: Final = re.compile(r"\$(\d+)(?:::(double precision|[a-z]+)(\[\])?)?|%")
IDLE: Final = 0
"""The status of a connection without a transaction, as libpq numbers it."""


class Line:
    """A connection, as the statements of a store are said along it."""

    waits: ClassVar[bool] = False
    """It is one of asyncio. Else none of its coroutines ever waits: they run where they are
    called, to their end."""

    def __init__(self, given: Any) -> None:
        self.given = given

    async def fetch(self, text: str, *arguments: Any) -> list[Any]:
        """The rows of one statement with the places `$1`, `$2`."""
        raise NotImplementedError

    async def execute(self, text: str, *arguments: Any) -> None:
        """The same, of one that has none."""
        await self.fetch(text, *arguments)

    async def alone(self) -> bool:
        """Whether a statement would be a transaction by itself."""
        raise NotImplementedError

    async def busy(self) -> bool:
        """Whether a transaction is open."""
        raise NotImplementedError

    async def begin(self) -> None:
        """Begins a transaction, where none is open."""
        raise NotImplementedError

    async def commit(self) -> None:
        """Ends it."""
        raise NotImplementedError

    async def rollback(self) -> None:
        """Ends it, and nothing of it was."""
        raise NotImplementedError


def placed(text: str, arguments: Sequence[Any]) -> tuple[str, dict[str, Any] | None]:
    """A statement for drivers that take `%(p1)s` where PostgreSQL has `$1`. They may write the
    values into its text, so the type that is told at one place stands at each of them."""
    if not arguments:
        return text, None
    types = {match[1]: match[2] + (match[3] or "") for match in _PLACE.finditer(text) if match[2]}

    def place(match: re.Match[str]) -> str:
        number = match[1]
        if number is None:
            return "%%"
        return f"%(p{number})s::{types[number]}" if number in types else f"%(p{number})s"

    named = {f"p{n}": _plain(value) for n, value in enumerate(arguments, 1)}
    return _PLACE.sub(place, text), named


def _plain(value: Any) -> Any:
    """Ids as text: not every driver knows them."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, UUID) else value
