"""Within the application's own transaction: a job that is scheduled with it, an attempt that ends
with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from backroom.errors import (
    BackroomError,
    ConfigurationError,
    DuplicateJobError,
    LeaseLostError,
    OptionError,
    ServiceError,
)
from backroom.flow import FlowRecord, Piece
from backroom.job import JobId, JobRecord
from backroom.ports import Store
from backroom.transacting import Along, Transactional
from backroom.transition import Claim, Transition

__all__ = [
    "Attempt",
    "Prepared",
    "PreparedFlow",
    "Transaction",
    "Transactions",
    "at_once",
    "transactional",
]

C = TypeVar("C")
T = TypeVar("T")

log = logging.getLogger("backroom")

MAX_PAUSE: Final = 2.0


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


def _here(along: Along, write: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What is written along a connection, in the thread that calls.

    Raises:
        OptionError: the connection is one of asyncio.
    """
    if along.waits:
        raise OptionError(
            f"{type(along.connection).__name__} is a connection for asyncio: give it to"
            " backroom.JobService, or a connection without asyncio to this one"
        )
    return at_once(write())


class Prepared:
    """Jobs that are about to be written along a connection of the application's."""

    def __init__(self, along: Along, records: Sequence[JobRecord], now: int, many: bool) -> None:
        """`many`: of a `schedule_many`."""
        self._along = along
        self._records = records
        self._now = now
        self._many = many

    async def insert(self) -> list[JobId[Any]]:
        """Writes them. Along a connection without asyncio this waits for nothing."""
        if not self._records:
            return []
        try:
            return [JobId(one.id) for one in await self._along.insert(self._records, self._now)]
        except DuplicateJobError as error:
            if self._many:
                raise error.numbered() from None
            raise

    def insert_here(self) -> list[JobId[Any]]:
        """Writes them in the thread that calls.

        Raises:
            OptionError: the connection is one of asyncio.
        """
        return _here(self._along, self.insert)


class PreparedFlow:
    """A workflow that is about to be written along a connection of the application's."""

    def __init__(self, along: Along, flow: FlowRecord, piece: Piece, now: int) -> None:
        self._along = along
        self._flow = flow
        self._piece = piece
        self._now = now

    async def insert(self) -> None:
        """Writes it. Along a connection without asyncio this waits for nothing."""
        await self._along.insert_flow(self._flow, self._piece, self._now)

    def insert_here(self) -> None:
        """Writes it in the thread that calls.

        Raises:
            OptionError: the connection is one of asyncio.
        """
        _here(self._along, self.insert)


class Attempt(msgspec.Struct, eq=False):
    """An attempt that may end within a transaction, as the runner tells of it."""

    claim: Claim
    begin: Callable[[], None]
    """Raises: ServiceError: it has ended, or has had its transaction."""
    end: Callable[[Any], Transition]
    """What becomes of the job with this result. Raises: JobTypeError, PayloadTooLargeError."""
    take_back: Callable[[Transition], None]
    """That was not written after all."""
    completed: Callable[[Transition], None]
    """That was committed. Called in the thread of the handler."""


class Transactions:
    """How the attempts of one worker end within transactions."""

    def __init__(
        self,
        storage: Store,
        *,
        worker: Callable[[], int],
        leased: Callable[[], bool],
        now: Callable[[], int],
        written: Callable[[Claim, Transition], None],
    ) -> None:
        """`written` is called with outcomes that were committed."""
        self._storage = storage
        self._worker = worker
        self._leased = leased
        self._now = now
        self._written = written
        self._loop = asyncio.get_running_loop()

    async def open(self, connection: object, stack: AsyncExitStack) -> Along:
        """A connection of the application's, or where there is none one of the storage's."""
        storage = transactional(self._storage)
        if connection is None:
            return await stack.enter_async_context(storage.lend())
        along = storage.along(connection)
        await self._on_loop(along.prepare(()))
        return along

    async def finish(self, along: Along, transition: Transition, pieces: Sequence[Piece]) -> None:
        """Writes an outcome, after what the job adds to its workflow, and commits it with all that
        was done.

        Raises:
            LeaseLostError: the job belongs to another.
            JobStateError: its workflow takes not what it adds.
        """
        queues = {member.record.queue for piece in pieces for member in piece.members}
        queues |= {job.queue for job in transition.follows or ()}
        if queues:
            await self._on_loop(along.prepare(queues))
        if not self._leased() or not await along.finish(transition, self._now(), pieces):
            raise LeaseLostError(
                "this attempt may not complete its job any more, its lease has ended: nothing of"
                " its transaction was written"
            )
        try:
            await along.commit()
        except Exception as error:
            if not await self._on_loop(self._stood(transition)):
                raise
            log.warning(
                "the commit that completed a job was answered by an error, but it stands: %r",
                error, exc_info=error,
            )  # fmt: skip

    def finished(self, claim: Claim, transition: Transition) -> None:
        """An outcome was committed. Callable from any thread."""

        def tell() -> None:
            transactional(self._storage).finished(self._worker(), transition)
            self._written(claim, transition)

        try:
            self._loop.call_soon_threadsafe(tell)
        except RuntimeError:
            log.debug("%s %s was completed after its worker's loop", claim.type, claim.id)

    async def _stood(self, transition: Transition) -> bool:
        """Whether it was committed, asked until there is an answer."""
        pause = 0.05
        while True:
            try:
                return await transactional(self._storage).stood(transition)
            except BackroomError as error:
                if not self._leased():
                    raise
                log.warning("whether a job was completed is not known, soon again: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE)

    async def _on_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """On the loop of the worker, wherever this runs."""
        if _running() is self._loop:
            return await coroutine
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class Transaction(Generic[C]):
    """What is done within this block, the jobs that are scheduled along its connection, and the
    completion of the job are committed together at its end, or not at all.

    `async with` in an `async def` handler; in a `def` handler `with`, on a connection of the
    application's without asyncio. An exception in the block rolls all back and goes on.
    """

    result: Any
    """What the job completes with; may be set until the block ends."""

    def __init__(
        self, transactions: Transactions, attempt: Attempt, connection: C, result: Any
    ) -> None:
        self.result = result
        self._transactions = transactions
        self._attempt = attempt
        self._given: Any = connection
        self._stack = AsyncExitStack()
        self._along: Along
        self._lent: Any = None
        """What the block has of the connection; None: it has not begun, or has ended."""
        self._pieces: list[Piece] = []

    def has(self, connection: object) -> bool:
        """Whether the block is being run, with this connection."""
        return self._lent is not None and self._lent is connection

    def extend(self, piece: Piece) -> None:
        """Adds jobs to the workflow of the job, with its completion: not before, since whoever
        adds to a workflow holds it until the commit, and nobody else may end a job of it.

        Raises:
            ServiceError: the block has ended.
        """
        if self._lent is None:
            raise ServiceError(
                f"the transaction of job {self._attempt.claim.id} has ended, and nothing was added"
                " to its workflow: end the block of extend_workflow before that of"
                " job.transaction()"
            )
        self._pieces.append(piece)

    async def __aenter__(self) -> C:
        return await self._begin()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Whoever interrupts the handler now waits until it is known what was written.
        ending = asyncio.ensure_future(self._end(error))
        interrupted: asyncio.CancelledError | None = None
        while not ending.done():
            try:
                await asyncio.wait([ending])
            except asyncio.CancelledError as cancelled:
                interrupted = cancelled
        if interrupted is not None:
            raise interrupted from ending.exception()
        ending.result()

    def __enter__(self) -> C:
        if _running() is not None:
            raise ServiceError("on an event loop, write `async with job.transaction(...)`")
        if self._given is None:
            raise ServiceError(
                "without asyncio, job.transaction() needs a connection of the application's own:"
                " job.transaction(connection)"
            )
        return at_once(self._begin())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        at_once(self._end(error))

    async def _begin(self) -> C:
        self._attempt.begin()
        try:
            self._along = await self._transactions.open(self._given, self._stack)
            if self._along.waits and _running() is None:
                raise OptionError(
                    f"{type(self._given).__name__} is a connection for asyncio: this handler needs"
                    " one without, or must be `async def`"
                )
            await self._along.begin()
        except BaseException:
            await self._stack.aclose()
            raise
        connection: C = self._along.connection if self._given is None else self._given
        self._lent = connection
        return connection

    async def _end(self, error: BaseException | None) -> None:
        self._lent = None
        async with self._stack:
            if error is not None:
                await self._roll_back()
                return
            transition = None
            try:
                transition = self._attempt.end(self.result)
                await self._transactions.finish(self._along, transition, self._pieces)
            except BaseException:
                if transition is not None:
                    self._attempt.take_back(transition)
                await self._roll_back()
                raise
            self._attempt.completed(transition)

    async def _roll_back(self) -> None:
        try:
            await self._along.rollback()
        except Exception as error:
            # The server rolls back what it hears no more of; what led here counts.
            log.warning(
                "a transaction was not rolled back by %r: %r", self._attempt.claim.id, error
            )


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
