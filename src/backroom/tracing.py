"""The seam of tracing: what travels with a job, so that who runs it can tell whence it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from backroom.job import JobRecord

__all__ = ["Tracing"]


class Tracing(Protocol):
    """What a service that is traced asks. A service that is not asks nothing."""

    def carried(self) -> Mapping[str, str] | None:
        """What a job that is made now is kept with, as "traceparent" and "tracestate" of W3C Trace
        Context; None: nothing, as nothing is traced here."""
        ...

    def sending(self) -> AbstractContextManager[Sending]:
        """Around the making and the keeping of jobs of one call."""
        ...


class Sending(Protocol):
    """One call that keeps jobs."""

    def made(self, jobs: Sequence[JobRecord]) -> None:
        """These are about to be kept."""
        ...
