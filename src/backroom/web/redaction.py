"""What is shown of a job, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from backroom.action import ActionInfo
from backroom.describing import Masks, TypeInfo
from backroom.errors import ConfigurationError
from backroom.flow import WorkflowInfo
from backroom.job import JobInfo, SignalInfo
from backroom.schedule import ScheduleInfo
from backroom.secret import HIDDEN, masked
from backroom.stats import FailureGroup
from backroom.web.access import Identity, Role, role_of

__all__ = ["Redact", "Redaction"]

Redact = Callable[[JobInfo], JobInfo]
"""The application's own: the job as it may be shown."""

MOST_OF_A_SIGNAL: Final = 4096
"""Bytes of the value of a signal, as JSON, that are shown."""

Shown = TypeVar("Shown", JobInfo, ScheduleInfo)


class Redaction:
    """Applied to every job before it leaves, through the API, the pages and the streams alike.

    Fields that are marked as `Secret` are hidden from everybody. The text of errors and tracebacks
    is what the application has put into it, and is shown as it is.

    Args:
        masks: what the service knows of a type by its name.
        redact: is called with each job, after all else was hidden. Where there is no job to call it
            with, the texts of errors and the data of schedules are hidden.
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
            if info.signals:
                info = msgspec.structs.replace(info, signals=tuple(map(_short, info.signals)))
        if self._redact is None:
            return info
        shown = self._redact(info)
        if not isinstance(shown, JobInfo):
            raise TypeError(f"redact must return a JobInfo, got {type(shown).__name__}")
        return shown

    def schedule(self, info: ScheduleInfo, who: Identity) -> ScheduleInfo:
        """The same of a schedule, whose data its jobs get. What `redact` would hide of them, it
        cannot be asked about a schedule."""
        if self._redact is not None or self.hides_data_from(who):
            return msgspec.structs.replace(info, data=HIDDEN)
        return self._without_secrets(info)

    def failures(self, group: FailureGroup) -> FailureGroup:
        """Without the text of the error, where `redact` may hide that: the job shows it."""
        if self._redact is None:
            return group
        return msgspec.structs.replace(group, message=HIDDEN)

    def workflow(self, info: WorkflowInfo) -> WorkflowInfo:
        """The same of the jobs of a workflow."""
        if self._redact is None:
            return info
        jobs = (
            one if one.error is None else msgspec.structs.replace(one, error=HIDDEN)
            for one in info.jobs
        )
        return msgspec.structs.replace(info, jobs=tuple(jobs))

    def said(self, said: Mapping[str, Any], who: Identity) -> dict[str, Any]:
        """What somebody has said of jobs, as a filter: a text out of data that this one does not
        see is not told him."""
        if "text" in said and self.hides_data_from(who):
            return {**said, "text": HIDDEN}
        return dict(said)

    def action(self, info: ActionInfo, who: Identity) -> ActionInfo:
        """The same of what was done."""
        if not isinstance(info.detail, Mapping):
            return info
        detail = self.said(info.detail, who)
        if isinstance(detail.get("filter"), Mapping):
            detail["filter"] = self.said(detail["filter"], who)
        return msgspec.structs.replace(info, detail=detail)

    def narrowed(self, which: Mapping[str, Any], types: Sequence[TypeInfo]) -> dict[str, Any]:
        """A filter that finds nothing by what is shown to nobody: neither a count, nor a cursor,
        nor how many were changed tells whether a text stands there.

        `types`: all that are known here.
        """
        if which.get("text") is None:
            return dict(which)
        if self._redact is not None:  # Who knows of what.
            return {**which, "unseen": "*"}
        return {**which, "unseen": [one.name for one in types if one.secret]}

    def searched(self, who: Identity, types: Sequence[TypeInfo]) -> str | None:
        """What a text is looked for in, for people; None: this one may not look for any."""
        if self.hides_data_from(who):
            return None
        if self._redact is not None:
            return "in ids and types"
        if any(one.secret for one in types):
            return "in ids, types; data, tags, errors of types without secrets"
        return "in ids, types, data, tags, errors"

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
        result = info.result
        if masks.result is not False and result is not None:
            result = masked(result, masks.result) if info.version == masks.version else HIDDEN
        return msgspec.structs.replace(info, data=data, result=result)

    def _of(self, type_: str) -> Masks | None:
        found = self._kept.get(type_)
        if found is None:
            found = self._masks(type_)
            if found is not None:
                self._kept[type_] = found
        return found


def _short(signal: SignalInfo) -> SignalInfo:
    """Without its value, where that is long: a hundred of a megabyte each may wait for one job."""
    size = len(msgspec.json.encode(signal.value))
    if size <= MOST_OF_A_SIGNAL:
        return signal
    return msgspec.structs.replace(signal, value=f"({size:,} bytes)")


def _without_result(step: Any) -> Any:
    return msgspec.structs.replace(step, result=None)
