"""Connections of the application's own: how each driver calls the few things asked of one.

A driver is known by the names of a connection's classes, so that none is imported here that the
application does not use. Whatever goes wrong on a connection is raised as its driver raises it:
it is the application's transaction, and its own code around it knows what to do.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final
from uuid import UUID

from backroom.errors import OptionError

__all__ = ["Line", "line_of", "placed"]

ACCEPTED: Final = (
    "a connection of asyncpg, psycopg 3 or psycopg2, a Session, AsyncSession, Connection or"
    " AsyncConnection of SQLAlchemy over one of these, or django.db.connection"
)
_PLACE: Final = re.compile(r"\$(\d+)(?:::(double precision|[a-z]+)(\[\])?)?|%")
_IDLE: Final = 0
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


class Psycopg(Line):
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

    async def alone(self) -> bool:
        return bool(self.given.autocommit) and not await self.busy()

    async def busy(self) -> bool:
        return bool(self.given.info.transaction_status != _IDLE)

    async def begin(self) -> None:
        if self.given.autocommit:
            await self.execute("BEGIN")

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


class Psycopg2(Line):
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

    async def alone(self) -> bool:
        return bool(self.given.autocommit) and not await self.busy()

    async def busy(self) -> bool:
        return bool(self.given.info.transaction_status != _IDLE)

    async def begin(self) -> None:
        if self.given.autocommit:
            await self.execute("BEGIN")

    async def commit(self) -> None:
        await self._end("COMMIT", self.given.commit)

    async def rollback(self) -> None:
        await self._end("ROLLBACK", self.given.rollback)

    async def _end(self, word: str, end: Callable[[], None]) -> None:
        if self.given.autocommit:  # Then its own methods do nothing.
            await self.execute(word)
        else:
            end()


class Django(Line):
    """`django.db.connection`, or one of `django.db.connections`."""

    _atomic: Any = None

    def __init__(self, given: Any) -> None:
        if given.vendor != "postgresql":
            raise OptionError(f"a connection of Django to {given.vendor}: take one to PostgreSQL")
        super().__init__(given)

    async def fetch(self, text: str, *arguments: Any) -> list[Any]:
        with self.given.cursor() as cursor:
            cursor.execute(*placed(text, arguments))
            return list(cursor.fetchall()) if cursor.description else []

    async def alone(self) -> bool:
        return bool(self.given.get_autocommit()) and not self.given.in_atomic_block

    async def busy(self) -> bool:
        return not await self.alone()

    async def begin(self) -> None:
        self._atomic = sys.modules["django.db.transaction"].atomic(self.given.alias, durable=True)
        self._atomic.__enter__()

    async def commit(self) -> None:
        self._atomic.__exit__(None, None, None)

    async def rollback(self) -> None:
        if self.given.in_atomic_block:  # A commit that failed has rolled back.
            self.given.set_rollback(True)
            self._atomic.__exit__(None, None, None)


class Alchemy(Line):
    """A `Session` or `Connection` of SQLAlchemy. What is said goes its way, since the transaction
    of the driver begins only with the first statement that does."""

    async def _connection(self) -> Any:
        given = self.given
        return given.connection() if hasattr(given, "get_bind") else given

    async def _say(self, text: str, arguments: Any) -> Any:
        return (await self._connection()).exec_driver_sql(text, arguments)

    async def fetch(self, text: str, *arguments: Any) -> list[Any]:
        dialect = (await self._connection()).dialect
        if dialect.name != "postgresql" or dialect.driver not in _DIALECTS:
            raise OptionError(
                f"a connection of SQLAlchemy over {dialect.name}+{dialect.driver}: take one over"
                f" postgresql+{', postgresql+'.join(_DIALECTS)}"
            )
        if dialect.paramstyle == "pyformat":
            said = await self._say(*placed(text, arguments))
        else:
            said = await self._say(text, arguments or None)
        return list(said.all()) if said.returns_rows else []

    async def _pooled(self) -> Any:
        return (await self._connection()).connection

    async def alone(self) -> bool:
        pooled = await self._pooled()
        if not pooled.dbapi_connection.autocommit:
            return False
        driver = pooled.driver_connection
        if hasattr(driver, "is_in_transaction"):
            return not driver.is_in_transaction()
        return bool(driver.info.transaction_status == _IDLE)

    async def busy(self) -> bool:
        return bool(self.given.in_transaction())

    async def begin(self) -> None:
        self.given.begin()
        await self._not_alone()

    async def _not_alone(self) -> None:
        if await self.alone():
            await self.rollback()
            raise OptionError(
                f"{type(self.given).__name__} is in autocommit mode, where nothing can be rolled"
                " back: take one without isolation_level='AUTOCOMMIT'"
            )

    async def commit(self) -> None:
        self.given.commit()

    async def rollback(self) -> None:
        self.given.rollback()


class AsyncAlchemy(Alchemy):
    """An `AsyncSession` or `AsyncConnection`."""

    waits = True

    async def _connection(self) -> Any:
        given = self.given
        return await given.connection() if hasattr(given, "get_bind") else given

    async def _say(self, text: str, arguments: Any) -> Any:
        return await (await self._connection()).exec_driver_sql(text, arguments)

    async def _pooled(self) -> Any:
        return await (await self._connection()).get_raw_connection()

    async def begin(self) -> None:
        await self.given.begin()
        await self._not_alone()

    async def commit(self) -> None:
        await self.given.commit()

    async def rollback(self) -> None:
        await self.given.rollback()


_DIALECTS: Final = ("asyncpg", "psycopg", "psycopg_async", "psycopg2")
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
