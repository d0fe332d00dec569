"""The part of a service that tells what happened over time, and of its workers; and drains one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from backroom.crew import WorkerInfo
from backroom.errors import ConfigurationError, OptionError, WorkerNotFoundError
from backroom.history import (
    COARSE,
    FINE,
    LONGEST,
    SHORTEST,
    History,
    Totals,
    begin_of,
    history_of,
    step_of,
    totals_of,
)
from backroom.job import SECOND, duration
from backroom.options import check_name, check_queue
from backroom.ports import Clock, Store
from backroom.registry import JobType

__all__ = ["Observing"]


class Observing:
    """Looks over a storage that `_ready` opens."""

    storage: Store
    _clock: Clock

    async def _ready(self) -> None:
        raise NotImplementedError

    async def get_history(
        self,
        last: float | timedelta = 3600,
        *,
        queue: str | None = None,
        type: str | JobType[Any, Any] | None = None,
    ) -> History:
        """What became of jobs in the `last` seconds, 60 to 691,200 (eight days), step by step, as
        workers have told it; of one queue or job type, or of all. Depths are those of queues,
        whatever the type.

        A step has 10 s up to an hour, then 30 s up to two, 10 min up to two days, and an hour. What
        a worker counted in its last five seconds is missing where it was killed.

        Raises:
            OptionError: a time out of that range, or a queue or type that no job can have.
        """
        seconds = duration("last", last)
        if not SHORTEST <= seconds <= LONGEST:
            raise OptionError(
                f"last must be {SHORTEST} to {LONGEST} seconds (eight days), got {last!r}", "last"
            )
        name = None if queue is None else check_queue(queue)
        kind = None if type is None else _type(type)
        await self._ready()
        now = self._clock.now()
        step = step_of(seconds)
        since = begin_of(now - round(seconds * SECOND), step) + step * SECOND
        kept = FINE if step < COARSE else COARSE
        past = await self.storage.past(kept, since, now + 1, name, kind)
        return history_of(step, since, now, past.figures, past.errors, past.samples, name)

    async def get_totals(self) -> list[Totals]:
        """What has become of jobs since the store was made, by queue and job type, as workers have
        told it: numbers that only grow."""
        await self._ready()
        return [totals_of(one) for one in await self.storage.totals()]

    async def get_workers(self) -> list[WorkerInfo]:
        """Every worker that has not ended, and what it last told of itself."""
        await self._ready()
        return await self.storage.crew()

    async def drain_worker(self, worker: int, on: bool = True) -> None:
        """A worker claims nothing any more: what it runs goes on to its end, what has not begun
        goes back untouched, and it stays until somebody stops it. With `on=False` it claims again.

        It is told at once where the storage can wake it, else with its next heartbeat. All
        else that workers do goes on, such as the ticks of schedules.

        Raises:
            WorkerNotFoundError: no such worker lives. OptionError: that is no id of one.
        """
        number = _number(worker)
        await self._ready()
        if not await self.storage.drain(number, on):
            raise WorkerNotFoundError(f"no worker with the id {worker} lives")


def _number(worker: object) -> int:
    """Of a worker."""
    if isinstance(worker, bool) or not isinstance(worker, int) or not 0 < worker < 2**63:
        raise OptionError(
            f"worker must be the id of a worker, a whole number from 1 on, got {worker!r}", "worker"
        )
    return worker


def _type(type_: object) -> str:
    if isinstance(type_, JobType):
        return type_.name
    try:
        return check_name("job type", type_)
    except ConfigurationError as error:
        raise OptionError(str(error), "type") from None
