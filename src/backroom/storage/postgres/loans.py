"""Connections that are lent to handlers, apart from those of the storage: whoever has one for
long keeps nobody from claiming, scheduling or ending jobs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import ClassVar, Final

import asyncpg

from backroom.storage.postgres.drivers import Asyncpg
from backroom.storage.postgres.links import Links

__all__ = ["Loan", "Loans"]

log = logging.getLogger("backroom.storage")

KEPT: Final = 5
"""Connections that lie idle until somebody asks for one."""
CLEAN: Final = 5.0
"""Seconds that a connection may take to forget what was set there."""


class Loan(Asyncpg):
    """A connection of ours, in somebody's hands."""

    def __init__(self, given: asyncpg.Connection, loans: Loans) -> None:
        super().__init__(given)
        self._loans = loans

    async def begin(self) -> None:
        try:
            await super().begin()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            # It lay idle, and the server may have ended it since.
            self.given.terminate()
            self.given = await self._loans.connect()
            await super().begin()


PLAIN: Final[Mapping[str, str]] = {}
"""What the sessions of handlers are told: they are as the application knows them."""


class Loans(Links):
    """A few for each loop; who asks for more waits until one comes back."""

    most: ClassVar[int] = 20
    """Transactions of handlers at once."""
    settings: Mapping[str, str] = PLAIN

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Loan]:
        """A connection, until the end of the block.

        Raises:
            StorageError: none could be made.
        """
        ours = self._here()
        async with ours.room:
            ours.idle[:] = [one for one in ours.idle if not one.is_closed()]
            loan = Loan(ours.idle.pop() if ours.idle else await self.connect(), self)
            try:
                yield loan
            finally:
                if len(ours.idle) < KEPT and await self._fit(loan.given):
                    ours.idle.append(loan.given)
                else:
                    loan.given.terminate()

    async def _fit(self, connection: asyncpg.Connection) -> bool:
        """Whether it can be lent again: what was set there is of nobody else's concern."""
        if not self.open or connection.is_closed():
            return False
        try:
            await connection.reset(timeout=CLEAN)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            log.debug("a connection that was lent is not taken back: %r", error)
            return False
        return self.open
