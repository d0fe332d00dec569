"""Job types of two versions, whose handlers run in child processes: importable by name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from backroom import FailJob, Job, JobRegistry, JobType

__all__ = ["MAIL", "OLD_MAIL", "First", "Second", "registry"]


@dataclass
class First:
    to: str


@dataclass
class Second:
    recipient: str
    upgraded_by: int = 0


def from_v1(data: First) -> Second:
    if data.to == "nobody":
        raise LookupError("no such user")
    if data.to == "never":
        raise FailJob("never again")
    if data.to == "exit":
        raise SystemExit("an upgrade that exits")
    if data.to == "crash":
        os._exit(3)
    return Second(data.to, os.getpid())


OLD_MAIL = JobType("MAIL", First)
MAIL = JobType("MAIL", Second, version=2, upgrade={1: from_v1})
registry = JobRegistry()


@registry.handler(MAIL, isolation="process")
def send(job: Job[Second]) -> list[Any]:
    return [job.data.recipient, job.data.upgraded_by == os.getpid()]


LATER = JobType("LATER", Second, version=2, upgrade={1: from_v1})


@registry.handler(LATER, isolation="process")
async def send_later(job: Job[Second]) -> list[Any]:
    return [job.data.recipient, job.data.upgraded_by == os.getpid()]
