"""`backroom worker`: a service until a signal, with a banner."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, NamedTuple

import click

from backroom import __version__
from backroom.cli.managed import keep_telling
from backroom.cli.scrape import telling
from backroom.processes import memory_used
from backroom.service import JobService
from backroom.supervisor import SUPERVISED, Supervisor, follow_supervisor, say_ready
from backroom.systemd import Manager

__all__ = ["Wear", "supervise", "work"]

log = logging.getLogger("backroom")


class Wear(NamedTuple):
    """After what a worker process ends by itself, so that another may take its place."""

    jobs: int | None = None
    """Attempts it has run."""
    memory: int | None = None
    """Bytes it has in memory."""


NEVER: Final = Wear()


async def work(
    service: JobService,
    target: str,
    burst: bool,
    grace: float,
    wear: Wear = NEVER,
    *,
    quiet: bool = False,
    figures: tuple[str, int] | None = None,
) -> int:
    """Runs until SIGTERM or SIGINT (drains), a second one (gives back and leaves), until it is
    worn, or, with `burst`, until nothing is due. Returns the exit code: 0, or 1 if code had to
    be left running. `quiet`: what it says for people goes to the log. `figures`: the address and
    port at which it tells them."""
    tell = log.info if quiet else _tell
    loop = asyncio.get_running_loop()
    leaving = asyncio.Event()
    hurry = asyncio.Event()

    def on_signal(name: str) -> None:
        if not leaving.is_set():
            tell(f"{name}: no new jobs; running ones have {grace:g} s; again to leave at once")
            leaving.set()
        else:
            tell(f"{name}: giving back what runs, leaving")
            hurry.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    os.register_at_fork(after_in_child=_default_signals)
    follow_supervisor()
    # Who is supervised tells the supervisor, and that the service manager.
    manager = Manager({} if SUPERVISED in os.environ else None)
    async with AsyncExitStack() as stack:
        at = None
        if figures is not None:  # Before a job begins: the port may be taken.
            at = await stack.enter_async_context(telling(service, *figures))
        await service.start()
        telling_on = asyncio.create_task(keep_telling(manager, lambda: service.holds_lease))
        stack.callback(telling_on.cancel)
        for line in banner(service, target, burst):
            tell(line)
        if figures is not None:
            tell(f"  figures      http://{figures[0]}:{at}/metrics")
        say_ready()
        return await _until_told(service, burst, grace, wear, leaving, hurry, manager, tell)


async def _until_told(
    service: JobService,
    burst: bool,
    grace: float,
    wear: Wear,
    leaving: asyncio.Event,
    hurry: asyncio.Event,
    manager: Manager,
    tell: Callable[[str], None],
) -> int:
    """Works until one of its ends has come, and leaves. Returns the exit code."""
    ends: list[Coroutine[Any, Any, object]] = [leaving.wait()]
    if burst:
        ends.append(_until_idle(service))
    if wear != NEVER:
        ends.append(_until_worn(service, wear))
    tasks = [asyncio.ensure_future(end) for end in ends]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    manager.tell("STOPPING=1")
    ended = await _leave(service, grace, hurry)
    tell("stopped" if ended else "stopped; threads that still ran were left")
    return 0 if ended else 1


def _tell(text: str) -> None:
    click.echo(text, err=True)
    sys.stderr.flush()


def _default_signals() -> None:
    """In a process that a handler forked, as `multiprocessing` does. What it inherits of asyncio
    would swallow a signal to it, and pass it on to the worker."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


async def _until_idle(service: JobService) -> None:
    while not service.idle:
        await asyncio.sleep(0.02)


async def _until_worn(service: JobService, wear: Wear) -> None:
    while True:
        if wear.jobs is not None and service.attempts_ended >= wear.jobs:
            log.info("this worker has run %d jobs; it leaves", service.attempts_ended)
            return
        used = memory_used() if wear.memory is not None else 0
        if wear.memory is not None and used > wear.memory:
            log.info("this worker uses %d MiB of memory; it leaves", used >> 20)
            return
        await asyncio.sleep(0.1)


async def supervise(command: Sequence[str], count: int, burst: bool) -> int:
    """Runs several workers until SIGTERM or SIGINT (drains all), a second one (they give back
    and leave). SIGHUP replaces them one by one. Returns the exit code."""
    supervisor = Supervisor(command, count, once=burst)
    manager = Manager()
    loop = asyncio.get_running_loop()

    def on_signal(name: str) -> None:
        again = supervisor.is_leaving()
        what = "they give back what runs, and leave" if again else "all workers drain"
        click.echo(f"{name}: {what}", err=True)
        manager.tell("STOPPING=1")
        supervisor.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    loop.add_signal_handler(signal.SIGHUP, supervisor.restart)
    telling_on = asyncio.create_task(keep_telling(manager, lambda: supervisor.all_work))
    code = await supervisor.run()
    telling_on.cancel()
    _ignore_signals()
    click.echo("all workers have ended", err=True)
    return code


async def _leave(service: JobService, grace: float, hurry: asyncio.Event) -> bool:
    stopping = asyncio.create_task(service.stop(grace))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        await service.stop(0)
    hurried.cancel()
    ended = await stopping
    _ignore_signals()
    return ended


def _ignore_signals() -> None:
    """All is done: a signal that comes while Python ends shall not change the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


def banner(service: JobService, target: str, burst: bool) -> list[str]:
    """What a worker says of itself when it begins."""
    types = ", ".join(service.handled_types)
    return [
        f"backroom {__version__} worker for {target}",
        f"  storage      {service.storage.url}",
        f"  concurrency  {service.concurrency}",
        f"  queues       {service.queues_text}",
        f"  job types    {types or '(none: every job would be parked)'}",
        f"  runs         {'until nothing is due' if burst else 'until SIGTERM or Ctrl-C'}",
    ]
