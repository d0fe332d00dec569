"""Within the application's own transaction: a job that is scheduled with it, an attempt that ends
with it."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar, cast

from backroom.errors import ConfigurationError, OptionError
from backroom.job import JobId, JobRecord
from backroom.ports import Along, Store, Transactional

__all__ = ["Prepared", "at_once", "transactional"]

T = TypeVar("T")


def transactional(storage: Store) -> Transactional:
    """The same storage, as one that can write within a transaction of the application's.

    Raises:
        ConfigurationError: it cannot.
    """
    if not storage.capabilities.transactional:
        raise ConfigurationError(
            f"{storage.url} cannot take part in a transaction of the application's: that needs the"
            " jobs in the application's PostgreSQL, as with DatabaseJobStorage(...)"
        )
    return cast(Transactional, storage)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine answers that waits for nothing: it runs here, without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as answer:
        return answer.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} would wait, and nobody is there to wake it")


class Prepared:
    """Jobs that are about to be written along a connection of the application's."""

    def __init__(self, along: Along, records: Sequence[JobRecord], now: int) -> None:
        self._along = along
        self._records = records
        self._now = now

    async def insert(self) -> list[JobId[Any]]:
        """Writes them. Along a connection without asyncio this waits for nothing."""
        if not self._records:
            return []
        return [JobId(one.id) for one in await self._along.insert(self._records, self._now)]

    def insert_here(self) -> list[JobId[Any]]:
        """Writes them in the thread that calls.

        Raises:
            OptionError: the connection is one of asyncio.
        """
        if self._along.waits:
            raise OptionError(
                f"{type(self._along.connection).__name__} is a connection for asyncio: give it to"
                " backroom.JobService, or a connection without asyncio to this one"
            )
        return at_once(self.insert())
