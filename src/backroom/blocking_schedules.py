"""The verbs of schedules for code without asyncio: a part of `backroom.blocking`."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar, Unpack, overload

from backroom.cron import Cron
from backroom.job import JobId
from backroom.registry import JobType
from backroom.schedule import Missed, Overlap, ScheduleInfo, TickPage
from backroom.service import JobService
from backroom.timetable import TickOptions

__all__ = ["BlockingSchedules"]

T = TypeVar("T")


class BlockingSchedules:
    """Each verb is handed to the service, and waited for."""

    _service: JobService

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError

    @overload
    def cron(
        self, expression: str | Cron, type: JobType[T, Any], data: T, /, *,
        name: str | None = None, tz: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    @overload
    def cron(
        self, expression: str | Cron, type: str, data: Mapping[str, Any] | None = None, /, *,
        name: str | None = None, tz: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    def cron(
        self, expression: Any, type: Any, data: Any = None, /, *, tz: Any = None, **said: Any
    ) -> ScheduleInfo:
        """Keeps a schedule by a cron expression, under its name."""
        return self._call(self._service.cron(expression, type, data, tz=tz, **said))

    @overload
    def every(
        self, interval: float | timedelta, type: JobType[T, Any], data: T, /, *,
        name: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    @overload
    def every(
        self, interval: float | timedelta, type: str, data: Mapping[str, Any] | None = None, /, *,
        name: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    def every(self, interval: Any, type: Any, data: Any = None, /, **said: Any) -> ScheduleInfo:
        """Keeps a schedule with ticks at fixed distances."""
        return self._call(self._service.every(interval, type, data, **said))

    def get_schedules(self) -> list[ScheduleInfo]:
        """All schedules, by name."""
        return self._call(self._service.get_schedules())

    def get_schedule(self, name: str) -> ScheduleInfo:
        """The schedule of this name."""
        return self._call(self._service.get_schedule(name))

    def get_ticks(self, name: str, *, limit: int = 100, cursor: str | None = None) -> TickPage:
        """What became of its ticks, newest first; the page's `.cursor` asks for the next one."""
        return self._call(self._service.get_ticks(name, limit=limit, cursor=cursor))

    def change_schedule(
        self,
        name: str,
        *,
        cron: str | Cron | None = None,
        every: float | timedelta | None = None,
        tz: str | None = None,
        missed: Missed | None = None,
        overlap: Overlap | None = None,
        jitter: float | timedelta | None = None,
    ) -> ScheduleInfo:
        """Changes when a schedule ticks; what is not said stays as it is."""
        return self._call(
            self._service.change_schedule(
                name, cron=cron, every=every, tz=tz, missed=missed, overlap=overlap, jitter=jitter
            )
        )  # fmt: skip

    def pause_schedule(self, name: str) -> ScheduleInfo:
        """None of its ticks fires until it is resumed."""
        return self._call(self._service.pause_schedule(name))

    def resume_schedule(self, name: str) -> ScheduleInfo:
        """Ends a pause."""
        return self._call(self._service.resume_schedule(name))

    def delete_schedule(self, name: str) -> None:
        """Forgets a schedule and its ticks; its jobs stay."""
        self._call(self._service.delete_schedule(name))

    def run_schedule(self, name: str) -> JobId[Any]:
        """Makes a job of it now, beside its ticks; its id."""
        return self._call(self._service.run_schedule(name))
