"""The handlers of a service as a test wants them: each may fail, or lose its worker, on order."""

from __future__ import annotations

import copy
import functools
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from backroom.bulk import BulkJob
from backroom.errors import OptionError
from backroom.handle import Job
from backroom.job import Snooze
from backroom.registry import Known, Registry

__all__ = ["InjectedError", "Killed", "Stage", "When"]

When = Literal["before", "after"]
"""The handler's first line, or its last."""

Jobs: TypeAlias = Sequence[Job[Any]]
"""Of one call of a handler: of a bulk handler many."""


class InjectedError(Exception):
    """What a handler fails with where a test names no other error."""


class Killed(BaseException):
    """Ends the code of an attempt whose worker is dead."""


class _Plan:
    """What happens to the next `times` calls of a type's handler; None: to all that come."""

    def __init__(self, times: int | None, when: When, happen: Callable[[Jobs], None]) -> None:
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
        self.bulk = registry.bulk
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
        def happen(jobs: Jobs) -> None:
            for job in jobs:
                self.errors[job.id, job.attempt] = None
            raise error() if isinstance(error, type) else error.with_traceback(None)

        self._plans[name].append(_Plan(times, when, happen))

    def kill(self, name: str, times: int | None, when: When) -> None:
        def happen(jobs: Jobs) -> None:
            for job in jobs:
                if not (isinstance(job, BulkJob) and job.said):
                    self._kill(job.id)
            raise Killed(f"the worker of {jobs[0]!r} was killed")

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

    def _staged(self, known: Known, handler: Callable[[Any], Any]) -> Callable[..., Any]:
        many = known.bulk is not None

        @functools.wraps(handler)
        async def run(given: Any) -> Any:
            call = self._begin(given if many else [given])
            try:
                call.happens("before")
                result = await handler(given)
                call.happens("after")
            except Killed:
                return Snooze(0)  # Nobody hears it.
            except Exception as error:
                call.raised(error)
                raise
            return result

        @functools.wraps(handler)
        def run_in_thread(given: Any) -> Any:
            call = self._begin(given if many else [given])
            try:
                call.happens("before")
                result = handler(given)
                call.happens("after")
            except Killed:
                return Snooze(0)
            except Exception as error:
                call.raised(error)
                raise
            return result

        return run if known.handler_is_async else run_in_thread

    def _begin(self, jobs: Jobs) -> _Call:
        self.begun += len(jobs)
        return _Call(jobs, self._next(jobs[0].type), self.errors)


class _Call:
    """One run of a handler, and what was planned for it."""

    def __init__(
        self,
        jobs: Jobs,
        plan: _Plan | None,
        errors: dict[tuple[str, int], BaseException | None],
    ) -> None:
        self._jobs = jobs
        self._plan = plan
        self._errors = errors

    def happens(self, when: When) -> None:
        if self._plan is not None and self._plan.when == when:
            self._plan.happen(self._jobs)

    def raised(self, error: Exception) -> None:
        for job in self._jobs:
            self._errors.setdefault((job.id, job.attempt), error)
