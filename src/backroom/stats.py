"""How many jobs there are, of which kind, as people see it: frozen values."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from backroom.job import FIRST, JobId

__all__ = [
    "Count",
    "FailureGroup",
    "JobStats",
    "ParkedStats",
    "QueueStats",
    "WorkerStats",
    "first_line",
]


class Count(msgspec.Struct, frozen=True):
    """How many jobs match."""

    jobs: int
    exact: bool
    """False: there was no time to look at all; there are at least so many."""


class QueueStats(msgspec.Struct, frozen=True):
    """One queue at one moment."""

    name: str
    paused: bool
    scheduled: int
    pending: int
    active: int
    oldest_pending: datetime | None
    """When the longest waiting job became due."""
    blocked: int = 0
    """Jobs that wait for others, or for room in a limit."""


class WorkerStats(msgspec.Struct, frozen=True):
    """One living worker."""

    name: str
    """host:pid."""
    started_at: datetime
    active: int
    """Jobs it has claimed, the waiting ones included."""
    draining: bool = False
    """It claims nothing, since it was asked to."""


class ParkedStats(msgspec.Struct, frozen=True):
    """Jobs that wait for a worker that knows their type and the version of their data."""

    type: str
    version: int
    """A worker whose code is of this version or a newer one runs them."""
    jobs: int

    @property
    def name(self) -> str:
        """For people: the type, and the version of the data if it is not the first."""
        return self.type if self.version == FIRST else f"{self.type} (version {self.version})"


class JobStats(msgspec.Struct, frozen=True):
    """The whole store at one moment."""

    by_status: dict[str, int]
    queues: tuple[QueueStats, ...]
    workers: tuple[WorkerStats, ...]
    unknown_types: dict[str, int] = msgspec.field(default_factory=dict)
    """Job types that no worker that looked knew, or not in so new a version, with how many jobs
    wait for one."""
    parked: tuple[ParkedStats, ...] = ()
    """The same, for each version of their data by itself."""


LINE: Final = 200
"""Characters of the line that tells a group of failures."""


class FailureGroup(msgspec.Struct, frozen=True):
    """The failed jobs of one type whose last errors were of one kind."""

    type: str
    kind: str
    """Of the last error: the class of what was raised, or `timeout`, `crash` and the like."""
    jobs: int
    """How many are there now: those that were retried, deleted or forgotten are not."""
    last_at: datetime
    """When the newest of them failed."""
    message: str
    """Of its error the first line, of at most 200 characters."""
    job_id: JobId[Any]
    """The newest of them."""


def first_line(message: str) -> str:
    """Of an error, as a list shows it."""
    line = next((line.strip() for line in message.splitlines() if line.strip()), "")
    return line if len(line) <= LINE else line[: LINE - 1] + "…"
