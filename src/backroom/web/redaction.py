"""What is shown of a job, and to whom."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from backroom.errors import ConfigurationError
from backroom.job import JobInfo
from backroom.web.access import Identity, Role, role_of

__all__ = ["HIDDEN", "Redact", "Redaction"]

HIDDEN = "(hidden)"
"""Stands where something is not shown."""

Redact = Callable[[JobInfo], JobInfo]
"""The application's own: the job as it may be shown."""


class Redaction:
    """Applied to every job before it leaves, through the API and on pages alike.

    Args:
        redact: is called with each job, after all else was hidden.
        hide_from: this role, and those below it, see no data, results, metadata nor logs.
    """

    def __init__(self, redact: Redact | None, hide_from: Role | str | None) -> None:
        if redact is not None and not callable(redact):
            raise ConfigurationError(f"redact takes a function of a JobInfo, got {redact!r}")
        self._redact = redact
        self._hide_from = None if hide_from is None else role_of(hide_from)

    def hides_data_from(self, who: Identity) -> bool:
        return self._hide_from is not None and who.role <= self._hide_from

    def job(self, info: JobInfo, who: Identity) -> JobInfo:
        """As this one may see it."""
        if self.hides_data_from(who):
            info = msgspec.structs.replace(
                info,
                data=HIDDEN,
                result=None if info.result is None else HIDDEN,
                metadata={},
                log=(),
                steps=tuple(msgspec.structs.replace(s, result=None) for s in info.steps),
                signals=tuple(msgspec.structs.replace(s, value=None) for s in info.signals),
            )
        return info if self._redact is None else self._redact(info)
