"""The seam of transactions: what a storage writes within one of the application's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from backroom.flow import FlowRecord, Piece
from backroom.job import JobRecord
from backroom.ports import Inserted
from backroom.transition import Transition

__all__ = ["Along", "Transactional"]


class Along(Protocol):
    """A connection of the application's, for one use by a storage. What is at fault with it is
    raised as its driver raises it."""

    @property
    def connection(self) -> Any:
        """What the application has of it."""
        ...

    waits: bool
    """It is one of asyncio. Else none of these coroutines ever waits: each runs to its end
    where it is called (`at_once`), in whichever thread."""

    async def prepare(self, queues: Collection[str]) -> None:
        """Before all else, on the loop of the storage: for jobs of these queues."""
        ...

    async def insert(self, jobs: Sequence[JobRecord], now: int) -> list[Inserted]:
        """As `JobStorage.insert`, and all of it with the transaction that is open there.

        Raises:
            ConfigurationError: it leads to another database.
        """
        ...

    async def insert_flow(self, flow: FlowRecord, piece: Piece, now: int) -> None:
        """As `Flowing.insert_flow`, and all of it with the transaction that is open there.

        Raises:
            ConfigurationError: it leads to another database.
        """
        ...

    async def begin(self) -> None:
        """Begins a transaction.

        Raises:
            ConfigurationError: one is open; or it leads to another database.
        """
        ...

    async def finish(self, transition: Transition, now: int, pieces: Sequence[Piece] = ()) -> bool:
        """Writes an outcome, if its lease token still stands, which it says; and before that, adds
        `pieces` to the flow of the job, as `Flowing.extend_flow`.

        Raises:
            JobStateError: as `Flowing.extend_flow`. The transaction is to be rolled back.
        """
        ...

    async def commit(self) -> None: ...
    async def rollback(self) -> None: ...


class Transactional(Protocol):
    """A storage that can write within a transaction of the application's."""

    def along(self, connection: object) -> Along:
        """A connection of the application's to the same database. To be called in the thread
        that uses it, for what is given may stand for another one in each thread.

        Raises:
            OptionError: it is none of those that are known.
        """
        ...

    def lend(self) -> AbstractAsyncContextManager[Along]:
        """A connection of the storage's own, until the end of the block."""
        ...

    async def stood(self, transition: Transition) -> bool:
        """Whether an outcome was committed: for who has had no answer. Whoever is about to do it
        is waited for."""
        ...

    def finished(self, worker: int, transition: Transition) -> None:
        """An outcome of this worker was committed along a connection."""
        ...
