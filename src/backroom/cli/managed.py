"""A worker under a service manager: it says that it has begun, that it lives, that it leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final

from backroom.systemd import Manager

__all__ = ["keep_telling"]

LOOK_EVERY: Final = 0.2
"""Seconds between two looks whether it works, until it does."""
SHARE: Final = 3
"""So many signs of life within the time in which the manager wants one."""


async def keep_telling(manager: Manager, works: Callable[[], bool]) -> None:
    """Tells the manager when work begins, and gives it signs of life for as long as `works` says
    yes: without them it starts the process anew. Until it is cancelled.

    The signs come from a thread, as the lease is kept by one: a handler that keeps the event loop
    busy for long is no reason to kill a worker that holds its lease."""
    while not works():
        await asyncio.sleep(LOOK_EVERY)
    manager.tell("READY=1")
    every = manager.watchdog
    if every is None:
        return
    stopped = threading.Event()

    def give_signs() -> None:
        while True:
            if works():
                manager.tell("WATCHDOG=1")
            if stopped.wait(every / SHARE):
                return

    threading.Thread(target=give_signs, name="backroom-watchdog", daemon=True).start()
    try:
        await asyncio.Event().wait()
    finally:
        stopped.set()
