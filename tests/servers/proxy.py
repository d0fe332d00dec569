"""A network that misbehaves on demand, between a client and a PostgreSQL, on loopback only."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit, urlunsplit

__all__ = ["Proxy"]

Way = Literal["up", "down", "both"]
"""To the server, to the client, both."""

_SSL_REQUEST: Final = 80877103
_RESET: Final = struct.pack("ii", 1, 0)
"""To linger for no time: what is closed so is reset."""


class Proxy:
    """Passes on what is said, until it is told to do something else. In a thread of its own;
    a fault is in force when the call that asks for it returns.

    What a connection has swallowed it does not find again: it stays dumb when all is well.
    """

    def __init__(self, url: str) -> None:
        """`url`: of the server. It is not yet running; `with` starts and closes it."""
        self._server_url = url
        parts = urlsplit(url)
        self._to = (parts.hostname or "127.0.0.1", parts.port or 5432)
        # Bound, and listening only while it accepts: it keeps its port.
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.swallows: set[str] = set()
        self.delay = 0.0
        """Seconds that what is said is on its way."""
        self.losing: list[str] = []
        self.forgetting = ""
        self.then_refuses = False
        self.lost: list[str] = []
        """Statements whose reply was lost."""
        self.refusing = False
        self.accepted = 0
        """Connections so far."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            if self._server is not None:
                self._server.close()
            await self._cut()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.01)  # What was aborted is closed in a later turn of the loop.

        self._do(end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._listening.close()

    @property
    def url(self) -> str:
        """Of the server, by way of this."""
        return self.of(self._server_url)

    def of(self, url: str) -> str:
        """Another URL of the same server, by way of this."""
        parts = urlsplit(url)
        who = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{self.port}"))

    # -- faults ----------------------------------------------------------------------------------

    def cut(self) -> None:
        """Resets all connections; new ones are as good as ever."""
        self._do(self._cut)

    def refuse(self) -> None:
        """Resets all connections and those that come."""
        self.refusing = True
        self._do(self._cut)

    def swallow(self, way: Way = "both") -> None:
        """A black hole: connections are accepted and stay open, and what is said on them goes
        nowhere."""
        self._do(self._swallow, {"up", "down"} if way == "both" else {way})

    def forget(self) -> None:
        """What a firewall does to connections it has not seen for long: no word of those that
        there are gets through any more, neither side is told, and new ones are well."""

        async def forget() -> None:
            for pair in self._pairs:
                pair.swallows = {"up", "down"}

        self._do(forget)

    def forget_at(self, text: str) -> None:
        """The next connection on which a statement with this text is said is forgotten as it is."""
        self.forgetting = text

    def hang_up(self) -> None:
        """Half open: the server sees the end of all connections, the client does not."""

        async def hang_up() -> None:
            for pair in self._pairs:
                pair.swallows = {"up", "down"}
                _reset(pair.server)

        self._do(hang_up)

    def lose_reply(self, to: str, *, then_refuse: bool = False) -> None:
        """The next statement with `to` in its text is carried out to its end; then its
        connection is reset, and its reply never heard; and no other one is made, if asked so."""
        self.then_refuses = then_refuse
        self.losing.append(to)

    def heal(self) -> None:
        """All is well, for new connections."""

        async def heal() -> None:
            self.refusing, self.delay, self.swallows = False, 0.0, set()
            self.losing.clear()

        self._do(heal)

    # -- at work ---------------------------------------------------------------------------------

    def _do(self, what: Callable[..., Any], *arguments: Any) -> None:
        asyncio.run_coroutine_threadsafe(what(*arguments), self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._listening)

    async def _cut(self) -> None:
        for pair in list(self._pairs):
            pair.cut()

    async def _swallow(self, ways: set[str]) -> None:
        self.swallows |= ways
        for pair in self._pairs:
            pair.swallows |= ways

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refusing:
            _reset(client)
            return
        if self.swallows:
            pair = _Pair(self, client, None)
            self._pairs.add(pair)
            try:
                while await reader.read(65536):
                    pass
            finally:
                pair.cut()
                self._pairs.discard(pair)
            return
        try:
            from_server, server = await asyncio.open_connection(*self._to)
        except OSError:
            _reset(client)
            return
        pair = _Pair(self, client, server)
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                pair.pass_on(reader, server, "up"), pair.pass_on(from_server, client, "down")
            )
        finally:
            pair.cut()
            self._pairs.discard(pair)


class _Pair:
    """One client's connection, and the one to the server."""

    def __init__(
        self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter | None
    ) -> None:
        self._proxy = proxy
        self.client = client
        self.server = server
        self.swallows: set[str] = set(proxy.swallows)
        self._up = _Messages()
        self._down = _Messages(replies=True)
        self._statements: dict[bytes, str] = {}
        self._losing: str | None = None

    def cut(self) -> None:
        _reset(self.client)
        _reset(self.server)

    async def pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        try:
            while data := await reader.read(65536):
                if self._proxy.delay:
                    await asyncio.sleep(self._proxy.delay)
                if way in self.swallows:
                    continue
                if way == "up":
                    self._hear(data)
                    if way in self.swallows:
                        continue
                elif self._loses(data):
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # One side has cut it: the other is cut below.
        if way not in self.swallows:
            self.cut()

    def _hear(self, data: bytes) -> None:
        """Which statement is carried out now."""
        for kind, body in self._up.read(data):
            text = None
            if kind == b"P":
                name, query, _ = body.split(b"\0", 2)
                self._statements[name] = query.decode()
            elif kind == b"B":
                text = self._statements.get(body.split(b"\0", 2)[1])
            elif kind == b"Q":
                text = body.rstrip(b"\0").decode()
            elif kind == b"ssl":
                self._down.expect_byte()
            if text is not None and self._proxy.forgetting and self._proxy.forgetting in text:
                self._proxy.forgetting = ""
                self.swallows = {"up", "down"}
            for wanted in self._proxy.losing:
                if text is not None and wanted in text:
                    self._proxy.losing.remove(wanted)
                    self._losing = text
                    break

    def _loses(self, data: bytes) -> bool:
        ready = any(kind == b"Z" for kind, _ in self._down.read(data))
        if self._losing is None:
            return False
        if ready:
            self._proxy.lost.append(self._losing)
            self._proxy.refusing |= self._proxy.then_refuses
            self.cut()
        return True


class _Messages:
    """Finds the messages in a stream of them."""

    def __init__(self, *, replies: bool = False) -> None:
        self._buffer = b""
        self._begun = replies
        self._byte = False

    def expect_byte(self) -> None:
        """The next reply is one byte."""
        self._byte = True

    def read(self, data: bytes) -> list[tuple[bytes, bytes]]:
        self._buffer += data
        found: list[tuple[bytes, bytes]] = []
        if self._byte and self._buffer:
            self._byte, self._buffer = False, self._buffer[1:]
        while len(self._buffer) >= (head := 5 if self._begun else 4):
            (length,) = struct.unpack("!i", self._buffer[head - 4 : head])
            end = head - 4 + length
            if len(self._buffer) < end:
                break
            kind, body = self._buffer[: head - 4], self._buffer[head:end]
            self._buffer = self._buffer[end:]
            if not self._begun:
                if struct.unpack("!i", body[:4])[0] == _SSL_REQUEST:
                    kind = b"ssl"
                else:
                    self._begun = True
            found.append((kind, body))
        return found


def _reset(writer: asyncio.StreamWriter | None) -> None:
    if writer is not None and not writer.transport.is_closing():
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
