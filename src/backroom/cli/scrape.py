"""What a worker tells over HTTP, without a web framework: its figures, and whether it is well.

It answers GET of three paths, and closes each connection. Where it listens on this machine alone,
it answers to this machine's own names alone, so that no web page in a browser here can ask it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import click

from backroom.errors import BackroomError
from backroom.health import troubles
from backroom.service import JobService

__all__ = ["Told", "telling"]

log = logging.getLogger("backroom")

MOST: Final = 16
"""Connections at once; more are closed at once."""
LONGEST: Final = 8192
"""Bytes of a request."""
PATIENCE: Final = 10.0
"""Seconds in which a request must come, and be answered."""


class Told(NamedTuple):
    """An answer."""

    status: str
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


NOT_FOUND: Final = Told("404 Not Found", b"here are /metrics, /health/live and /health/ready\n")


@asynccontextmanager
async def telling(service: JobService, host: str, port: int) -> AsyncIterator[int]:
    """Answers during the block. Gives the port.

    Raises:
        click.ClickException: the port is taken, or is none of this machine.
    """
    teller = _Teller(service, is_loopback(host))
    try:
        server = await asyncio.start_server(teller.serve, host, port, limit=LONGEST)
    except OSError as error:
        raise click.ClickException(
            f"--metrics-port {port} of {host} cannot be listened on: {error.strerror or error}"
        ) from None
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def is_loopback(host: str) -> bool:
    """Whether this name or address is of this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class _Teller:
    def __init__(self, service: JobService, local: bool) -> None:
        self._service = service
        self._local = local
        self._connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MOST:
                async with asyncio.timeout(PATIENCE):
                    await self._answer(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("a request for figures did not come to its end")
        finally:
            self._connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head.split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, colon, value in (one.partition(":") for one in rest)
            if colon
        }
        told = await self._told(line.split(" "), headers)
        writer.write(
            f"HTTP/1.1 {told.status}\r\nContent-Type: {told.content_type}\r\n"
            f"Content-Length: {len(told.body)}\r\nCache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n".encode("latin-1")
        )
        writer.write(told.body)
        await writer.drain()

    async def _told(self, request: list[str], headers: Mapping[str, str]) -> Told:
        if len(request) != 3 or not request[2].startswith("HTTP/1."):
            return Told("400 Bad Request", b"this is no request of HTTP/1.1\n")
        if request[0] != "GET":
            return Told("405 Method Not Allowed", b"only GET is answered\n")
        if self._local and not is_loopback(_name_of(headers.get("host", ""))):
            return Told("403 Forbidden", b"ask for localhost or 127.0.0.1\n")
        path = request[1].partition("?")[0]
        if path == "/health/live":
            return Told("200 OK", b"ok\n")
        if path == "/health/ready":
            found = await troubles(self._service)
            for one in found:
                log.debug("not ready: %s", one)
            if found:
                return Told("503 Service Unavailable", b"not ready\n")
            return Told("200 OK", b"ok\n")
        if path == "/metrics":
            return await self._figures(headers.get("accept", ""))
        return NOT_FOUND

    async def _figures(self, accept: str) -> Told:
        from backroom.metrics import exposition

        try:
            text, content_type = await exposition(self._service, accept)
        except BackroomError as error:
            log.warning("there are no figures now: %s", error)
            return Told("503 Service Unavailable", b"the storage did not answer\n")
        return Told("200 OK", text, content_type)


def _name_of(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] or host
