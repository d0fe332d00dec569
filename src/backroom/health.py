"""Whether a service can do its work: what orchestrators ask again and again."""

from __future__ import annotations

import asyncio
from typing import Final

from backroom.job import JobStats
from backroom.service import JobService

__all__ = ["PATIENCE", "troubles", "worker_of"]

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


def worker_of(stats: JobStats, host: str) -> list[str]:
    """The names of the workers of this host that live: that hold a lease."""
    return [one.name for one in stats.workers if one.name.rpartition(":")[0] == host]
