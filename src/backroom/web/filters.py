"""Which jobs are meant, as the API and the pages take it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from backroom.job import JobStatus, Priority

__all__ = ["JobFilter", "JobKey", "Limit", "ListJobs", "ListPage", "Moment"]

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="How many at most.")]
JobKey = Annotated[str, msgspec.Meta(max_length=64)]
"""The id of a job; more characters has none."""
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class JobFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Those of which all that is said is true; without a word, all."""

    status: JobStatus | None = None
    type: Text | None = None
    queue: Text | None = None
    tag: Text | None = None
    error: Text | None = None
    """The kind of the last error: "ValueError"."""
    text: Text | None = None
    """What id, type, data, tags, unique key or the text of the last error has in it."""
    worker: Text | None = None
    workflow: Text | None = None
    priority: Priority | None = None
    since: Moment | None = None
    """Made at this moment or later."""
    until: Moment | None = None
    """Made before this moment."""

    def said(self) -> dict[str, Any]:
        """What is said, as the service takes it."""
        names = JobFilter.__struct_fields__
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


class ListPage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which page of a list."""

    limit: Limit = 100
    cursor: Annotated[str, msgspec.Meta(max_length=500)] | None = None


class ListJobs(JobFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which jobs, and which page of them."""

    limit: Limit = 100
    cursor: Annotated[str, msgspec.Meta(max_length=500)] | None = None
