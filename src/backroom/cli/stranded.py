"""What `backroom doctor` says of jobs that nobody would ever run, and what it does about them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from backroom.cli.finding import Finding
from backroom.cli.plain import count_of
from backroom.cli.recording import recorded
from backroom.inspecting import Stranded
from backroom.service import JobService

__all__ = ["places"]

WITHIN: Final = 30.0
"""Seconds that a look takes at most; one that is to put jobs back goes to the end."""
AT_ONCE: Final = 5000
"""Jobs that are looked at in one statement: some tens of milliseconds."""
TOLD: Final = 3
"""Ids that are told."""
MOST: Final = 1000
"""Ids that are kept, of what is found by a look that puts nothing back."""


async def places(service: JobService, requeue: bool = False) -> Finding:
    """Whether each job that has not ended stands where somebody would come for it. `requeue`: those
    that do not are put back before, by a change of its own for each lot."""
    if requeue:
        await recorded(
            service, "requeue", "jobs", partial(_put_back, service), changed=lambda jobs: jobs
        )
    ids: list[str] = []
    seen, until = 0, time.monotonic() + WITHIN
    whole = True
    async for found in _looks(service):
        ids += found.ids
        seen += found.seen
        if found.following is not None and (time.monotonic() > until or len(ids) > MOST):
            whole = False
            break
    if ids:
        more = "" if len(ids) <= TOLD and whole else f" and {len(ids) - TOLD} more"
        more += "" if whole else ", at least"
        return Finding(
            "error", "places",
            f"{count_of(len(ids), 'job')} that nobody would ever run, in no place where they are"
            f" looked for: {', '.join(ids[:TOLD])}{more}",
            "backroom doctor --requeue (workers may run)",
        )  # fmt: skip
    if not whole:
        return Finding(
            "warning", "places",
            f"of the first {seen:,} jobs each is where it is looked for; all would take over"
            f" {WITHIN:.0f} s",
            "backroom doctor --requeue looks at all, and puts back what nobody would ever run",
        )  # fmt: skip
    return Finding("ok", "places", "each job that waits is where somebody comes for it")


async def _put_back(service: JobService) -> int:
    storage, jobs = service.storage, 0
    async for found in _looks(service):
        if found.ids:
            jobs += await storage.requeue(found.ids, storage.clock.now())
    return jobs


async def _looks(service: JobService) -> AsyncIterator[Stranded]:
    after: str | None = None
    while True:
        found = await service.storage.stranded(after, AT_ONCE)
        yield found
        after = found.following
        if after is None:
            return
