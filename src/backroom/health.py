"""Whether a service can do its work: what orchestrators ask again and again."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Final

from backroom.crew import WorkerInfo
from backroom.service import JobService

__all__ = ["PATIENCE", "troubles", "workers_of"]

PATIENCE: Final = 3.0
"""Seconds in which a storage must answer."""


async def troubles(service: JobService) -> list[str]:
    """What keeps this process from its work, for a log and not for strangers; empty if nothing
    does: the storage answers, and the lease of its worker, where it has one, stands."""
    found: list[str] = []
    if service.started and not service.holds_lease:
        found.append("the worker's lease does not stand")
    try:
        async with asyncio.timeout(PATIENCE):
            await service.probe()
    except TimeoutError:
        found.append(f"the storage did not answer in {PATIENCE:g} s")
    except Exception as error:
        found.append(f"the storage did not answer: {error}")
    return found


def workers_of(workers: Sequence[WorkerInfo], host: str) -> list[str]:
    """The names of those of this host that are well: they hold their lease, and where it is this
    very host, their processes are there, which one knows sooner."""
    here = host == socket.gethostname()
    found: list[str] = []
    for worker in workers:
        its, _, number = worker.name.rpartition(":")
        if its != host or not worker.alive:
            continue
        if here and number.isdecimal() and not _is_there(int(number)):
            continue
        found.append(worker.name)
    return found


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # Somebody else's, or a number that none can have.
        return process < 1 << 22
    return True
