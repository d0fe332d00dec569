"""Wake-ups between processes, by NOTIFY and LISTEN: quick, and never needed for correctness."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from backroom.errors import BackroomError, StorageError
from backroom.ports import Wake
from backroom.storage.postgres.links import Links, masked

__all__ = ["Bells"]

log = logging.getLogger("backroom.storage")

COMMITS: Final = 2
"""Two notifications of one process are so many commits apart, as long as those take lately: NOTIFY
takes a lock of the whole server as it commits, so they take longer where many wait for it."""
SHORTEST: Final = 0.001
LONGEST: Final = 0.02
"""Seconds that this is at least and at most."""
FINISHED: Final = 0.02
"""The same where only ends are told of: who waits for one in another process has the time. Where
several processes tell of ends, each waits as many times as long: what one says wakes all."""
SESSIONS: Final = 2
"""Of a process that tells of ends."""
MOST_TALKERS: Final = 5
"""Processes that count, at most."""
RECENT: Final = 1.0
"""Seconds after its last word that a session counts."""
AGAIN: Final = 1.0
"""Seconds until a listener that was cut off connects again."""
FUNCTION: Final = "pg_catalog.pg_notify(text, text)"
ALLOWED: Final = "SELECT has_function_privilege($1, 'EXECUTE'), quote_ident(current_user)"
LOOK: Final = 15.0
"""Seconds without a word after which a listener asks whether its connection lives."""


class Bells:
    """Tells the subscribers of this process, and those of others."""

    def __init__(self, links: Links, channel: str) -> None:
        self.on = True
        """Others are told, and heard of; else each looks for itself."""
        self._links = links
        self._channel = channel
        self._subscribers: dict[Callable[[Wake], None], asyncio.AbstractEventLoop] = {}
        self._listeners: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        self._pending: set[Wake] = set()
        self._ringing: dict[Wake, asyncio.Task[None]] = {}
        """On whatever loop they were asked for."""
        self._said: dict[Wake, float] = {}
        self._talkers: dict[int, float] = {}
        """Sessions that told of ends lately, ours among them, and when."""
        self._commit = 0.0
        """Seconds that a commit takes lately."""

    def subscribe(self, callback: Callable[[Wake], None]) -> Callable[[], None]:
        """`callback` is called on the running loop, until what this returns is called."""
        loop = asyncio.get_running_loop()
        self._subscribers[callback] = loop
        if self.on and loop not in self._listeners and self._links.ear is not None:
            self._listeners[loop] = loop.create_task(self._listen(loop))

        def unsubscribe() -> None:
            self._subscribers.pop(callback, None)
            if loop not in self._subscribers.values():
                listener = self._listeners.pop(loop, None)
                if listener is not None:
                    with suppress(RuntimeError):  # Its loop has ended.
                        loop.call_soon_threadsafe(listener.cancel)

        return unsubscribe

    def ring(self, wakes: Iterable[Wake]) -> None:
        """Tells the subscribers here at once, and the others within a moment."""
        wakes = tuple(wakes)
        self.ring_here(wakes)
        if self.on:
            self._later(wakes)

    def ring_here(self, wakes: Iterable[Wake]) -> None:
        """Tells the subscribers of this process."""
        here = asyncio.get_running_loop()
        for callback, loop in list(self._subscribers.items()):
            for wake in wakes:
                if loop is here:
                    loop.call_soon(callback, wake)
                else:
                    with suppress(RuntimeError):
                        loop.call_soon_threadsafe(callback, wake)

    @property
    def pause(self) -> float:
        """Seconds between two notifications."""
        return min(LONGEST, max(SHORTEST, COMMITS * self._commit))

    def committed(self, seconds: float) -> None:
        """A transaction that adds jobs took so long. A slow one among others says little."""
        most = max(2 * self._commit, SHORTEST)
        self._commit += (min(seconds, most, LONGEST / COMMITS) - self._commit) / 8

    def along(self, wake: Wake) -> str | None:
        """What a transaction says to the others as it commits; None where that was said a moment
        ago. To be followed by `committed_with`, or `failed_with`."""
        if not self.on:
            return None
        now = asyncio.get_running_loop().time()
        if now - self._said.get(wake, 0.0) < self._apart(wake):
            return None
        self._said[wake] = now
        if wake in _ALWAYS:  # What others have committed before is told of, too.
            self._pending.discard(wake)
        return wake.value

    def failed_with(self, wake: Wake, word: str | None) -> None:
        """That word was not said, as nothing was committed; others' may have gone along."""
        if word is not None:
            self._later((wake,))

    def committed_with(self, wake: Wake, word: str | None) -> None:
        """Tells the subscribers here; and the others a moment later, where no word went along: not
        before, or they look while there is nothing to be seen."""
        self.ring_here((wake,))
        if word is None and self.on:
            self._later((wake,))

    def _apart(self, wake: Wake) -> float:
        return FINISHED * self._talking() if wake is Wake.FINISHED else self.pause

    def _talking(self) -> int:
        """How many processes tell of ends."""
        if len(self._talkers) > 1:
            since = asyncio.get_running_loop().time() - RECENT
            self._talkers = {pid: at for pid, at in self._talkers.items() if at > since}
        return max(1, min(MOST_TALKERS, len(self._talkers) // SESSIONS))

    def _later(self, wakes: Iterable[Wake]) -> None:
        """What is said by itself: each for itself, as one may have more time than another."""
        self._pending.update(wakes)
        for wake in wakes:
            ringing = self._ringing.get(wake)
            if ringing is None or ringing.done() or ringing.get_loop().is_closed():
                self._ringing[wake] = asyncio.get_running_loop().create_task(self._notify(wake))

    async def may_notify(self) -> None:
        """Finds out whether the server lets this role; if not, the others are told nothing."""
        if not self.on:
            return
        [(self.on, role)] = await self._links.run(lambda link: link.fetch(ALLOWED, FUNCTION))
        if not self.on:
            log.warning(
                "%s: the role %s may not NOTIFY: each worker looks for new jobs by itself, every"
                " poll_interval; GRANT EXECUTE ON FUNCTION %s TO %s mends that",
                masked(self._links.url), role, FUNCTION, role,
            )  # fmt: skip

    async def _notify(self, wake: Wake) -> None:
        now = asyncio.get_running_loop().time
        # Of ends a transaction tells as it commits, if one comes in time.
        parts = 1.5 if wake is Wake.FINISHED else 1.0
        while wake in self._pending:
            said = self._said.get(wake, 0.0)
            await asyncio.sleep(said + parts * self._apart(wake) - now())
            if wake in _ALWAYS and self._said.get(wake, 0.0) != said:
                continue
            self._pending.discard(wake)
            self._said[wake] = now()
            try:
                await self._links.run(partial(_say, self._channel, wake.value))
            except BackroomError as error:
                log.debug("nobody could be woken: %s", error)
                return

    async def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        def heard(_: Any, pid: int, channel: str, payload: str) -> None:
            wakes = [Wake(word) for word in payload.split(",") if word in _WORDS]
            if Wake.FINISHED in wakes and pid:
                self._talkers[pid] = loop.time()
            for callback, its in list(self._subscribers.items()):
                if its is loop:
                    for wake in wakes:
                        callback(wake)

        while True:
            try:
                await self._hear(heard)
            except Exception as error:  # Also what asyncpg says of a cut: it never ends deaf.
                self._links.deafness.note(
                    error
                    if isinstance(error, BackroomError)
                    else StorageError(f"no wake-ups from {self._channel}: {error!r}")
                )
            await asyncio.sleep(AGAIN)

    async def _hear(self, heard: Callable[..., None]) -> None:
        """Until the connection breaks."""
        loop = asyncio.get_running_loop()
        connection = await self._links.connect_to_listen()
        try:
            ended: asyncio.Future[None] = loop.create_future()
            connection.add_termination_listener(lambda _: _settle(ended))
            await connection.add_listener(self._channel, heard)
            heard(None, 0, "", ",".join(_WORDS))  # What was said before is not known.
            while not ended.done():
                await asyncio.wait([ended], timeout=LOOK)
                if not ended.done():
                    await connection.execute("SELECT 1")
                    if self._links.deafness.on:
                        self._links.deafness.past()
        finally:
            connection.terminate()

    async def close(self) -> None:
        """Nobody is told any more."""
        listeners, self._listeners = self._listeners, {}
        for loop, listener in listeners.items():
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(listener.cancel)
        for ringing in self._ringing.values():
            with suppress(RuntimeError):
                ringing.get_loop().call_soon_threadsafe(ringing.cancel)
        loop = asyncio.get_running_loop()
        tasks = (*listeners.values(), *self._ringing.values())
        here = [task for task in tasks if task.get_loop() is loop]
        if here:
            await asyncio.wait(here)
        self._ringing.clear()
        self._subscribers.clear()


def _settle(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def _say(channel: str, said: str, link: Any) -> Awaitable[Any]:
    return link.execute("SELECT pg_notify($1, $2)", channel, said)  # type: ignore[no-any-return]


_WORDS: Final = {wake.value for wake in Wake}
_ALWAYS: Final = {Wake.FINISHED}
"""What is said whenever it goes along. Of new jobs nothing is said if all of them went straight to
their worker."""
