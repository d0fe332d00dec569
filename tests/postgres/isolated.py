"""A handler for a child process, which imports this module and not what tests import."""

from __future__ import annotations

from typing import Any

from backroom import Job


async def isolated(job: Job[Any]) -> None:
    async with job.transaction():
        raise AssertionError("never comes here")
