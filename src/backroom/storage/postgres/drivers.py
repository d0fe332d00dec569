"""Connections of asyncpg, psycopg and psycopg2; and which connection is of which kind.

That is known by the names of its classes, so that no driver is imported here that the application
does not use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from backroom.errors import OptionError
from backroom.storage.postgres.frameworks import Alchemy, AsyncAlchemy, Django
from backroom.storage.postgres.line import IDLE, Line, placed

__all__ = ["Asyncpg", "Psycopg", "line_of"]

ACCEPTED: Final = (
    "a connection of asyncpg, psycopg 3 or psycopg2, a Session, AsyncSession, Connection or"
    " AsyncConnection of SQLAlchemy over one of these, or django.db.connection"
)


class Asyncpg(Line):
    """`asyncpg.Connection`, and what a pool gives."""

    waits = True
    _transaction: Any = None

    async def fetch(self, text: str, *arguments: Any) -> list[Any]:
        return await self.given.fetch(text, *arguments)  # type: ignore[no-any-return]

    async def execute(self, text: str, *arguments: Any) -> None:
        await self.given.execute(text, *arguments)

    async def alone(self) -> bool:
        return not self.given.is_in_transaction()

    async def busy(self) -> bool:
        return bool(self.given.is_in_transaction())

    async def begin(self) -> None:
        self._transaction = self.given.transaction()
        await self._transaction.start()

    async def commit(self) -> None:
        await self._transaction.commit()

    async def rollback(self) -> None:
        if self.given.is_in_transaction():  # A commit that failed has rolled back.
            await self._transaction.rollback()


class OfLibpq(Line):
    """What all of psycopg tell of a connection alike."""

    async def alone(self) -> bool:
        return bool(self.given.autocommit) and not await self.busy()

    async def busy(self) -> bool:
        return bool(self.given.info.transaction_status != IDLE)

    async def begin(self) -> None:
        if self.given.autocommit:
            await self.execute("BEGIN")


class Psycopg(OfLibpq):
    """`psycopg.Connection`."""

    def _cursor(self, kind: str) -> Any:
        psycopg = sys.modules["psycopg"]
        if not hasattr(psycopg, kind):
            raise OptionError(
                f"psycopg {psycopg.__version__} has no {kind}: use psycopg 3.2 or newer"
            )
        # Rows as they come, whatever the application makes of its own.
        rows = sys.modules["psycopg.rows"].tuple_row
        return getattr(psycopg, kind)(self.given, row_factory=rows)

    async def fetch(self, text: str, *arguments: Any) -> list[Any]:
        with self._cursor("RawCursor") as cursor:
            cursor.execute(text, arguments or None)
            return cursor.fetchall() if cursor.description else []

    async def commit(self) -> None:
        self.given.commit()

    async def rollback(self) -> None:
        self.given.rollback()


class AsyncPsycopg(Psycopg):
    """`psycopg.AsyncConnection`."""

    waits = True

    async def fetch(self, text: str, *arguments: Any) -> list[Any]:
        async with self._cursor("AsyncRawCursor") as cursor:
            await cursor.execute(text, arguments or None)
            return await cursor.fetchall() if cursor.description else []

    async def commit(self) -> None:
        await self.given.commit()

    async def rollback(self) -> None:
        await self.given.rollback()


class Psycopg2(OfLibpq):
    """A connection of psycopg2."""

    def __init__(self, given: Any) -> None:
        if given.async_:
            raise OptionError(f"a connection of psycopg2 in its async mode is not taken: {given!r}")
        super().__init__(given)

    async def fetch(self, text: str, *arguments: Any) -> list[Any]:
        plain = sys.modules["psycopg2.extensions"].cursor
        with self.given.cursor(cursor_factory=plain) as cursor:
            cursor.execute(*placed(text, arguments))
            return cursor.fetchall() if cursor.description else []

    async def commit(self) -> None:
        await self._end("COMMIT", self.given.commit)

    async def rollback(self) -> None:
        await self._end("ROLLBACK", self.given.rollback)

    async def _end(self, word: str, end: Callable[[], None]) -> None:
        if self.given.autocommit:  # Then its own methods do nothing.
            await self.execute(word)
        else:
            end()


_LINES: Final[dict[tuple[str, str], type[Line]]] = {
    ("asyncpg", "Connection"): Asyncpg,
    ("asyncpg", "PoolConnectionProxy"): Asyncpg,
    ("psycopg", "Connection"): Psycopg,
    ("psycopg", "AsyncConnection"): AsyncPsycopg,
    ("psycopg2", "connection"): Psycopg2,
    ("django", "BaseDatabaseWrapper"): Django,
    ("django", "ConnectionProxy"): Django,
    ("sqlalchemy", "Session"): Alchemy,
    ("sqlalchemy", "Connection"): Alchemy,
    ("sqlalchemy", "AsyncSession"): AsyncAlchemy,
    ("sqlalchemy", "AsyncConnection"): AsyncAlchemy,
}
_SCOPED: Final = {("sqlalchemy", "scoped_session"), ("sqlalchemy", "async_scoped_session")}


def line_of(given: Any) -> Line:
    """The connection that the application gave, as its driver takes it.

    Raises:
        OptionError: it is none that is known.
    """
    for kind in type(given).__mro__:
        name = (kind.__module__.partition(".")[0], kind.__name__)
        if name in _SCOPED:
            return line_of(given.registry())
        if name in _LINES:
            return _LINES[name](given)
    raise OptionError(f"connection must be {ACCEPTED}; got {given!r}")
