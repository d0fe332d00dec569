"""Ways to a server that can be cut, and can stand still."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

__all__ = ["Wire"]


class Wire:
    """A way to a server, on a port of its own, that can be cut and can stand still."""

    def __init__(self, port: int) -> None:
        self._there = port
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._ends: set[asyncio.StreamWriter] = set()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._server: asyncio.Server = self._do(asyncio.start_server(self._lead, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def url(self, there: str) -> str:
        """The same, by this way."""
        return there.replace(f":{self._there}/", f":{self.port}/")

    def stand_still(self) -> None:
        """As if a cable was pulled out: nothing arrives, and nobody is told."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def go_on(self) -> None:
        """What was on its way arrives now."""
        self._loop.call_soon_threadsafe(self._open.set)

    def cut(self) -> None:
        """Both sides of every connection are told that it is over."""
        self._loop.call_soon_threadsafe(self._abort)

    def close(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _close(self) -> None:
        self._server.close()
        self._open.set()
        self._abort()

    def _abort(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        try:
            await self._open.wait()
            with suppress(OSError):
                theirs, ours = await asyncio.open_connection("127.0.0.1", self._there)
                self._ends.add(ours)
                await asyncio.gather(self._carry(reader, ours), self._carry(theirs, writer))
                self._ends.discard(ours)
        finally:
            self._ends.discard(writer)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while said := await reader.read(65536):
                await self._open.wait()
                writer.write(said)
                await writer.drain()
        finally:
            writer.close()
