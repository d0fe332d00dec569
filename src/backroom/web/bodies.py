"""The bodies of requests: received before a request takes the place of another.

A body may come as slowly as its sender likes. So it has a time of its own, shorter for those who
have not said who they are, and how many are on their way at once is counted for each sender: nobody
who holds some back keeps others from being answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from starlette.requests import ClientDisconnect, Request

from backroom.web.access import Identity, Role
from backroom.web.bounds import Bounds
from backroom.web.gate import client_of
from backroom.web.guard import Message, Receive, too_large
from backroom.web.problem import Problem
from backroom.web.reading import read_form, read_json
from backroom.web.route import Route

__all__ = ["Bodies"]


class Bodies:
    """Receives and reads them."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._coming: Counter[str] = Counter()
        """How many of each sender are on their way."""

    async def read(self, route: Route, request: Request, who: Identity, receive: Receive) -> Any:
        """What the body says, as the route takes it.

        Raises:
            Problem: 400, 413, 415, 422, it is none that the route takes; 503, it took too long, or
                as many of this sender are on their way.
            ClientDisconnect: there is nobody any more.
        """
        body = await self._received(route, request, who, receive)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        wanted = "application/json" if route.api else "application/x-www-form-urlencoded"
        if body and kind != wanted:
            raise Problem(415, "bad-media-type",
                          f"the body must be {wanted}, got {kind[:100]!r}",
                          at="header.content-type")  # fmt: skip
        if route.api:
            return read_json(body, route.body, self._bounds.depth)
        return read_form(body, route.body)

    async def _received(
        self, route: Route, request: Request, who: Identity, receive: Receive
    ) -> bytes:
        bounds, known = self._bounds, who.role is not Role.PUBLIC
        most = bounds.requests if known else bounds.unknown_bodies
        seconds = bounds.seconds if known else bounds.unknown_seconds
        sender = f"{who.name} {client_of(request)}"
        if self._coming[sender] >= most:
            raise Problem(503, "busy",
                          f"{most} bodies are on their way from this client; end one first",
                          headers={"Retry-After": "5"})  # fmt: skip
        self._coming[sender] += 1
        try:
            async with asyncio.timeout(min(seconds, bounds.seconds)):
                return await _whole(receive, min(bounds.body, route.body_bytes or bounds.body))
        except TimeoutError:
            raise Problem(503, "too-slow", f"the body took more than {seconds:g} seconds to come",
                          at="body", headers={"Retry-After": "5"}) from None  # fmt: skip
        finally:
            self._coming[sender] -= 1
            if not self._coming[sender]:
                del self._coming[sender]


async def _whole(receive: Receive, most: int) -> bytes:
    """The body, and never more than `most` bytes of it.

    Raises:
        Problem: 413. ClientDisconnect: there is nobody any more.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise too_large(most)
        if not message.get("more_body", False):
            return b"".join(parts)
