"""The seam of inspection: what people look for, count and change of jobs. Moments as in `ports`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from backroom.job import JobInfo, JobStatus
from backroom.stats import FailureGroup, JobStats

__all__ = [
    "BulkProgress",
    "Counted",
    "Filter",
    "Inspection",
    "Looked",
    "Outlook",
    "Progress",
    "Stranded",
    "Which",
]


class Filter(msgspec.Struct, frozen=True):
    """Which jobs people mean: those of which all that is said is true."""

    status: JobStatus | None = None
    type: str | None = None
    queue: str | None = None
    tag: str | None = None
    error: str | None = None
    """The kind of its last error: "ValueError", "timeout"."""
    text: str | None = None
    """What its id, type, data, tags, unique key or the text of its last error has in it. The
    letters A to Z are the same in either case."""
    unseen: tuple[str, ...] | Literal["*"] = ()
    """Types in whose data the text is not looked for; "*": only ids and types are looked at, of
    all jobs."""
    worker: str | None = None
    """The name of the worker that holds it."""
    workflow: str | None = None
    """The id of the workflow or batch that it belongs to."""
    priority: int | None = None
    since: int | None = None
    """Made at this moment or later."""
    until: int | None = None
    """Made before this moment."""


Which: TypeAlias = str | Filter | Sequence[str]
"""The id of a job, or all that match, or these ids."""


class Looked(msgspec.Struct, frozen=True):
    """What one look through some of the jobs has found."""

    jobs: list[JobInfo]
    """Newest first."""
    cursor: str | None
    """Where the next look goes on; None: there is nothing behind this one."""
    seen: int
    """How many jobs it looked at."""


class Counted(msgspec.Struct, frozen=True):
    """The same of one that only counts."""

    jobs: int
    cursor: str | None
    seen: int


class BulkProgress(msgspec.Struct, frozen=True):
    """How far a change of many jobs has come."""

    looked: int = 0
    """How many jobs it has looked at."""
    changed: int = 0
    refused: int = 0
    """Jobs that match, and could not be changed: they have become something else meanwhile, or
    what they belong to does not let them."""


Progress = Callable[[BulkProgress], None]
"""Called after each page of a change of many jobs; a page stands whatever follows."""


class Outlook(msgspec.Struct, frozen=True, gc=False):
    """How a job stands, for those who wait for its result."""

    type: str
    status: JobStatus
    result: str | None
    error: str | None


class Stranded(msgspec.Struct, frozen=True):
    """What a look for jobs that nobody would ever run has found."""

    ids: tuple[str, ...]
    following: str | None
    """Where the next look begins; None: that was all."""
    seen: int
    """How many jobs were looked at one by one."""


class Inspection(Protocol):
    """What people ask: kept apart so that the hot path stays small."""

    async def find(self, job_id: str, now: int) -> JobInfo | None:
        """One job with its errors and log."""
        ...

    async def outlook(self, ids: Sequence[str], now: int) -> dict[str, Outlook]:
        """How these jobs stand; unknown ids are left out."""
        ...

    async def page(
        self, which: Filter, now: int, limit: int, cursor: str | None
    ) -> tuple[list[JobInfo], str | None]:
        """Newest first, and the cursor of the next page. Looks until the page is full.

        Raises:
            OptionError: the cursor is none of ours.
        """
        ...

    async def look(
        self, which: Filter, now: int, limit: int, cursor: str | None, most: int
    ) -> Looked:
        """As `page`, but looks at no more than `most` jobs: a page may be short, or empty, and
        there is more behind it all the same."""
        ...

    async def count(self, which: Filter, now: int, cursor: str | None, most: int) -> Counted:
        """How many of the next `most` jobs match; all where an index tells that at once.

        Raises:
            OptionError: the cursor is none of ours.
        """
        ...

    async def stats(self, now: int) -> JobStats:
        """Counts, queues and workers; of numbers that are kept, however many jobs there are."""
        ...

    async def failures(self, limit: int) -> list[FailureGroup]:
        """The failed jobs that are there, by their types and the kinds of their last errors; the
        groups of most jobs first, up to `limit`. Of numbers that are kept, too."""
        ...

    async def miscounted(self) -> list[str]:
        """Which of the numbers that are kept differ from what is there, for people; empty: none.
        Goes through all jobs."""
        ...

    async def fold(self, now: int) -> None:
        """Keeps the numbers few, where they are many: to be called every few seconds, by whoever
        keeps house. Safe from several workers at once."""
        ...

    async def recount(self) -> None:
        """Makes all numbers anew. Goes through all jobs while nobody writes."""
        ...

    async def stranded(self, after: str | None, most: int) -> Stranded:
        """Of the next `most` jobs behind `after`, those that have not ended and that no claim, no
        reclaim and no end of another job would ever come to: as when a row was lost that said where
        they are. Nobody waits for such a look."""
        ...

    async def requeue(self, ids: Sequence[str], now: int) -> int:
        """Those of these that are stranded still wait in their queues again, where a claim finds
        them; how many. One that a worker had which is unknown is charged for an attempt if that
        may have begun. Safe while workers run, and from several places at once."""
        ...

    async def retry(
        self,
        which: Which,
        now: int,
        from_step: int | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Terminal jobs (or a retry that waits) run again at once, with a fresh budget. Of one by
        its id, steps from the number `from_step` on are forgotten in the same change; signals that
        wait stay.

        Raises, for an id: `JobNotFoundError`; `JobStateError` if it is active, or if another
        job holds its unique key. A job that held one not until its end needs none.

        Of many, in pages: one that is begun stands whatever becomes of the others, `progress` is
        told of each, and who is cancelled stops between two. Only jobs that were there when it
        began are changed. Those of one workflow that match are retried in one page.
        """
        ...

    async def cancel(self, which: Which, now: int, progress: Progress | None = None) -> int:
        """Cancels jobs that wait at once, and asks for it where they run. Many as `retry` does.

        Raises, for an id: `JobNotFoundError`.
        """
        ...

    async def delete(self, which: Which, progress: Progress | None = None) -> int:
        """Forgets a job that is not active, or all ended jobs that match. Many as `retry` does.

        Raises, for an id: `JobNotFoundError`, `JobStateError`.
        """
        ...

    async def rearrange(
        self,
        which: Which,
        now: int,
        run_at: int | None,
        priority: int | None,
        progress: Progress | None = None,
    ) -> int:
        """Jobs that wait do so for another moment, in another priority, or both; None: as it is.
        Many as `retry` does. One in the line of a limit leaves it, and stands there again when it
        is claimed; one that waits for other jobs goes on doing so. None is left to expire before
        its moment: that is refused.

        Raises, for an id: `JobNotFoundError`; `JobStateError` if a worker holds it, started or
        not, if it has ended, or would expire.
        """
        ...

    async def pause(self, queue: str, paused: bool) -> None:
        """Whether jobs of this queue are claimed."""
        ...

    async def queues(self) -> dict[str, bool]:
        """Every queue that ever held a job, and whether it is paused."""
        ...
