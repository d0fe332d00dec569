"""Refusals as RFC 9457 says them: what was wrong, where, and the mend."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Literal

import msgspec

from backroom.errors import (
    BackroomError,
    ConfigurationError,
    DuplicateJobError,
    JobNotFoundError,
    JobStateError,
    JobTypeError,
    OptionError,
    PayloadTooLargeError,
    ScheduleNotFoundError,
    ServiceError,
    StorageError,
    UnknownJobTypeError,
    WorkerNotFoundError,
    WorkflowNotFoundError,
)

__all__ = ["MEDIA_TYPE", "Problem", "ProblemDocument", "problem_of"]

MEDIA_TYPE: Final = "application/problem+json"


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a refused request gets."""

    type: str
    """A name for programs: "urn:backroom:problem:not-found"."""
    title: str
    status: int
    detail: str
    """What was wrong, and the mend."""
    at: str | None = None
    """Where: "query.limit", "body.data", "path.id", "header.origin"."""
    changed: Literal["no", "unknown"] = "no"
    """"unknown": it may have been done, or a part of it; look before you ask again."""


class Problem(Exception):
    """Ends a request; nothing was changed, unless it is `unsure`."""

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        *,
        at: str | None = None,
        headers: Mapping[str, str] | None = None,
        unsure: bool = False,
        told: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.at = at
        self.headers = dict(headers or {})
        self.unsure = unsure
        """A change was under way: nobody knows how far it came."""
        self.told = told
        """Its detail says that nothing was changed."""

    @property
    def document(self) -> ProblemDocument:
        return ProblemDocument(
            type=f"urn:backroom:problem:{self.name}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            at=self.at,
            changed="unknown" if self.unsure else "no",
        )

    def body(self) -> bytes:
        return msgspec.json.encode(self.document)


_KNOWN: Final[tuple[tuple[type[BackroomError], int, str], ...]] = (
    (JobNotFoundError, 404, "not-found"),
    (ScheduleNotFoundError, 404, "not-found"),
    (WorkflowNotFoundError, 404, "not-found"),
    (WorkerNotFoundError, 404, "not-found"),
    (UnknownJobTypeError, 422, "unknown-type"),
    (PayloadTooLargeError, 413, "too-large"),
    (JobTypeError, 422, "bad-data"),
    (OptionError, 422, "bad-option"),
    (JobStateError, 409, "state"),
    (DuplicateJobError, 409, "duplicate"),
    (ConfigurationError, 409, "not-possible-here"),
    (StorageError, 503, "storage"),
    (ServiceError, 503, "service"),
)


def problem_of(error: BackroomError) -> Problem:
    """A refusal of the service as one of the web."""
    for kind, status, name in _KNOWN:
        if isinstance(error, kind):
            headers: dict[str, Any] = {"Retry-After": "5"} if status == 503 else {}
            told = isinstance(error, StorageError) and error.unchanged
            return Problem(status, name, str(error), headers=headers, told=told)
    return Problem(409, "refused", str(error))
