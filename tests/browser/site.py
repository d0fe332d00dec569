"""A service with a worker and its dashboard, served by uvicorn on a loop in a thread of its own, as
an application would; what is broken in it is mended by the test."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn

from backroom import FailJob, Job, JobService, JobType
from backroom.web import Dashboard, dashboard
from backroom.web.credentials import Credential

__all__ = ["Site", "site"]

T = TypeVar("T")


@dataclass
class SendEmail:
    to: str
    subject: str = "welcome"


SEND_EMAIL = JobType("SEND_EMAIL", SendEmail)


class Server(uvicorn.Server):
    """One that says when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.begun.set()


class Site:
    """`url`: where the dashboard is. `broken`: the mail server refuses connections."""

    def __init__(self, auth: Sequence[Credential]) -> None:
        self.auth = auth
        self.broken = False
        self.hold = threading.Event()
        self.hold.set()
        self.service = JobService("memory:", concurrency=4)
        self.url = ""
        self.app: Dashboard | None = None
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event | None = None

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs it on the loop of the service."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def handlers(self) -> None:
        service = self.service

        @service.handler(SEND_EMAIL, retries=0, timeout=30)
        async def send_email(job: Job[SendEmail]) -> None:
            job.log.info(f"connecting to mx.example.com for {job.data.to}")
            if self.broken:
                connect("mx.example.com", 25)
            if job.data.to.startswith("nobody"):
                raise FailJob("550 no such mailbox")

        @service.handler("GENERATE_REPORT", retries=0, timeout=60)
        async def generate_report(job: Job[dict[str, Any]]) -> dict[str, Any]:
            job.progress(0.4, "drawing")
            job.log.info("page 1 of 2")
            await asyncio.to_thread(self.hold.wait)
            job.log.info("page 2 of 2")
            job.progress(1.0, "done")
            return {"pages": 2, "sum": 2**70}

        @service.handler("APPROVE_ORDER", retries=0)
        async def approve_order(job: Job[dict[str, Any]]) -> Any:
            return await job.wait_for("approved")

        @service.handler("SHIP_ORDER", retries=0)
        async def ship_order(job: Job[dict[str, Any]]) -> None:
            if job.data.get("lost"):
                raise ValueError("no such order")

    async def serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = self.app = dashboard(self.service, auth=self.auth)
        server = Server(
            uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        )
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        async with self.service:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await server.begun.wait()
            ready.set()
            await self._stop.wait()
            app.close()
            server.should_exit = True
            await serving
        listener.close()

    def stop(self) -> None:
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)


def connect(host: str, port: int) -> None:
    """As a library would raise it: a traceback with two frames of the application."""
    raise ConnectionRefusedError(111, f"Connection refused: {host}:{port}")


@contextmanager
def site(auth: Sequence[Credential] = ()) -> Iterator[Site]:
    """Served until the end of the block."""
    made = Site(auth)
    made.handlers()
    ready = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        asyncio.set_event_loop(made._loop)
        try:
            made._loop.run_until_complete(made.serve(ready))
        except BaseException as error:
            failed.append(error)
            ready.set()
        finally:
            made._loop.close()

    thread = threading.Thread(target=run, name="site")
    thread.start()
    try:
        assert ready.wait(30), "the server did not start"
        if failed:
            raise failed[0]
        yield made
    finally:
        made.hold.set()
        made.stop()
        thread.join(30)
    assert not thread.is_alive(), "the server did not stop"
    if failed:
        raise failed[0]
