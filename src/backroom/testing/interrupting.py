"""One attempt of a handler, watched at every await, and ended at one of them.

Code that is killed runs no `except` and no `finally`. So where an attempt is to be killed its
frames are left standing, everything that happens after the crash happens on top of them, on a loop
of its own, and only then are they taken down.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from opcode import opname
from typing import Any, Final, Literal

from backroom.handle import Job
from backroom.testing.points import BACKROOM, Point, is_of_user, point_at
from backroom.testing.stage import Killed

__all__ = ["Watch", "apart"]

ASYNC: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
SUSPENDED: Final = ("YIELD_VALUE", "RESUME")
"""Where a frame stands that is left for a while; since Python 3.13, where it will go on."""
CALLBACK: Final = asyncio.Handle._run.__code__

_watch: ContextVar[Watch | None] = ContextVar("backroom-crash-test", default=None)
"""In the tasks of a watched handler: those that it starts are watched, too."""


class Watch:
    """Notes the points that attempts of one handler reach; at one of them something happens."""

    def __init__(self, root: str, *, at: int | None, happen: Callable[[], None], most: int) -> None:
        """`root`: the package of the handler, whose code is the user's wherever it lies; `at`:
        the index of the point where `happen` is called; `most`: points until it is too much."""
        self._root = root
        self._at = at
        self._happen = happen
        self._most = most
        self._begun: set[types.FrameType] = set()
        self.points: list[Point] = []
        self.too_many = False
        self.dead = False
        """The process that ran this has died: what is left of it notes nothing any more."""

    def watched(
        self, handler: Callable[[Job[Any]], Any], *, is_async: bool
    ) -> Callable[[Job[Any]], Any]:
        """The handler, watched in each of its attempts; a `def` one only as it ends."""

        @functools.wraps(handler)
        async def run(job: Job[Any]) -> Any:
            _watch.set(self)
            result = await _Watched(handler(job), self, is_child=False)
            self.reach(Point("ended"))
            return result

        @functools.wraps(handler)
        def run_in_thread(job: Job[Any]) -> Any:
            result = handler(job)
            self.reach(Point("ended"))
            return result

        return run if is_async else run_in_thread

    def make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """A task factory that watches what the handler starts, but not what the engine does."""
        code = getattr(coroutine, "cr_code", None)
        engine = code is not None and code.co_filename.startswith(BACKROOM)
        if _watch.get() is self and not engine:
            coroutine = _Watched(coroutine, self, is_child=True)
        return asyncio.Task(coroutine, loop=loop, **kwargs)

    def reach(self, point: Point) -> None:
        """Raises: Killed: the attempt has died here."""
        if self.dead:
            return
        self.points.append(point)
        if self._at is None and len(self.points) > self._most:
            self.too_many = True
            self.dead = True
        if len(self.points) - 1 == self._at:
            self._happen()
        if self.dead:
            raise Killed

    def scheduled(self) -> None:
        """Called below the code that scheduled jobs: they are kept."""
        frame: types.FrameType | None = sys._getframe()
        while frame is not None and not is_of_user(frame, self._root):
            # Below a callback of the loop stands whoever runs the test.
            frame = None if frame.f_code is CALLBACK else frame.f_back
        self.reach(Point("inserted") if frame is None else point_at("inserted", frame))

    # -- what does not wait ----------------------------------------------------------------------

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Sees awaits that never suspend, such as those of most fakes."""
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)

    def _called(self, frame: types.FrameType, event: str, arg: Any) -> Any:
        caller = frame.f_back
        if (
            event != "call"
            or self.dead
            or not frame.f_code.co_flags & inspect.CO_COROUTINE
            or frame.f_code.co_name.startswith("<")  # A comprehension.
            or caller is None
            or not caller.f_code.co_flags & ASYNC
            or not is_of_user(caller, self._root)
        ):
            return None
        if frame not in self._begun:
            self._begun.add(frame)
            self.reach(point_at("begun", caller))
        frame.f_trace_lines = False
        return self._in_awaited

    def _in_awaited(self, frame: types.FrameType, event: str, arg: Any) -> Any:
        if event == "return" and opname[frame.f_code.co_code[frame.f_lasti]] not in SUSPENDED:
            self._begun.discard(frame)
            if frame.f_back is not None:
                self.reach(point_at("answered", frame.f_back))
        return self._in_awaited

    # -- what waits ------------------------------------------------------------------------------

    def waits(self, coroutine: Any, moment: Literal["waiting", "resumed"]) -> None:
        """A coroutine is suspended, or about to go on; where no code of the user waits in it,
        that is no point."""
        place, awaited, link = None, None, coroutine
        while link is not None:
            frame = _of(link, "frame")
            link = _of(link, "await") or getattr(link, "gi_yieldfrom", None)
            if isinstance(frame, types.FrameType) and is_of_user(frame, self._root):
                place, awaited = frame, link
        if place is not None:
            # What has no frames has done its work by now.
            answered = moment == "resumed" and _of(awaited, "frame") is None
            self.reach(point_at("answered" if answered else moment, place))


class _Watched(Coroutine[Any, Any, Any]):
    """A coroutine of a handler, or of a task that it started."""

    def __init__(self, coroutine: Any, watch: Watch, *, is_child: bool) -> None:
        self._coroutine = coroutine
        self._watch = watch
        self._is_child = is_child
        self._waits = False

    def send(self, value: Any) -> Any:
        return self._step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._coroutine.throw, *error)

    def close(self) -> None:
        self._coroutine.close()

    def __getattr__(self, name: str) -> Any:
        """Libraries look at the coroutine of a task: whether it has begun, where it waits."""
        return getattr(self._coroutine, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # It has all that `await` asks for.

    def __iter__(self) -> _Watched:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def _step(self, move: Callable[..., Any], *arguments: Any) -> Any:
        watch = self._watch
        try:
            if not watch.dead:
                if self._waits:
                    watch.waits(self._coroutine, "resumed")
                self._waits = False
                with watch.tracing():
                    awaited = move(*arguments)
                self._waits = True
                watch.waits(self._coroutine, "waiting")
                if not watch.dead:
                    return awaited
        except BaseException:
            if not watch.dead:
                raise
        self._take_down()
        if self._is_child:
            raise StopIteration
        raise Killed

    def _take_down(self) -> None:
        """Now its `finally` blocks run, when nobody looks any more."""
        for _ in range(100):  # One that waits, as it is told to end, is told again.
            with suppress(BaseException):
                self._coroutine.close()
            if _of(self._coroutine, "frame") is None:
                return


@contextmanager
def apart() -> Iterator[None]:
    """In here this thread has no event loop: another one may run in it, and then this goes on."""
    loop = asyncio._get_running_loop()
    if loop is None:
        yield
        return
    task = asyncio.current_task(loop)
    if task is not None:
        asyncio.tasks._leave_task(loop, task)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)
        if task is not None:
            asyncio.tasks._enter_task(loop, task)


def _of(link: Any, what: Literal["frame", "await"]) -> Any:
    for prefix in ("cr", "gi", "ag"):
        found = getattr(link, f"{prefix}_{what}", None)
        if found is not None:
            return found
    return None
