"""Connections to the database: a few for each loop that uses the storage."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import ClassVar, Final, TypeVar

import asyncpg
from asyncpg import exceptions

from backroom.errors import (
    BackroomError,
    DuplicateJobError,
    LeaseLostError,
    StorageClosedError,
    StorageError,
)
from backroom.storage.masks import masked
from backroom.storage.postgres.connecting import ANSWER, CONNECT, READING, SESSION, connect
from backroom.storage.postgres.loops import MOST, OfLoop
from backroom.storage.postgres.mishaps import (
    UNCHANGED,
    UNKNOWN,
    Mishap,
    is_away,
    is_of_values,
    mishap_of,
    no_connection,
    told,
)
from backroom.storage.postgres.outage import Outage
from backroom.storage.postgres.sources import Source, source_of

__all__ = ["CONNECT", "Links", "is_away", "is_of_values", "masked"]

log = logging.getLogger("backroom.storage")

T = TypeVar("T")

TRIES: Final = 5
"""How often a change is tried that another transaction was in the way of."""
FULL: Final = 1.0
"""Seconds that who has no connection tries to get one of a server that has none to give."""
ROOM: Final = 30.0
"""Seconds that work may wait for a connection of the loop that is free."""

_SAME_ANYWAY: Final = (LeaseLostError, StorageError, DuplicateJobError)
"""What is as true if an earlier try was carried out."""


class Links:
    """Runs work on connections, and says in our words what went wrong."""

    most: ClassVar[int] = MOST
    settings: Mapping[str, str] = SESSION

    def __init__(
        self,
        source: Source,
        *,
        pooled: bool = False,
        listen_url: str | None = None,
        read_only: bool = False,
    ) -> None:
        self.read_only = read_only
        """Nothing may be changed; any server will do, a standby rather than its primary."""
        if read_only:
            self.settings = SESSION | READING
        self.source = source
        self.url = url = source.url
        self.pooled = pooled
        """A proxy is between: nothing that a session keeps is to be relied on."""
        self.ear = source_of(listen_url) if listen_url else None if pooled else source
        """Where wake-ups can be heard; None: nowhere."""
        self.arrive: Callable[[asyncpg.Connection], Awaitable[None]] | None = None
        """What is done first on every connection."""
        self.answer = ANSWER
        """Seconds that the server may take for what is on the way of a job."""
        self.outage = Outage(masked(url))
        self.deafness = self.outage
        """What keeps wake-ups from being heard."""
        if self.ear not in (None, source):
            self.deafness = Outage(f"{masked(str(listen_url))}, for wake-ups,")
        self._loops: dict[asyncio.AbstractEventLoop, OfLoop] = {}
        self.open = False
        self._given_up = False
        """Who closes it has waited long enough."""
        self._connecting: dict[asyncio.Timeout, asyncio.AbstractEventLoop] = {}
        self.cuts = 0
        """How often a connection was cut, or led to a server that does not take changes."""

    async def connect(self, within: float = CONNECT, sure: bool = True) -> asyncpg.Connection:
        """A connection of one's own. `sure`: nothing was tried before.

        Raises:
            ConfigurationError: the URL, or who it names, is refused. StorageError: no answer.
        """
        within = min(within, self.answer, CONNECT)

        def told(error: Exception) -> BackroomError:
            said = no_connection(error, self.url, sure, within)
            self.outage.note(said)
            return said

        patience = asyncio.timeout(None)
        try:
            async with patience:
                self._connecting[patience] = asyncio.get_running_loop()
                return await connect(
                    self.source, told, settings=self.settings, pooled=self.pooled, within=within,
                    arrive=self.arrive,
                    attributes="prefer-standby" if self.read_only else "read-write",
                )  # fmt: skip
        except TimeoutError as error:
            raise told(error) from error
        finally:
            del self._connecting[patience]

    async def connect_to_listen(self) -> asyncpg.Connection:
        """A connection of one's own for wake-ups.

        Raises: `BackroomError`.
        """
        assert self.ear is not None
        within = min(self.answer, CONNECT)
        return await connect(
            self.ear, self._nobody_wakes, settings=self.settings, listening=True, within=within,
            arrive=self.arrive,
        )  # fmt: skip

    def _nobody_wakes(self, error: Exception) -> BackroomError:
        url = "" if self.ear is None else self.ear.url
        said = no_connection(error, url, True, min(self.answer, CONNECT))
        return type(said)(f"no wake-ups: {said}; jobs are found by looking every poll_interval")

    async def _take(self, ours: OfLoop, within: float, sure: bool, own: bool) -> asyncpg.Connection:
        if self._given_up:
            raise self._closed()
        pool = None if own else self.source.pool_here()
        if pool is not None:
            return await self.source.borrow(pool, min(within, CONNECT))
        return ours.take() or await self._another(ours, within, sure)

    async def _give(
        self, ours: OfLoop, link: asyncpg.Connection, mishap: Mishap | None, own: bool
    ) -> None:
        pool = None if own else self.source.pool_here()
        if pool is None:
            if mishap is None:
                ours.keep(link)
            else:
                ours.put_back(link, mishap)
            return
        if mishap not in (None, Mishap.REFUSED, Mishap.AGAIN):
            with suppress(asyncpg.InterfaceError):  # Its pool has done so itself.
                link.terminate()
            await pool.expire_connections()  # What befell this one befell the others, too.
        try:
            await pool.release(link)  # It cleans it, and throws it away if need be.
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.debug("the pool did not take a connection back: %r", error)

    async def run(
        self,
        work: Callable[[asyncpg.Connection], Awaitable[T]],
        *,
        within: float | None = None,
        once: bool = False,
        own: bool = False,
        apart: bool = True,
    ) -> T:
        """Carries out `work`, to its end even where its caller is cancelled. It is done again
        where another transaction was in its way, and once more where the connection broke:
        what is asked of a storage may be asked twice.

        Args:
            within: seconds that each try may take, `answer` if not given; a connection that has
                not answered by then is given up.
            once: where the connection broke, the caller has to know: what was carried out then
                is not what would be carried out now.
            own: on a connection that no pool lent.
            apart: in a task of its own. Not where nobody cancels the one that calls: two turns
                of the loop less, which a job that comes alone waits for.

        Raises: `StorageError`, or what `work` raises of ours.
        """
        ours = self._here()
        running = self._run(ours, work, within or self.answer, once, own)
        if not apart:
            return await running
        task = asyncio.get_running_loop().create_task(running)
        ours.working.add(task)
        task.add_done_callback(ours.has_run)
        return await asyncio.shield(task)

    def _closed(self) -> StorageClosedError:
        return StorageClosedError(f"the job store {masked(self.url)} is not open")

    def _here(self) -> OfLoop:
        if not self.open:
            raise self._closed()
        loop = asyncio.get_running_loop()
        ours = self._loops.get(loop)
        if ours is None:
            # Those of a loop that has ended go with it, as the lease's thread has one of its own.
            self._loops = {one: its for one, its in self._loops.items() if not one.is_closed()}
            ours = self._loops[loop] = OfLoop(self.most)
        return ours

    async def _run(
        self,
        ours: OfLoop,
        work: Callable[[asyncpg.Connection], Awaitable[T]],
        within: float,
        once: bool,
        own: bool,
    ) -> T:
        loop = asyncio.get_running_loop()
        sure = fresh = True
        for attempt in range(TRIES):
            await self._enter(ours, sure)
            try:
                link = await self._take(ours, within, sure, own)
                ours.lent.add(link)
                late = loop.call_later(within, link.terminate)
                try:
                    answer = await work(link)
                except BaseException as error:
                    mishap = mishap_of(error)
                    failure = error
                    if mishap in (Mishap.CUT, Mishap.ODD) and late.when() <= loop.time():
                        # What the driver says of a connection that we gave up is anything.
                        mishap, failure = Mishap.CUT, TimeoutError(f"not within {within:g} s")
                    await self._give(ours, link, mishap, own)
                else:
                    await self._give(ours, link, None, own)
                    if self.outage.on:
                        self.outage.past()
                    return answer
                finally:
                    late.cancel()
                    ours.lent.discard(link)
                    ours.back.set()
            finally:
                ours.room.release()
            again = mishap is Mishap.AGAIN and attempt < TRIES - 1
            if mishap in (Mishap.CUT, Mishap.STALE):
                self.cuts += 1
                again, fresh = fresh and not (once and mishap is Mishap.CUT), False
                sure = sure and mishap is Mishap.STALE
            if not again or self._given_up:
                said = self._told(failure, sure)
                if said is failure:
                    raise said
                raise said from failure
            await asyncio.sleep(0.01 * 2**attempt * random.random())
        raise AssertionError("unreachable")

    async def _another(self, ours: OfLoop, within: float, sure: bool) -> asyncpg.Connection:
        """A new one; or, where the server has none to give, one of ours that comes back. Who has
        none at all, the lease say, comes before what idles elsewhere."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            try:
                return await self.connect(within, sure)
            except StorageError as error:
                full = isinstance(error.__cause__, exceptions.TooManyConnectionsError)
                if not full or loop.time() - began >= within:
                    raise
                link = ours.take()
                if link is not None:
                    return link
                if ours.lent:
                    ours.back.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(ours.back.wait(), within)
                elif loop.time() - began < FULL:
                    self._ask_others(ours)
                    await asyncio.sleep(0.05)  # Until the server has seen that.
                else:
                    raise

    def _ask_others(self, ours: OfLoop) -> None:
        """Other loops are to spare a connection."""
        for loop, theirs in self._loops.items():
            if theirs is not ours:
                with suppress(RuntimeError):  # It has ended, and its connections with it.
                    loop.call_soon_threadsafe(theirs.spare_some)

    async def _enter(self, ours: OfLoop, sure: bool) -> None:
        """One connection is ours to use."""
        if not ours.room.locked():
            await ours.room.acquire()
            return
        try:
            async with asyncio.timeout(ROOM):
                await ours.room.acquire()
        except TimeoutError as error:
            busy = StorageError(
                f"{masked(self.url)}: all {self.most} connections were busy for {ROOM:g} s;"
                f" {UNCHANGED if sure else UNKNOWN}",
                unchanged=sure,
            )
            self.outage.note(busy)
            raise busy from error

    def _told(self, error: BaseException, sure: bool) -> BaseException:
        said = told(error, self.url, sure)
        if said is error:
            if sure or not isinstance(said, BackroomError) or isinstance(said, _SAME_ANYWAY):
                return said
            return StorageError(
                f"{masked(self.url)} did not answer the first time, and asked again it said:"
                f" {said}; {UNKNOWN}"
            )
        said.__cause__ = error
        if isinstance(said, BackroomError) and not is_of_values(said):
            self.outage.note(said)
        return said

    def give_up(self) -> None:
        """Whoever still waits on this loop for an answer hears that there is none."""
        loop = asyncio.get_running_loop()
        self._given_up = True
        for patience, its in self._connecting.items():
            if its is loop:
                patience.reschedule(loop.time())
        if loop in self._loops:
            self._loops[loop].give_up()

    async def close(self) -> None:
        """Ends what runs on this loop, and all connections."""
        self.open = False
        loops, self._loops = self._loops, {}
        here = loops.pop(asyncio.get_running_loop(), None)
        if here is not None:
            await here.close()
        self._given_up = False
        for loop, theirs in loops.items():
            with suppress(RuntimeError):  # It has ended, and its connections with it.
                loop.call_soon_threadsafe(theirs.minding.cancel)
