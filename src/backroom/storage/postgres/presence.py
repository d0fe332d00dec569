"""What this process shows of itself to the server: sessions that end with it."""

from __future__ import annotations

import asyncio
import os
import secrets
import weakref
from contextlib import suppress
from typing import Final

import asyncpg

from backroom.errors import BackroomError, StorageClosedError
from backroom.storage.postgres.links import Links
from backroom.storage.postgres.statements import Statements

__all__ = ["LONGEST_LEASE", "Presence"]

LONGEST_LEASE: Final = 100.0
"""Seconds. Where a network is cut in two, the server ends our sessions after 120 s at the soonest
(see `arrive`), and a worker has to have stopped itself by then: who has a longer lease is not told
by its sessions."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
"""Seconds until a session is tried anew that could not be had, at first and at most."""


class Presence:
    """All sessions of a process hold one key, in common, but those that a pool lends us. Who gets
    it for itself alone knows that none of them is left.

    One that is cut is no sign of death: there are others, and each loop in which a lease is
    extended makes a new one at once.
    """

    def __init__(self, links: Links, statements: Statements, told: bool) -> None:
        """`told`: lease time is told by the clock of a test; then sessions tell nothing."""
        self._links = links
        self._statements = statements
        self._told = told
        self._staying: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        self._sessions: weakref.WeakSet[asyncpg.Connection] = weakref.WeakSet()
        self.key: int | None = None
        """None: sessions tell nothing."""
        _all.add(self)

    def begin(self) -> None:
        """Before the first connection. Safe to call twice."""
        if self._links.arrive is not None:
            return
        tells = not self._told and not self._links.pooled
        self.key = _fresh_key() if tells else None
        self._links.arrive = self._arrive

    def key_for(self, lease: float) -> int | None:
        """What a worker with this lease is told by."""
        return self.key if lease <= LONGEST_LEASE else None

    async def _arrive(self, session: asyncpg.Connection) -> None:
        await self.keep_from_children(session)
        if self.key is not None:
            await session.execute(self._statements["arrive"], self.key)

    async def keep_from_children(self, session: asyncpg.Connection) -> None:
        """A child that this process forks does not have it."""
        self._sessions.add(session)

    def stay(self) -> None:
        """From now on the running loop has a session, and another one as soon as it is cut."""
        loop = asyncio.get_running_loop()
        if self.key is not None and loop not in self._staying:
            self._staying = {one: its for one, its in self._staying.items() if not one.is_closed()}
            self._staying[loop] = loop.create_task(self._stay(loop))

    async def _stay(self, loop: asyncio.AbstractEventLoop) -> None:
        pause = FIRST_PAUSE
        while True:
            cut = loop.create_future()

            def has_ended(_: asyncpg.Connection, cut: asyncio.Future[None] = cut) -> None:
                if not cut.done():
                    cut.set_result(None)

            async def watch(session: asyncpg.Connection) -> None:
                session.add_termination_listener(has_ended)

            try:
                await self._links.run(watch, own=True)
            except StorageClosedError:
                return
            except BackroomError:  # Whoever asks for something is told; here it is tried again.
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE
                await cut

    async def close(self) -> None:
        """Sessions that are cut are not made anew. Who begins again has another key."""
        staying, self._staying = self._staying, {}
        here = staying.pop(asyncio.get_running_loop(), None)
        for loop, task in staying.items():
            with suppress(RuntimeError):  # It has ended, and the task with it.
                loop.call_soon_threadsafe(task.cancel)
        if here is not None:
            here.cancel()
            await asyncio.wait([here])
        self._links.arrive = None
        self.key = None

    def leave_to_parent(self) -> None:
        """In a child that this process forked: the sessions are those of the parent, and are to
        end with it. Their numbers stay taken: whoever closes them here closes nothing else."""
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for session in self._sessions:
            number = _number_of(session)
            if number >= 0:
                os.dup2(nothing, number, inheritable=False)
        os.close(nothing)
        self._sessions.clear()
        self._staying = {}
        if self.key is not None:
            self.key = _fresh_key()


def _fresh_key() -> int:
    """One in 2**62, all of them far above the small numbers that applications take locks on."""
    return secrets.randbits(62) | 1 << 62


def _number_of(session: asyncpg.Connection) -> int:
    """Of its socket; -1 where that is closed."""
    transport = session._transport
    socket = None if transport is None else transport.get_extra_info("socket")
    return -1 if socket is None else int(socket.fileno())


_all: Final[weakref.WeakSet[Presence]] = weakref.WeakSet()


def _in_child() -> None:
    for one in list(_all):
        one.leave_to_parent()


os.register_at_fork(after_in_child=_in_child)
