"""One run of a handler over what is kept of its steps: what was done is given back, what was not
is done and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from backroom.codec import Codec, encode_json
from backroom.errors import (
    BackroomError,
    ConfigurationError,
    JobStateError,
    JobTypeError,
    OptionError,
    PayloadTooLargeError,
    ServiceError,
    SignalTimeoutError,
    StepsChangedError,
)
from backroom.job import SECOND
from backroom.options import check_name
from backroom.step import FOREVER, MAX_STEPS, StepKind, StepRecord, span
from backroom.stepper import Stepper
from backroom.transition import Claim

__all__ = ["Aside", "Replay", "aside_of", "check_step"]

T = TypeVar("T")

NAP: Final = 1.0
"""Seconds up to which a sleep keeps its slot: to be put aside and claimed anew is not less work."""


class Aside(BaseException):
    """Ends a run of a handler, past whatever catches an `Exception` there: the job waits for a
    step, or it cannot go on."""

    def __init__(self, step: StepRecord | None, error: BackroomError | None = None) -> None:
        super().__init__(str(error or step))
        self.step = step
        self.error = error


def aside_of(error: BaseException) -> Aside | None:
    """What ended a run, also where it went through an `asyncio.TaskGroup`; None: an error did."""
    if isinstance(error, Aside):
        return error
    if isinstance(error, BaseExceptionGroup):
        inner = [aside_of(one) for one in error.exceptions]
        return inner[0] if all(inner) else None
    return None


class Replay:
    """The steps of one run. All of it happens on the loop of the worker."""

    def __init__(self, stepper: Stepper, claim: Claim) -> None:
        self.stepper = stepper
        self.aside: Aside | None = None
        """How it ended, whatever the handler makes of that."""
        self._claim = claim
        self._kept: dict[int, StepRecord] | None = None
        """By number; None: nobody has looked yet."""
        self._number = 0
        self._under_way: str | None = None

    async def begin(self, kind: StepKind, name: str) -> StepRecord:
        """The next step: as it is kept, or as it begins now. `over` is to be called after it.

        Raises:
            Aside: another step was kept under its number, or there are too many.
            ServiceError: another one is under way.
        """
        if self.aside is not None:
            raise self.aside
        fresh = StepRecord(self._number + 1, kind, name, self.stepper.now())
        if self._under_way is not None:
            raise ServiceError(
                f"{self._claim.type}: {fresh.said} was called while {self._under_way} is under way:"
                " the steps of a job come one after the other, so that each run meets them in the"
                " same order; do what belongs together in one step"
            )
        self._under_way = fresh.said
        try:
            return await self._find(fresh)
        except BaseException:
            self._under_way = None
            raise

    @property
    def uncalled(self) -> list[StepRecord]:
        """What is kept, and this run has not come to."""
        return [step for number, step in (self._kept or {}).items() if number > self._number]

    def over(self) -> None:
        """The step that was begun has ended, one way or another."""
        self._under_way = None

    async def _find(self, fresh: StepRecord) -> StepRecord:
        self._number = fresh.number
        if fresh.number > MAX_STEPS:
            self._halt(
                JobStateError(
                    f"{self._claim.type}: {fresh.said} is one step more than the {MAX_STEPS:,} that"
                    " are kept of a job: do more in each step, or give the rest to a job of its own"
                )
            )
        if self._kept is None:
            steps = await self.stepper.patiently(
                lambda: self.stepper.storage.steps_of(self._claim.key)
            )
            self._kept = {step.number: step for step in steps}
        kept = self._kept.get(fresh.number)
        if kept is None:
            return fresh
        if (kept.kind, kept.name) != (fresh.kind, fresh.name):
            number = fresh.number
            self._halt(
                StepsChangedError(
                    f"{self._claim.type}: step {number} is {fresh.said} now, and was {kept.said}"
                    " when it was kept: the handler was changed while this job was under way, or"
                    " does not call its steps in the same order each time. Put the earlier code"
                    " back and retry the job, which goes on with what is kept; or retry it with"
                    f" from_step={number}, which forgets this step and those after it"
                )
            )
        return kept

    async def keep(self, step: StepRecord) -> StepRecord:
        """Keeps a step as it is now.

        Raises:
            LeaseLostError: the job belongs to another worker.
        """
        key, token = self._claim.key, self._claim.token
        await self.stepper.patiently(lambda: self.stepper.storage.keep_step(key, token, step))
        return step

    async def keep_result(
        self, step: StepRecord, codec: Codec[Any] | None, value: object
    ) -> StepRecord:
        """Keeps a step with what its function returned.

        Raises:
            Aside: that cannot be kept: to do it once more would not help.
            LeaseLostError: the job belongs to another worker.
        """
        where = f"{self._claim.type}, step {step.number} ({step.name})"
        try:
            text = encode_json(where, "result", value) if codec is None else codec.encode(value)
        except JobTypeError as error:
            self._halt(error if codec is None else JobTypeError(f"{where}: {error}"))
        most = self.stepper.max_payload
        if len(text) > most // 4 and len(text.encode()) > most:
            self._halt(
                PayloadTooLargeError(
                    f"{where}: the result has {len(text.encode()):,} bytes as JSON, the limit is"
                    f" {most:,}; keep large things elsewhere and return their address"
                )
            )
        ended = msgspec.structs.replace(step, ended_at=self.stepper.now(), result=text)
        return await self.keep(ended)

    def read(self, step: StepRecord, codec: Codec[Any] | None) -> Any:
        """The result of a step as its type is now.

        Raises:
            Aside: it does not fit.
        """
        text = step.result or "null"
        if codec is None:
            return msgspec.json.decode(text)
        try:
            return codec.decode(text)
        except JobTypeError as error:
            self._halt(
                JobTypeError(
                    f"{self._claim.type}, step {step.number} ({step.name}): what is kept does not"
                    f" fit: {error}; retry the job with from_step={step.number} to have it anew"
                )
            )

    async def sleep(self, delay: float | timedelta | str) -> None:
        """Ends when so much time has passed since it was first called."""
        seconds = span("delay", delay)
        step = await self.begin(StepKind.SLEEP, "sleep")
        try:
            fresh = step.until is None
            if fresh:
                until = step.begun_at + round(seconds * SECOND)
                step = msgspec.structs.replace(step, until=until)
            left = ((step.until or 0) - self.stepper.now()) / SECOND
            if left > NAP:
                self._put_aside(step)
            if fresh:
                await self.keep(step)
            if left > 0:
                await asyncio.sleep(left)
        finally:
            self.over()

    async def wait_for(self, name: str, timeout: float | timedelta | str | None, type_: Any) -> Any:
        """The value of the next signal of this name."""
        seconds = None if timeout is None else span("timeout", timeout)
        codec: Codec[Any] | None = None
        if type_ is not None:
            codec = Codec(f"signal {name}", "value", type_)
        step = await self.begin(StepKind.SIGNAL, name)
        try:
            if step.ended_at is None:
                step = await self._take(step, seconds)
            if step.result is None:
                raise SignalTimeoutError(
                    f"{self._claim.type}: no signal {name!r} came within"
                    f" {((step.until or 0) - step.begun_at) / SECOND:g} s"
                )
            return self.read(step, codec)
        finally:
            self.over()

    async def _take(self, step: StepRecord, seconds: float | None) -> StepRecord:
        if step.until is None:
            until = FOREVER if seconds is None else step.begun_at + round(seconds * SECOND)
            step = msgspec.structs.replace(step, until=until)
        key, token, now = self._claim.key, self._claim.token, self.stepper.now
        taken = await self.stepper.patiently(
            lambda: self.stepper.storage.take_signal(key, token, step, now())
        )
        if taken is None:
            self._put_aside(step)
        return taken

    def _put_aside(self, step: StepRecord) -> NoReturn:
        self.aside = Aside(step)
        raise self.aside

    def _halt(self, error: BackroomError) -> NoReturn:
        self.aside = Aside(None, error)
        raise self.aside from error

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """In a thread: what this answers, on the loop."""
        return asyncio.run_coroutine_threadsafe(self._awaited(work), self.stepper.loop).result()

    async def _awaited(self, work: Coroutine[Any, Any, T]) -> T:
        self.stepper.in_threads -= 1
        try:
            return await work
        finally:
            self.stepper.in_threads += 1


def check_step(what: str, name: object) -> str:
    """The name of a step or a signal.

    Raises:
        OptionError: it is no text of 1 to 200 printable characters.
    """
    try:
        return check_name(what, name)
    except ConfigurationError as error:
        raise OptionError(str(error), "name") from None
