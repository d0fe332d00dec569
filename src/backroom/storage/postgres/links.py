"""Connections to the database: a few for each loop that uses the storage."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar, Final, TypeVar

import asyncpg

from backroom.errors import (
    BackroomError,
    ConfigurationError,
    LeaseLostError,
    StorageClosedError,
    StorageError,
    StorageFullError,
)
from backroom.storage.masks import masked
from backroom.storage.postgres.sources import Source, refusal

__all__ = ["CONNECT", "Links", "is_of_values", "masked"]

log = logging.getLogger("backroom.storage")

T = TypeVar("T")

MOST: Final = 6
"""Connections a loop has open at most, beside the one that listens."""
TRIES: Final = 5
"""How often a change is tried that another transaction was in the way of."""
CONNECT: Final = 10.0
"""Seconds that a connection may take to be made."""

SETTINGS: Final = {
    "application_name": "backroom",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}

_AGAIN: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.exceptions.LockNotAvailableError,
    asyncpg.CheckViolationError,  # Its place became a partition while it was on its way.
)
_VALUES: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.exceptions.ProgramLimitExceededError,
)
_CUT: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.ConnectionFailureError,
    asyncpg.exceptions.ReadOnlySQLTransactionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # What asyncpg says where the server ended it between two words.
    TimeoutError,
)


class _Loop:
    """The connections of one loop."""

    def __init__(self, most: int) -> None:
        self.idle: list[asyncpg.Connection] = []
        self.room = asyncio.Semaphore(most)
        self.working: set[asyncio.Task[Any]] = set()
        self.minding = asyncio.get_running_loop().create_task(self._mind())

    async def _mind(self) -> None:
        """Who runs a loop to its end cancels what is left on it: then these end, too."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for connection in self.idle:
                connection.terminate()
            self.idle.clear()
            await asyncio.sleep(0)  # The sockets are closed in the loop's next turn.


class Links:
    """Runs work on connections, and says in our words what went wrong."""

    most: ClassVar[int] = MOST
    settings: ClassVar[dict[str, str]] = SETTINGS

    def __init__(self, source: Source) -> None:
        self.source = source
        self.url = source.url
        self._loops: dict[asyncio.AbstractEventLoop, _Loop] = {}
        self.open = False
        self.pooled = False
        """Something between us and the server shares its sessions out: they are nobody's own."""
        self.arrive: Callable[[asyncpg.Connection], Awaitable[None]] | None = None
        """What is done first on every connection."""

    async def connect(self) -> asyncpg.Connection:
        """A connection of one's own.

        Raises:
            ConfigurationError: the URL, or who it names, is refused. StorageError: no answer.
        """
        return await self._reached(self._connected())

    async def _connected(self) -> asyncpg.Connection:
        connection = await self.source.connect(CONNECT, self.settings)
        if self.arrive is not None:
            try:
                await self.arrive(connection)
            except BaseException:
                connection.terminate()
                raise
        return connection

    async def _reached(self, connecting: Awaitable[asyncpg.Connection]) -> asyncpg.Connection:
        try:
            connection = await connecting
        except (*_CUT, asyncpg.PostgresError, ValueError) as error:
            told = refusal(self.url, error, CONNECT)
            raise told from (error if isinstance(told, StorageError) else None)
        return connection

    async def _take(self, ours: _Loop) -> asyncpg.Connection:
        pool = self.source.pool_here()
        if pool is not None:
            return await self._reached(self.source.borrow(pool, CONNECT))
        while ours.idle:
            connection = ours.idle.pop()
            if not connection.is_closed():
                return connection
        return await self.connect()

    async def _give(self, ours: _Loop, connection: asyncpg.Connection) -> None:
        pool = self.source.pool_here()
        if pool is None:
            ours.idle.append(connection)
        else:
            with suppress(*_CUT, asyncpg.PostgresError):  # It cleans it, and throws it away.
                await pool.release(connection)

    async def run(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Carries out `work`, to its end even where its caller is cancelled. It is done again
        where another transaction was in its way, and once more where the connection broke:
        what is asked of a storage may be asked twice.

        Raises: `StorageError`, or what `work` raises of ours.
        """
        ours = self._here()
        task = asyncio.get_running_loop().create_task(self._run(ours, work))
        ours.working.add(task)
        task.add_done_callback(ours.working.discard)
        return await asyncio.shield(task)

    def _here(self) -> _Loop:
        if not self.open:
            raise StorageClosedError(f"the job store {masked(self.url)} is not open")
        loop = asyncio.get_running_loop()
        ours = self._loops.get(loop)
        if ours is None:
            # Those of a loop that has ended go with it, as the lease's thread has one of its own.
            self._loops = {one: its for one, its in self._loops.items() if not one.is_closed()}
            ours = self._loops[loop] = _Loop(self.most)
        return ours

    async def _run(self, ours: _Loop, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        cut = False
        for attempt in range(TRIES):
            async with ours.room:
                connection = await self._take(ours)
                try:
                    answer = await work(connection)
                except BaseException as error:
                    if isinstance(error, _CUT) or not isinstance(
                        error, (BackroomError, asyncpg.PostgresError)
                    ):
                        connection.terminate()
                    else:
                        await self._give(ours, connection)
                    again = isinstance(error, _AGAIN) and attempt < TRIES - 1
                    if isinstance(error, _CUT):
                        for other in ours.idle:  # What befell this one befell them, too.
                            other.terminate()
                        ours.idle.clear()
                        again, cut = not cut, True
                    if not again:
                        told = self._told(error)
                        raise told from (None if told is error else error)
                else:
                    await self._give(ours, connection)
                    return answer
            await asyncio.sleep(0.01 * 2**attempt * random.random())
        raise AssertionError("unreachable")

    def _told(self, error: BaseException) -> BaseException:
        if isinstance(error, (BackroomError, LeaseLostError)):
            return error
        name = masked(self.url)
        if isinstance(error, asyncpg.exceptions.DiskFullError):
            return StorageFullError(f"{name}: the disk of the server is full: {error}")
        if isinstance(error, asyncpg.InsufficientPrivilegeError):
            return ConfigurationError(f"{name}: {error}")
        if isinstance(error, _CUT):
            return StorageError(
                f"{name} did not answer: {error or type(error).__name__}; whether it was carried"
                " out is not known"
            )
        if isinstance(error, asyncpg.PostgresError):
            return StorageError(f"{name}: {error}")
        return error

    async def close(self) -> None:
        """Ends what runs on this loop, and all connections."""
        self.open = False
        loops, self._loops = self._loops, {}
        here = loops.pop(asyncio.get_running_loop(), None)
        if here is not None:
            if here.working:
                await asyncio.wait(here.working)
            idle, here.idle = here.idle, []
            for connection in idle:
                with suppress(Exception):
                    await connection.close(timeout=1)
            here.minding.cancel()
            await asyncio.wait([here.minding])
        for loop, theirs in loops.items():
            with suppress(RuntimeError):  # It has ended, and its connections with it.
                loop.call_soon_threadsafe(theirs.minding.cancel)


def is_of_values(error: BaseException) -> bool:
    """Whether the values that were to be written are at fault: then one of a group may be
    written without the others. All else befalls all of them."""
    cause = error.__cause__ if isinstance(error, BackroomError) else error
    return isinstance(cause, _VALUES) or not isinstance(error, BackroomError)
