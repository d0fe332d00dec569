"""Waiting for the end of jobs, wherever they run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from backroom.errors import JobNotFoundError, ServiceStoppedError, level_of
from backroom.inspecting import Inspection, Outlook
from backroom.job import State, status_of
from backroom.ports import Clock, JobStorage, Wake
from backroom.transition import Claim, Transition

__all__ = ["Results"]

log = logging.getLogger("backroom")

LOOK: Final = 1.0
"""Seconds that the first look has, however short the timeout: `timeout=0` asks how it stands."""


class Results:
    """Tells callers when their job has ended: at once where it ends in this process, on the
    storage's wake-up elsewhere, and by a look every `poll_interval` where a wake-up is lost."""

    def __init__(
        self, storage: JobStorage, inspection: Inspection, clock: Clock, poll_interval: float
    ) -> None:
        self._storage = storage
        self._inspection = inspection
        self._clock = clock
        self._poll = poll_interval
        self._waiting: dict[str, set[asyncio.Future[Outlook]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that all of what follows belongs to."""
        self._unsubscribe: Callable[[], None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

    async def wait(self, job_id: str, timeout: float | None) -> Outlook:
        """The outlook of a job that has ended.

        Raises:
            JobNotFoundError: no such job, or it was deleted meanwhile.
            TimeoutError: it did not end in time, or the storage did not answer in time; the job
                goes on.
            ServiceStoppedError: this service was stopped meanwhile; the job goes on.
        """
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        self._begin(loop)
        future: asyncio.Future[Outlook] = loop.create_future()
        self._waiting.setdefault(job_id, set()).add(future)
        limit = asyncio.timeout(None if timeout is None else max(timeout, LOOK))
        try:
            async with limit:
                self._look_on()
                found = await self._inspection.outlook([job_id], self._clock.now())
                if job_id not in found:
                    raise JobNotFoundError(f"no job has the id {job_id!r}")
                if found[job_id].status.terminal:
                    return found[job_id]
                limit.reschedule(until)
                return await future
        except TimeoutError:
            if timeout is None or not limit.expired():
                raise  # The storage's own.
            raise TimeoutError(f"job {job_id} had not ended after {timeout:g} s") from None
        finally:
            if future.done() and not future.cancelled():
                future.exception()  # Where the first look failed, nobody has asked for it.
            waiting = self._waiting.get(job_id)
            if waiting is not None:
                waiting.discard(future)
                if not waiting:
                    del self._waiting[job_id]

    def recorded(self, outcomes: Sequence[tuple[Claim, Transition]]) -> None:
        """What became of jobs in this process."""
        if not self._waiting:
            return
        for claim, transition in outcomes:
            waiting = self._waiting.get(claim.id)
            if waiting and transition.state in (State.COMPLETED, State.FAILED, State.CANCELLED):
                status = status_of(transition.state, 0, 0)
                _answer(waiting, Outlook(claim.type, status, transition.result, transition.reason))

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing of an event loop that has gone is used on the next one."""
        if self._loop is not loop:
            self._loop = loop
            self._let_go()
            self._waiting.clear()
            self._looking = None
            self._woken = asyncio.Event()

    def _look_on(self) -> None:
        if self._unsubscribe is None:
            self._unsubscribe = self._storage.subscribe(self._wake)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="backroom-results")

    def _wake(self, wake: Wake) -> None:
        if wake is Wake.FINISHED and self._waiting:
            self._woken.set()

    async def _look(self) -> None:
        """Until nobody waits: asks how all awaited jobs stand, when something ended."""
        while self._waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._woken.wait()
            # Before the look: what ends during it is looked at once more.
            self._woken.clear()
            ids = list(self._waiting)
            try:
                self._tell(ids, await self._inspection.outlook(ids, self._clock.now()))
            except Exception as error:
                log.log(
                    level_of(error, logging.WARNING),
                    "how %d awaited jobs stand is not known yet: %r", len(ids), error,
                )  # fmt: skip

    def _tell(self, ids: Sequence[str], found: Mapping[str, Outlook]) -> None:
        for id_ in ids:
            outlook = found.get(id_)
            waiting = self._waiting.get(id_, set())
            if outlook is None:
                for future in waiting:
                    if not future.done():
                        future.set_exception(JobNotFoundError(f"job {id_} was deleted"))
            elif outlook.status.terminal:
                _answer(waiting, outlook)

    def _let_go(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def close(self) -> None:
        """Lets the storage go; who still waits is told so. Safe to call twice."""
        self._let_go()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        for job_id, waiting in self._waiting.items():
            for future in waiting:
                if not future.done():
                    future.set_exception(
                        ServiceStoppedError(f"the service was stopped before job {job_id} ended")
                    )


def _answer(waiting: set[asyncio.Future[Outlook]], outlook: Outlook) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(outlook)
