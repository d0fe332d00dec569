"""What is kept of the steps of a job, as frozen values.

A step has a number, by where it stands among the calls of one run of the handler, and a name. What
was kept under a number is given back to every later run that comes there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Any, Final, Literal

import msgspec

from backroom.errors import OptionError
from backroom.job import (
    SECOND,
    JobInfo,
    JobStatus,
    SignalInfo,
    StepInfo,
    duration,
    to_datetime,
)

__all__ = [
    "FOREVER",
    "MAX_SIGNALS",
    "MAX_STEPS",
    "UNTIL_TOLD",
    "SignalRecord",
    "StepKind",
    "StepRecord",
    "shown",
    "span",
]

MAX_STEPS: Final = 1000
"""Steps of one job."""
MAX_SIGNALS: Final = 100
"""Signals that may wait for one job."""
FOREVER: Final = 253_402_300_799_000_000
"""The moment until which a job waits that waits without a timeout: the end of the year 9999."""
UNTIL_TOLD: Final = "until it is told to go on"
"""What people read in its place."""


class StepKind(IntEnum):
    """What a step is, as a storage keeps it."""

    STEP = 0
    """The call of a function: it is kept once it has ended."""
    SLEEP = 1
    """It is over when its `until` has come."""
    SIGNAL = 2
    """It is over when a signal was taken, or none had come by its `until`."""


class StepRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One step as it is kept. Encodes as a JSON array in this order."""

    number: int
    """From 1 on."""
    kind: int
    """A `StepKind`."""
    name: str
    begun_at: int
    until: int | None = None
    """When a sleep ends, or the wait for a signal."""
    ended_at: int | None = None
    """None: it waits for its signal; or it is a sleep, which ends by itself."""
    result: str | None = None
    """JSON: what the function returned, or the value of the signal; None: none came in time."""
    signal: str | None = None
    """The id of the signal that it took."""

    @property
    def said(self) -> str:
        """The call that made it, for people."""
        if self.kind == StepKind.SLEEP:
            return "sleep"
        call = "wait_for" if self.kind == StepKind.SIGNAL else "step"
        return f'{call}("{self.name}")'


class SignalRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A signal as it is kept until it is taken."""

    id: str
    """Made by its sender: sent twice under the same one, it is kept once."""
    name: str
    value: str
    """JSON."""
    at: int


_SPAN: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(d|h|m|s)", re.ASCII)
_UNITS: Final = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def span(name: str, value: float | timedelta | str) -> float:
    """A duration in seconds: seconds, a `timedelta`, or a text such as "1d", "1h 30m", "90s".

    Raises:
        OptionError: it is none, negative, or over a hundred years.
    """
    if not isinstance(value, str):
        return duration(name, value)
    at, total = 0, 0.0
    while found := _SPAN.match(value, at):
        total += float(found[1]) * _UNITS[found[2]]
        at = found.end()
    if not at or value[at:].strip():
        raise OptionError(
            f'{name} must be seconds, a timedelta, or a text such as "1d", "1h 30m" or "90s", got'
            f" {value!r}"
        )
    return duration(name, total)


def shown(
    info: JobInfo, steps: Sequence[StepRecord], signals: Sequence[SignalRecord], now: int
) -> JobInfo:
    """A job with what is kept of its steps."""
    if not steps and not signals:
        return info
    known = tuple(_step_info(step, now) for step in steps)
    waits = None
    if info.status is JobStatus.SCHEDULED:
        for step, one in zip(steps, known, strict=True):
            if not one.done and step.until is not None and to_datetime(step.until) == info.run_at:
                waits = one
    waiting = tuple(SignalInfo(one.name, to_datetime(one.at), _read(one.value)) for one in signals)
    return msgspec.structs.replace(info, steps=known, signals=waiting, waits_for=waits)


_KINDS: Final[dict[int, Literal["step", "sleep", "signal"]]] = {
    StepKind.STEP: "step",
    StepKind.SLEEP: "sleep",
    StepKind.SIGNAL: "signal",
}


def _step_info(step: StepRecord, now: int) -> StepInfo:
    slept = step.kind == StepKind.SLEEP and step.until is not None and step.until <= now
    return StepInfo(
        number=step.number,
        kind=_KINDS[step.kind],
        name=step.name,
        at=to_datetime(step.begun_at),
        done=slept or step.ended_at is not None,
        took=None if step.ended_at is None else (step.ended_at - step.begun_at) / SECOND,
        until=None if step.until in (None, FOREVER) else to_datetime(step.until or 0),
        timed_out=step.kind == StepKind.SIGNAL and step.ended_at is not None and not step.result,
        result=None if step.result is None else _read(step.result),
    )


def _read(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:  # Some other program may have written it.
        return text
