"""What is shown of a job, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from backroom.describing import Masks
from backroom.errors import ConfigurationError
from backroom.job import JobInfo
from backroom.schedule import ScheduleInfo
from backroom.secret import HIDDEN, masked
from backroom.web.access import Identity, Role, role_of

__all__ = ["Redact", "Redaction"]

Redact = Callable[[JobInfo], JobInfo]
"""The application's own: the job as it may be shown."""

Shown = TypeVar("Shown", JobInfo, ScheduleInfo)


class Redaction:
    """Applied to every job before it leaves, through the API, the pages and the streams alike.

    Fields that are marked as `Secret` are hidden from everybody. The text of errors and tracebacks
    is what the application has put into it, and is shown as it is.

    Args:
        masks: what the service knows of a type by its name.
        redact: is called with each job, after all else was hidden.
        hide_from: this role, and those below it, see no data, results, metadata nor logs.
    """

    def __init__(
        self,
        masks: Callable[[str], Masks | None],
        redact: Redact | None,
        hide_from: Role | str | None,
    ) -> None:
        if redact is not None and not callable(redact):
            raise ConfigurationError(f"redact takes a function of a JobInfo, got {redact!r}")
        self._masks = masks
        self._redact = redact
        self._hide_from = None if hide_from is None else role_of(hide_from)
        self._kept: dict[str, Masks] = {}
        """A type's masks are made once: its code does not change while this runs."""

    def hides_data_from(self, who: Identity) -> bool:
        return self._hide_from is not None and who.role <= self._hide_from

    def job(self, info: JobInfo, who: Identity) -> JobInfo:
        """As this one may see it.

        Raises:
            TypeError: `redact` does not return a job.
        """
        if self.hides_data_from(who):
            info = msgspec.structs.replace(
                info,
                data=HIDDEN,
                result=None if info.result is None else HIDDEN,
                metadata={},
                log=(),
                progress_message=None,
                steps=tuple(_without_result(step) for step in info.steps),
                waits_for=None if info.waits_for is None else _without_result(info.waits_for),
                signals=tuple(msgspec.structs.replace(one, value=None) for one in info.signals),
            )
        else:
            info = self._without_secrets(info)
        if self._redact is None:
            return info
        shown = self._redact(info)
        if not isinstance(shown, JobInfo):
            raise TypeError(f"redact must return a JobInfo, got {type(shown).__name__}")
        return shown

    def schedule(self, info: ScheduleInfo, who: Identity) -> ScheduleInfo:
        """The same of a schedule, whose data its jobs get."""
        if self.hides_data_from(who):
            return msgspec.structs.replace(info, data=HIDDEN)
        return self._without_secrets(info)

    def hides_some_of(self, type_: str) -> bool:
        """Whether something of the jobs of this type is shown to nobody."""
        masks = self._of(type_)
        return masks is not None and (masks.data is not False or masks.result is not False)

    def _without_secrets(self, info: Shown) -> Shown:
        masks = self._of(info.type)
        if masks is None or (masks.data is False and masks.result is False):
            return info
        data = info.data
        if masks.data is not False:
            # Where another version keeps what is secret today, nobody here knows.
            data = masked(data, masks.data) if info.version == masks.version else HIDDEN
        if isinstance(info, ScheduleInfo):
            return msgspec.structs.replace(info, data=data)
        return msgspec.structs.replace(info, data=data, result=masked(info.result, masks.result))

    def _of(self, type_: str) -> Masks | None:
        found = self._kept.get(type_)
        if found is None:
            found = self._masks(type_)
            if found is not None:
                self._kept[type_] = found
        return found


def _without_result(step: Any) -> Any:
    return msgspec.structs.replace(step, result=None)
