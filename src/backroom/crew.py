"""Workers, as people see them: frozen values, which are also how a store keeps them."""

from __future__ import annotations

from datetime import datetime

import msgspec

__all__ = ["RunningJob", "WorkerInfo", "WorkerReport"]


class RunningJob(msgspec.Struct, frozen=True):
    """One attempt that runs now."""

    id: str
    type: str
    queue: str
    attempt: int
    """Which one it is, from 1 on."""
    since: datetime


class WorkerReport(msgspec.Struct, frozen=True):
    """What a worker tells of itself every few seconds."""

    at: datetime
    pid: int
    host: str
    memory: int | None
    """Bytes that its process holds (resident); None where the system does not tell."""
    concurrency: int
    """Slots for jobs that it has."""
    queues: str
    """Which it serves, for people."""
    running: tuple[RunningJob, ...]
    """The 100 that have run longest."""
    active: int
    """How many run."""
    ahead: int
    """How many it has claimed ahead, which have not begun."""


class WorkerInfo(msgspec.Struct, frozen=True):
    """One worker that has enlisted and has not ended."""

    id: int
    name: str
    """host:pid."""
    started_at: datetime
    claimed: int
    """Jobs it holds, those that have not begun included."""
    draining: bool
    """It claims nothing, since it was asked to."""
    alive: bool
    """False: it is gone, and what it holds is about to be taken back."""
    report: WorkerReport | None
    """What it has told last; None: nothing yet."""
