"""Pages that many look at are made once a second, however many that are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from starlette.responses import Response

from backroom.web.call import Call, House
from backroom.web.route import Handler

__all__ = ["changing", "shared"]

LASTS: Final = 1.0
"""Seconds for which a page is given to whoever asks for the same one."""
MOST: Final = 256
"""Pages that are kept."""


class _Kept(NamedTuple):
    until: float
    made: asyncio.Task[Response]


class _Pages:
    """Those of one web application. A change that is asked for here forgets them all, so that
    nobody is shown what was before it."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Response]]) -> Response:
        now = asyncio.get_running_loop().time()
        kept = self._kept.get(key)
        if kept is None or kept.until < now:
            for old in [one for one, page in self._kept.items() if page.until < now]:
                del self._kept[old]
            task = asyncio.ensure_future(_run(make))
            if len(self._kept) < MOST:
                self._kept[key] = _Kept(now + LASTS, task)
        else:
            task = kept.made
        try:
            # Shielded: the one who asked first may go, and the others still want it.
            return await asyncio.shield(task)
        except BaseException:
            if task.done():
                self._kept.pop(key, None)
            raise

    def forget(self) -> None:
        self._kept.clear()


async def _run(make: Callable[[], Awaitable[Response]]) -> Response:
    return await make()


_of: WeakKeyDictionary[House, _Pages] = WeakKeyDictionary()


def _pages(call: Call) -> _Pages:
    return _of.setdefault(call.house, _Pages())


def shared(handler: Handler) -> Handler:
    """A page that is made once for all who ask for it within a second, each as who they are. A
    browser that has it already is told so (304)."""

    async def answer(call: Call) -> Response:
        scope = call.request.scope
        key = (scope.get("root_path", ""), scope["path"], scope["query_string"], call.who)
        made = await _pages(call).get(key, lambda: handler(call))
        tag = made.headers.get("etag")
        if made.status_code == 200 and tag == call.request.headers.get("if-none-match"):
            return Response(status_code=304, headers=dict(made.headers))
        return Response(made.body, made.status_code, dict(made.headers))

    answer.__doc__ = handler.__doc__
    return answer


def changing(handler: Handler) -> Handler:
    """A handler that changes something: what was seen before is not shown after it."""

    async def answer(call: Call) -> object:
        try:
            return await handler(call)
        finally:
            _pages(call).forget()

    answer.__doc__ = handler.__doc__
    return answer
