"""Serves a dashboard by itself, with uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn

from backroom.errors import ConfigurationError
from backroom.service import JobService
from backroom.web.app import Dashboard
from backroom.web.hosts import is_loopback_name

__all__ = ["refuse_open_address", "serve"]

GRACE: Final = 5
"""Seconds that requests have to end once it is told to stop."""


def refuse_open_address(app: Dashboard, host: str) -> None:
    """Others than this machine may only ask where they are asked who they are.

    Raises:
        ConfigurationError: they may, and are not.
    """
    if is_loopback_name(host) or app.house.gate.is_closed:
        return
    raise ConfigurationError(
        f"{host} can be reached from elsewhere, and nobody would be asked who they are. Serve on"
        " 127.0.0.1; or say who may: `backroom web token` prints a token and the line for a file,"
        " which goes to --token-file, or into BACKROOM_WEB_TOKENS"
    )


class _Server(uvicorn.Server):
    """Ends streams of events first: uvicorn would wait for them."""

    def __init__(self, config: uvicorn.Config, app: Dashboard) -> None:
        super().__init__(config)
        self._dashboard = app

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does it, but a signal that has ended us well does not end the process as if
        nobody had heard it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._dashboard.close()
        await super().shutdown(sockets)


async def serve(
    app: Dashboard,
    service: JobService,
    *,
    host: str,
    port: int,
    root_path: str = "",
    proxies: str = "",
    worker: bool = False,
    grace: float = 30,
    ready: Callable[[str], object],
    until: asyncio.Event | None = None,
) -> None:
    """Until SIGTERM or SIGINT, or `until` is set. With `worker`, the service also runs jobs here.

    Args:
        root_path: the prefix under which a proxy in front serves it, and which that takes away.
        proxies: addresses whose X-Forwarded-For and -Proto are believed; "": none.
        ready: is called with the URL, once it answers. Where nobody would be asked who they are,
            this is the one by which its reader signs in: no header proves that a request was made
            on this machine, so nobody else gets in, whatever stands in front.

    Raises:
        ConfigurationError: as `refuse_open_address`; or the address cannot be bound.
    """
    refuse_open_address(app, host)
    link = "" if app.house.gate.is_closed else f"sign-in?token={app.house.gate.make_link()}"
    bound = _bound(host, port)
    port = bound.getsockname()[1]
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        root_path=root_path,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies or [],
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=app.house.bounds.header * 2,
    )
    server = _Server(config, app)
    try:
        await (service.start() if worker else service.open())
        serving = asyncio.create_task(server.serve([bound]))
        try:
            while not (server.started or serving.done()):
                await asyncio.sleep(0.01)
            if server.started:
                ready(_url(host, port, root_path) + link)
            if until is not None:
                ended = asyncio.ensure_future(until.wait())
                await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
                server.should_exit = True
            await serving
        finally:
            server.should_exit = True
            if not serving.done():
                await serving
    finally:
        await app.house.bulk.settle()
        await service.stop(grace)
        bound.close()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, since asyncio sets TCP_NODELAY only where the protocol is said: the body of an answer
    # would wait 40 ms for the browser to acknowledge its head.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConfigurationError(
            f"{host}:{port} cannot be served on: {error.strerror or error}; name another --host"
            " or --port (0: any that is free)"
        ) from None
    bound.setblocking(False)
    return bound


def _url(host: str, port: int, root_path: str) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}{root_path}/"
