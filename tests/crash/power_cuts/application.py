"""An application that uses a store, and notes what it asks and what it is promised."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterator
from typing import Any, Final

import msgspec

from backroom import FailJob, Job, JobInfo, JobNotFoundError, JobRequest, JobService, Snooze
from backroom.job import JobStatus
from tests.crash.power_cuts.notes import (
    Answered,
    Asked,
    Deleted,
    Deleting,
    Kept,
    Paused,
    Pausing,
    Retried,
    Retrying,
    Seen,
    Step,
    Stepped,
    Stopped,
    Stopping,
)
from tests.crash.power_cuts.recording import Recording
from tests.crash.power_cuts.reopening import numbered
from tests.crash.power_cuts.watched import WatchedStorage

__all__ = ["Application"]

PATIENCE: Final = 60.0
"""Seconds for a job to end."""
ENDS: Final = {JobStatus.COMPLETED: 2, JobStatus.FAILED: 3, JobStatus.CANCELLED: 4}


class Application:
    """Uses a store, and notes what it asks and what it is promised."""

    def __init__(
        self, recording: Recording, store: str, numbers: Iterator[int], rng: random.Random,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.rng = rng
        self.note = recording.note
        self.numbers = numbers
        self.ids: dict[int, str] = {}
        self.storage = WatchedStorage(recording, store, **settings)
        self.service = JobService(self.storage, concurrency=4, poll_interval=0.05)
        self.held = asyncio.Event()
        """A job of the type HOLD has begun."""
        for handler in (self._good, self._flaky, self._bad, self._talk, self._later, self._hold):
            self.service.register_handler(
                handler.__name__[1:].upper(), handler, retries=2, retry_delay=0
            )

    # -- handlers --------------------------------------------------------------------------------

    async def _good(self, job: Job[Any]) -> dict[str, int]:
        return {"done": job.data["n"]}

    async def _flaky(self, job: Job[Any]) -> dict[str, int]:
        if job.attempt == 1:
            raise RuntimeError("not at once")
        return {"done": job.data["n"]}

    async def _bad(self, job: Job[Any]) -> None:
        raise FailJob("never")

    async def _talk(self, job: Job[Any]) -> None:
        for part in range(3):
            job.progress(part / 3, f"part {part}")
            job.log.info("part %d", part)
            await asyncio.sleep(0)

    async def _later(self, job: Job[Any]) -> Snooze | None:
        return Snooze(0) if self.rng.random() < 0.5 else None

    async def _hold(self, job: Job[Any]) -> None:
        self.held.set()
        await asyncio.Event().wait()

    # -- what people and programs ask --------------------------------------------------------------

    async def schedule(self, type_: str, number: int | None = None, **options: Any) -> int:
        """Schedules one job; its number, or that of the one that has its unique key."""
        number = asked = next(self.numbers) if number is None else number
        self.note(Asked((asked,)))
        id_ = await self.service.schedule(type_, numbered(number), **options)
        if "unique_key" in options:
            number = (await self.service.get_job(id_)).data["n"]
        self.ids[number] = id_
        self.note(Kept(number, id_))
        self.note(Answered((asked,)))
        return number

    async def schedule_many(self, type_: str, count: int) -> list[int]:
        numbers = [next(self.numbers) for _ in range(count)]
        self.note(Asked(tuple(numbers)))
        ids = await self.service.schedule_many(
            [JobRequest(type_, numbered(number)) for number in numbers]
        )
        for number, id_ in zip(numbers, ids, strict=True):
            self.ids[number] = id_
            self.note(Kept(number, id_))
        self.note(Answered(tuple(numbers)))
        return numbers

    async def end(self, number: int) -> None:
        """Waits until a job has ended, and looks how."""
        try:
            await self._ended(number)
            self._saw(await self.service.get_job(self.ids[number]))
        except JobNotFoundError:
            if self.storage.retention is None:
                raise
            # It had ended, and the worker's upkeep removed it before we looked.

    async def _ended(self, number: int) -> None:
        try:
            await self.service.result(self.ids[number], timeout=PATIENCE)  # type: ignore[arg-type]
        except (TimeoutError, LookupError):
            raise
        except Exception:  # It failed or was cancelled.
            pass

    async def cancel(self, number: int) -> None:
        self.note(Stopping(number))
        await self.service.cancel_job(self.ids[number])
        self.note(Stopped(number))

    async def delete(self, number: int) -> None:
        self.note(Deleting((number,)))
        await self.service.delete_job(self.ids[number])
        self.note(Deleted((number,)))

    async def prune(self) -> None:
        """What has ended is removed; whoever has looked then, counts on that."""
        before = await self.look()
        await self.storage.prune(self.storage.clock.now(), 1000)
        there = await self.look()
        self.note(Deleted(tuple(number for number in before if number not in there)))

    async def retry(self, number: int) -> None:
        self.note(Retrying(number))
        await self.service.retry_job(self.ids[number])
        self.note(Retried(number))

    async def pause(self, queue: str, paused: bool) -> None:
        self.note(Pausing(queue, paused))
        await (self.service.pause_queue if paused else self.service.resume_queue)(queue)
        self.note(Paused(queue, paused))

    async def look(self) -> list[int]:
        """What is there; whoever saw a job, or its end, may count on it."""
        jobs = await self.service.get_jobs(limit=1000)
        for info in jobs:
            self._saw(info)
        return [info.data["n"] for info in jobs]

    def _saw(self, info: JobInfo) -> None:
        number = info.data["n"]
        self.ids[number] = info.id
        self.note(Kept(number, info.id))
        if info.status in ENDS:
            completed = info.status is JobStatus.COMPLETED
            result = msgspec.json.encode(info.result).decode() if completed else None
            self.note(Seen(number, ENDS[info.status], result))

    async def step(self, change: Awaitable[Any], after: dict[int, int]) -> None:
        """A change that comes alone, and how the store stands after it."""
        self.note(Step(tuple(after.items())))
        await change
        self.note(Stepped())
