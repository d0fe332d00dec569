"""The handlers of a service as a test wants them: each may fail, or lose its worker, on order."""

from __future__ import annotations

import copy
import functools
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, Literal

from backroom.errors import OptionError
from backroom.handle import Job
from backroom.job import Snooze
from backroom.registry import Known, Registry

__all__ = ["InjectedError", "Killed", "Stage", "When"]

When = Literal["before", "after"]
"""The handler's first line, or its last."""


class InjectedError(Exception):
    """What a handler fails with where a test names no other error."""


class Killed(BaseException):
    """Ends the code of an attempt whose worker is dead."""


class _Plan:
    """What happens to the next `times` attempts of a type; None: to all that come."""

    def __init__(self, times: int | None, when: When, happen: Callable[[Job[Any]], None]) -> None:
        if times is not None and (isinstance(times, bool) or times < 1):
            raise OptionError(f"times must be a whole number from 1, or None, got {times!r}")
        if when not in ("before", "after"):
            raise OptionError(f'when must be "before" or "after", got {when!r}')
        self.times = times
        self.when = when
        self.happen = happen


class Stage(Registry):
    """The registry of a service, whose handlers run in this process, and as planned."""

    def __init__(self, registry: Registry, kill: Callable[[str], None]) -> None:
        super().__init__(registry._defaults)
        self._known = registry._known
        self.schedules = registry.schedules
        self._kill = kill
        self._plans: dict[str, deque[_Plan]] = defaultdict(deque)
        self._lock = threading.Lock()
        self.begun = 0
        """Attempts so far."""
        self.errors: dict[tuple[str, int], BaseException | None] = {}
        """What handlers raised, by job and attempt; None where the test had planned it."""

    def fail(
        self, name: str, times: int | None, when: When, error: Exception | type[Exception]
    ) -> None:
        def happen(job: Job[Any]) -> None:
            self.errors[job.id, job.attempt] = None
            raise error() if isinstance(error, type) else error.with_traceback(None)

        self._plans[name].append(_Plan(times, when, happen))

    def kill(self, name: str, times: int | None, when: When) -> None:
        def happen(job: Job[Any]) -> None:
            self._kill(job.id)
            raise Killed(f"the worker of {job!r} was killed")

        self._plans[name].append(_Plan(times, when, happen))

    def _next(self, name: str) -> _Plan | None:
        with self._lock:
            plans = self._plans[name]
            if not plans:
                return None
            plan = plans[0]
            if plan.times is not None:
                plan.times -= 1
                if plan.times == 0:
                    plans.popleft()
            return plan

    # -- the registry of a worker ----------------------------------------------------------------

    def get(self, name: str) -> Known | None:
        known = super().get(name)
        if known is None or known.handler is None:
            return known
        staged = copy.copy(known)
        staged.isolation = "none"
        staged.handler = self._staged(known, known.handler)
        return staged

    @property
    def isolated(self) -> bool:
        return False

    def _staged(self, known: Known, handler: Callable[[Job[Any]], Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        async def run(job: Job[Any]) -> Any:
            attempt = self._begin(job)
            try:
                attempt.happens("before")
                result = await handler(job)
                attempt.happens("after")
            except Killed:
                return Snooze(0)  # Nobody hears it.
            except Exception as error:
                self.errors.setdefault((job.id, job.attempt), error)
                raise
            return result

        @functools.wraps(handler)
        def run_in_thread(job: Job[Any]) -> Any:
            attempt = self._begin(job)
            try:
                attempt.happens("before")
                result = handler(job)
                attempt.happens("after")
            except Killed:
                return Snooze(0)
            except Exception as error:
                self.errors.setdefault((job.id, job.attempt), error)
                raise
            return result

        return run if known.handler_is_async else run_in_thread

    def _begin(self, job: Job[Any]) -> _Attempt:
        self.begun += 1
        return _Attempt(job, self._next(job.type))


class _Attempt:
    """One run of a handler, and what was planned for it."""

    def __init__(self, job: Job[Any], plan: _Plan | None) -> None:
        self._job = job
        self._plan = plan

    def happens(self, when: When) -> None:
        if self._plan is not None and self._plan.when == when:
            self._plan.happen(self._job)
