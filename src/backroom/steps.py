"""The durable steps of a handler, as it calls them: on the loop, and in a thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, overload

from backroom.errors import ServiceError
from backroom.flow import Predecessor
from backroom.job import JobId
from backroom.predecessors import Predecessors, Typed, none_here
from backroom.replay import Aside, Replay, check_step
from backroom.step import StepKind, StepRecord
from backroom.stepper import Stepper, codec_of
from backroom.transition import Claim

__all__ = ["BlockingSteps", "Steps"]

P = ParamSpec("P")
R = TypeVar("R")


class Steps:
    """What a `Job` has of steps. They are kept with the job: a run that begins anew, after a
    crash, a retry or a wait, comes to each of them again and is given what it was."""

    __slots__ = ("_claim", "_steps")

    _claim: Claim
    _steps: Stepper | Replay | None
    """None: this handler has none."""

    @overload
    def step(
        self, name: str, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def step(
        self, name: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    def step(
        self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]:
        """Calls the function, and keeps its result before it returns; in a later run of this job
        it returns what is kept, and does not call it. A `def` function runs in a thread.

        The result is what the function's annotation says, as it is read again from JSON; plain
        JSON values where it says nothing. An exception is not kept: it is raised here, and the
        next run calls the function again. At least once: a worker that dies between the call
        and the keeping has called it.

        The attempt ends without a retry where the result cannot be kept, or where another step
        was kept at this place.

        Raises:
            LeaseLostError: the job belongs to another worker.
            OptionError: no name, or no function. ServiceError: another step is under way, or the
                handler runs in a child process.
        """
        return self._step(self._here(), check_step("step", name), function, args, kwargs)

    async def _step(
        self,
        run: Replay,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        codec = codec_of(function)
        step = await run.begin(StepKind.STEP, name)
        try:
            if step.ended_at is None:
                value = await run.stepper.call(function, args, kwargs)
                step = await run.keep_result(step, codec, value)
            return run.read(step, codec)
        finally:
            run.over()

    def sleep(self, delay: float | timedelta | str) -> Coroutine[Any, Any, None]:
        """Goes on when so much time has passed: seconds, a `timedelta`, or "1d", "1h 30m", "90s".

        More than a second ends this run, and the job is put aside: it holds no slot and costs no
        attempt, and the handler is run again from its beginning when the time has come.

        Raises:
            OptionError: no duration. Else like `step`.
        """
        return self._here().sleep(delay)

    @overload
    def wait_for(
        self, name: str, *, timeout: float | timedelta | str | None = None
    ) -> Coroutine[Any, Any, Any]: ...
    @overload
    def wait_for(
        self, name: str, *, type: type[R], timeout: float | timedelta | str | None = None
    ) -> Coroutine[Any, Any, R]: ...
    def wait_for(
        self, name: str, *, type: Any = None, timeout: float | timedelta | str | None = None
    ) -> Coroutine[Any, Any, Any]:
        """The value of the next signal of this name, as `service.signal` sent it: one that came
        before is taken at once, the oldest first. Else the job is put aside, as by `sleep`, until
        it comes; or until `timeout`, counted from the first call, without which it may wait for
        ever.

        `type`: what the value is to be; plain JSON values where it is not given. Where a value
        does not fit, the job fails without a retry.

        Raises:
            SignalTimeoutError: none had come in time. That is kept, too.
            OptionError: no name, or no duration. Else like `step`.
        """
        return self._here().wait_for(check_step("signal", name), timeout, type)

    # -- what it has waited for ------------------------------------------------------------------

    @overload
    def result_of(self, which: Typed[R] | JobId[R], /) -> Coroutine[Any, Any, R]: ...
    @overload
    def result_of(self, which: str, /) -> Coroutine[Any, Any, Any]: ...
    def result_of(self, which: Any, /) -> Coroutine[Any, Any, Any]:
        """In a workflow: the result of the one job of this type, or with this id, that this one has
        waited for. Of an undo job, the job that it takes back.

        Raises:
            JobNotFoundError: there is none. OptionError: there are several.
            JobFailedError, JobCancelledError: it did not complete; this job runs `anyway`.
            JobTypeError: its result does not fit the type.
            ServiceError: the handler runs in a child process.
        """
        return self._predecessors().result_of(which)

    @overload
    def results_of(self, which: Typed[R], /) -> Coroutine[Any, Any, list[R]]: ...
    @overload
    def results_of(self, which: str, /) -> Coroutine[Any, Any, list[Any]]: ...
    def results_of(self, which: Any, /) -> Coroutine[Any, Any, list[Any]]:
        """In a workflow: the results of the jobs of this type that this one has waited for, in the
        order in which they were added; of a callback, of all jobs of its workflow. Of those that
        did not complete there is none: `predecessors` tells of them.

        Raises:
            JobTypeError: a result does not fit the type.
            ServiceError: the handler runs in a child process.
        """
        return self._predecessors().results_of(which)

    def predecessors(self) -> Coroutine[Any, Any, list[Predecessor]]:
        """In a workflow: all jobs that this one has waited for, with their status, results as JSON
        text, and errors, in the order in which they were added.

        Raises:
            ServiceError: the handler runs in a child process.
        """
        return self._predecessors().all()

    def _predecessors(self) -> Predecessors:
        self._here()
        return self._before()

    def _before(self) -> Predecessors:
        flows = self._run().stepper.flows
        if flows is None:
            raise none_here()
        return Predecessors(flows, f"{self._claim.type} {self._claim.id}", self._claim.key)

    @property
    def blocking(self) -> BlockingSteps:
        """The same for a `def` handler: `quote = job.blocking.step("quote", get_quote, order)`.

        Raises:
            ServiceError: it runs in a child process.
        """
        return BlockingSteps(self._run(), self._before)

    def _here(self) -> Replay:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ServiceError(
                "a `def` handler has no event loop: write job.blocking.step(...), and the same"
                " with sleep and wait_for"
            ) from None
        return self._run()

    def _run(self) -> Replay:
        steps = self._steps
        if steps is None:
            raise ServiceError(
                "durable steps are for handlers that a worker runs in its own process: take"
                ' isolation="process" away, or schedule a job of its own for what needs that'
            )
        if not isinstance(steps, Replay):
            steps = self._steps = Replay(steps, self._claim)
        return steps

    @property
    def aside(self) -> Aside | None:
        """How this run ended by a step of its own, whatever the handler made of that."""
        return None if self._steps is None else self._steps.aside

    @property
    def uncalled(self) -> Sequence[StepRecord]:
        """Steps that an earlier run has kept, and this one has not called."""
        return () if self._steps is None else self._steps.uncalled


class BlockingSteps:
    """`Steps` in a thread: each call waits for its answer."""

    def __init__(self, run: Replay, before: Callable[[], Predecessors]) -> None:
        self._run = run
        self._before = before

    @overload
    def result_of(self, which: Typed[R] | JobId[R], /) -> R: ...
    @overload
    def result_of(self, which: str, /) -> Any: ...
    def result_of(self, which: Any, /) -> Any:
        """See `Steps.result_of`."""
        return self._in_thread().wait(self._before().result_of(which))

    @overload
    def results_of(self, which: Typed[R], /) -> list[R]: ...
    @overload
    def results_of(self, which: str, /) -> list[Any]: ...
    def results_of(self, which: Any, /) -> list[Any]:
        """See `Steps.results_of`."""
        return self._in_thread().wait(self._before().results_of(which))

    def predecessors(self) -> list[Predecessor]:
        """See `Steps.predecessors`."""
        return self._in_thread().wait(self._before().all())

    @overload
    def step(
        self, name: str, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    def step(
        self, name: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    def step(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """See `Steps.step`. The function runs in this thread; on the loop of the worker if it is
        `async def`."""
        run, codec = self._in_thread(), codec_of(function)
        step = run.wait(run.begin(StepKind.STEP, check_step("step", name)))
        try:
            if step.ended_at is None:
                value = function(*args, **kwargs)
                if inspect.isawaitable(value):
                    value = run.wait(_awaited(value))
                step = run.wait(run.keep_result(step, codec, value))
            return run.read(step, codec)
        finally:
            run.over()

    def sleep(self, delay: float | timedelta | str) -> None:
        """See `Steps.sleep`."""
        run = self._in_thread()
        run.wait(run.sleep(delay))

    @overload
    def wait_for(self, name: str, *, timeout: float | timedelta | str | None = None) -> Any: ...
    @overload
    def wait_for(
        self, name: str, *, type: type[R], timeout: float | timedelta | str | None = None
    ) -> R: ...
    def wait_for(
        self, name: str, *, type: Any = None, timeout: float | timedelta | str | None = None
    ) -> Any:
        """See `Steps.wait_for`."""
        run = self._in_thread()
        return run.wait(run.wait_for(check_step("signal", name), timeout, type))

    def _in_thread(self) -> Replay:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._run
        raise ServiceError(
            "job.blocking would stop the event loop: in an `async def` handler, write"
            " await job.step(...), and the same with sleep and wait_for"
        )


async def _awaited(value: Awaitable[R]) -> R:
    return await value
