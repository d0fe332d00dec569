"""One look a second for all who watch: however many viewers there are, the storage is asked once.

Nobody is sent what piled up: each viewer gets what holds when it is ready for it, so a slow one
holds back nobody, and costs no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Generic, TypeVar
from weakref import WeakValueDictionary

from backroom.errors import BackroomError
from backroom.web.problem import Problem

__all__ = ["EVERY", "Feed", "State", "Watch"]

log = logging.getLogger("backroom.web")

T = TypeVar("T")

EVERY: Final = 1.0
"""Seconds between two looks."""
SLOWEST: Final = 10.0
"""The same, while the storage does not answer."""


class State(Generic[T]):
    """What was seen last."""

    __slots__ = ("mark", "trouble", "value")

    def __init__(self, value: T | None, mark: str, trouble: BackroomError | None) -> None:
        self.value = value
        """None: nothing was seen yet, or the last look failed."""
        self.mark = mark
        """Of this very value, for `Last-Event-ID`."""
        self.trouble = trouble
        """Why the last look failed."""


class Watch(Generic[T]):
    """Looks as long as somebody watches.

    Args:
        look: what is seen.
        encode: the same as bytes, by which a change is known.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[T]],
        encode: Callable[[T], bytes],
        every: float = EVERY,
    ) -> None:
        self._look = look
        self._encode = encode
        self._every = every
        self._viewers = 0
        self._looking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self.state: State[T] = State(None, "", None)
        self.looks = 0
        """How often the storage was asked."""

    @contextlib.contextmanager
    def viewing(self) -> Iterator[None]:
        """While somebody watches."""
        self._viewers += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._go_on(), name="backroom-web-look")
        try:
            yield
        finally:
            self._viewers -= 1
            if not self._viewers:
                self._looking.cancel()
                self._looking = None
                self.state = State(None, "", None)

    async def changed(self, seen: State[T], timeout: float) -> State[T]:
        """What is seen, as soon as it is something else than `seen`; or the same after `timeout`
        seconds."""
        if self.state is seen:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._news.wait()
        return self.state

    def nudge(self) -> None:
        """Everybody looks again, though there is nothing new."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _go_on(self) -> None:
        pause = self._every
        while True:
            try:
                self.looks += 1
                value = await self._look()
            except BackroomError as error:
                self._tell(State(None, "", error))
                pause = min(pause * 2, SLOWEST)
            except Exception:
                log.exception("the look for those who watch failed; it is tried again")
                pause = SLOWEST
            else:
                pause = self._every
                mark = hashlib.blake2b(self._encode(value), digest_size=8).hexdigest()
                if mark != self.state.mark:
                    self._tell(State(value, mark, None))
            await asyncio.sleep(pause)

    def _tell(self, state: State[T]) -> None:
        self.state = state
        self.nudge()


class Feed:
    """All watches by what they look at.

    Args:
        most: viewers at once, of all of them together.
        each: of one identity from one address.
    """

    def __init__(self, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._of: Counter[str] = Counter()
        self._watches: WeakValueDictionary[str, Watch[Any]] = WeakValueDictionary()
        self.viewers = 0
        self.closed = False

    def watch(
        self, key: str, look: Callable[[], Awaitable[T]], encode: Callable[[T], bytes]
    ) -> Watch[T]:
        """The one that looks at this; made, if nobody holds one yet."""
        found = self._watches.get(key)
        if found is None:
            found = self._watches[key] = Watch(look, encode)
        return found

    def enter(self, viewer: str) -> None:
        """One more; `viewer` is who it is, and from where.

        Raises:
            Problem: 503, there are enough; 429, there are enough of this one.
        """
        if self._of[viewer] >= self._each:
            raise Problem(429, "too-many",
                          f"{self._each} streams of events are open from here; close one first",
                          headers={"Retry-After": "10"})  # fmt: skip
        if self.viewers >= self._most:
            raise Problem(503, "busy",
                          f"{self._most} viewers listen to events already; come again later",
                          headers={"Retry-After": "10"})  # fmt: skip
        self.viewers += 1
        self._of[viewer] += 1

    def leave(self, viewer: str) -> None:
        """One viewer less."""
        self.viewers -= 1
        self._of[viewer] -= 1
        if not self._of[viewer]:
            del self._of[viewer]

    def close(self) -> None:
        """Every stream ends."""
        self.closed = True
        for watch in list(self._watches.values()):
            watch.nudge()
