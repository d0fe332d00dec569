"""Connections of SQLAlchemy and of Django, whatever driver is below."""

from __future__ import annotations

import sys
from typing import Any, Final

from backroom.errors import OptionError
from backroom.storage.postgres.line import IDLE, Line, placed

__all__ = ["Alchemy", "AsyncAlchemy", "Django"]

_DIALECTS: Final = ("asyncpg", "psycopg", "psycopg_async", "psycopg2")


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
        return bool(driver.info.transaction_status == IDLE)

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
