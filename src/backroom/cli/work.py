"""`backroom worker`: a service until a signal, with a banner."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

import click

from backroom import __version__
from backroom.service import JobService

__all__ = ["work"]

log = logging.getLogger("backroom")


async def work(service: JobService, target: str, burst: bool, grace: float) -> int:
    """Runs until SIGTERM or SIGINT (drains), a second one (gives back and leaves), or, with
    `burst`, until nothing is due. Returns the exit code: 0, or 1 if code had to be left
    running."""
    loop = asyncio.get_running_loop()
    leaving = asyncio.Event()
    hurry = asyncio.Event()

    def on_signal(name: str) -> None:
        if not leaving.is_set():
            click.echo(
                f"{name}: no new jobs; running ones have {grace:g} s; again to leave at once",
                err=True,
            )
            leaving.set()
        else:
            click.echo(f"{name}: giving back what runs, leaving", err=True)
            hurry.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    os.register_at_fork(after_in_child=_default_signals)
    await service.start()
    _banner(service, target, burst)
    if burst:
        await _until_idle(service, leaving)
    else:
        await leaving.wait()
    return await _leave(service, grace, hurry)


def _default_signals() -> None:
    """In a process that a handler forked, as `multiprocessing` does. What it inherits of asyncio
    would swallow a signal to it, and pass it on to the worker."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


async def _until_idle(service: JobService, leaving: asyncio.Event) -> None:
    while not leaving.is_set():
        if service.idle:
            return
        await asyncio.sleep(0.02)


async def _leave(service: JobService, grace: float, hurry: asyncio.Event) -> int:
    stopping = asyncio.create_task(service.stop(grace))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        await service.stop(0)
    hurried.cancel()
    ended = await stopping
    click.echo("stopped" if ended else "stopped; threads that still ran were left", err=True)
    return 0 if ended else 1


def _banner(service: JobService, target: str, burst: bool) -> None:
    types = service.handled_types
    click.echo(f"backroom {__version__} worker for {target}", err=True)
    click.echo(f"  storage      {service.storage.url}", err=True)
    click.echo(f"  concurrency  {service.concurrency}", err=True)
    click.echo(f"  queues       {service.queues_text}", err=True)
    click.echo(
        f"  job types    {', '.join(types) or '(none: every job would be parked)'}", err=True
    )
    how = "until nothing is due" if burst else "until SIGTERM or Ctrl-C"
    click.echo(f"  runs         {how}", err=True)
    sys.stderr.flush()
