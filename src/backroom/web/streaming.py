"""Server-sent events: from a watch to the lines that a browser's EventSource reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final, NamedTuple

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from backroom.web.call import Call
from backroom.web.feed import State, Watch
from backroom.web.gate import client_of
from backroom.web.problem import Problem, problem_of

__all__ = ["BEAT", "Message", "stream"]

log = logging.getLogger("backroom.web")

BEAT: Final = 15.0
"""Seconds after which a line is sent though nothing has happened, so that nobody in between takes
the connection for dead."""
AGAIN: Final = 2000
"""Milliseconds after which a browser comes again when a stream has ended."""


class Message(NamedTuple):
    """One event. `data` is JSON, which has no line breaks."""

    event: str
    data: bytes
    id: str = ""

    def encode(self) -> bytes:
        lines = [f"event: {self.event}".encode()]
        if self.id:
            lines.append(f"id: {self.id}".encode())
        return b"\n".join([*lines, b"data: " + self.data, b"", b""])


Tell = Callable[[State[Any], str], Iterable[Message]]
"""What a viewer is told of a state; with the id of the last event that it had, at first."""


class _Stream(StreamingResponse):
    """Gives its place back, however it ends."""

    def __init__(self, call: Call, lines: AsyncIterator[bytes]) -> None:
        super().__init__(
            lines,
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            media_type="text/event-stream",
        )
        self._feed = call.house.feed
        self._viewer = f"{call.who.name} {client_of(call.request)}"
        self._feed.enter(self._viewer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.leave(self._viewer)


def stream(call: Call, watch: Watch[Any], tell: Tell) -> StreamingResponse:
    """What `tell` says whenever there is something new; and why, where there is nothing to see.

    Raises:
        Problem: 503, enough others listen.
    """
    return _Stream(call, _lines(call, watch, tell))


async def _lines(call: Call, watch: Watch[Any], tell: Tell) -> AsyncIterator[bytes]:
    ends = asyncio.get_running_loop().time() + call.house.bounds.stream_seconds
    last = call.request.headers.get("last-event-id", "")
    seen: State[Any] = State(None, "", None)
    asks_at = asyncio.get_running_loop().time() + BEAT
    yield f"retry: {AGAIN}\n\n".encode()
    with watch.viewing():
        while not call.house.feed.closed:
            left = ends - asyncio.get_running_loop().time()
            if left <= 0:
                return
            if asyncio.get_running_loop().time() >= asks_at:
                if not await _is_still(call):
                    return
                asks_at = asyncio.get_running_loop().time() + BEAT
            state = watch.state
            if state is seen or (state.value is None and state.trouble is None):
                state = await watch.changed(state, min(BEAT, left))
            if state is seen or (state.value is None and state.trouble is None):
                yield b": still here\n\n"
                continue
            seen = state
            if state.trouble is not None:
                yield Message("trouble", problem_of(state.trouble).body()).encode()
                continue
            told = b"".join(message.encode() for message in tell(state, last))
            last = ""
            if told:
                yield told


async def _is_still(call: Call) -> bool:
    """Whether who listens is still who it was: sessions end, and credentials are taken away."""
    try:
        who = await call.house.gate.identify(call.request)
    except Problem:
        return False
    except Exception:  # The host application's own hook.
        log.exception("who listens cannot be told any more; the stream ends")
        return False
    return who == call.who
