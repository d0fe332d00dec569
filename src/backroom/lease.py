"""The worker's lease: extended from a thread of its own, so that a busy loop is never robbed."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from backroom.errors import BackroomError, LeaseLostError, level_of
from backroom.ports import Clock, Heartbeat, JobStorage, WorkerSpec

__all__ = ["Lease"]

log = logging.getLogger("backroom")

MARGIN: Final = 0.1
"""The part of a lease before its end at which the worker stops by itself."""
BEATS: Final = 4
"""Heartbeats a lease."""
SOONEST: Final = 0.01
"""The part of a lease after which it is extended at the soonest."""


class Lease:
    """Enlists a worker and keeps its lease.

    `stands` is false from a margin before the lease ends, by the storage's own clock: the
    worker starts nothing then, and stops what runs. `threaded` false keeps the lease on the
    worker's own loop, for tests with a virtual clock.
    """

    def __init__(
        self,
        storage: JobStorage,
        clock: Clock,
        spec: WorkerSpec,
        *,
        cancelled: Callable[[Sequence[int]], None],
        lost: Callable[[int], None],
        stands_again: Callable[[], None],
        drained: Callable[[bool], None] = lambda _: None,
        threaded: bool = True,
    ) -> None:
        """All are called on the loop that calls `start`: `cancelled` with every answer of the
        storage that names claims to cancel; `lost` with the number it was enlisted under, once;
        `stands_again` when the lease was extended after it had not stood for a while; `drained`
        when people asked the worker to claim nothing any more, or to claim again."""
        self._storage = storage
        self._clock = clock
        self._spec = spec
        self._cancelled = cancelled
        self._lost = lost
        self._stands_again = stands_again
        self._drained = drained
        self._draining = False
        self._threaded = threaded
        self._margin = spec.lease * MARGIN
        self._stand_until = 0.0
        self._told = False
        self._stopped = False
        self._stop: Callable[[], None] = lambda: None
        self._ended: asyncio.Future[None] | None = None
        """Of the thread."""
        self._task: asyncio.Task[None] | None = None
        self.worker = 0

    def stands(self) -> bool:
        """Whether this worker may start and end jobs now."""
        return self._clock.uptime() < self._stand_until

    def stands_for(self, worker: int) -> bool:
        """Whether what was claimed under this number may still be run: while a call was on its
        way, the lease may have been lost, and another one begun."""
        return worker == self.worker and self.stands()

    async def start(self) -> None:
        """Enlists, and keeps the lease from then on."""
        self._loop = asyncio.get_running_loop()
        while (beat := await self._enlist()).deadline - self._margin <= self._clock.uptime():
            log.warning(
                "enlisting took as long as the lease lasts, %g s: once more", self._spec.lease
            )
            await self._storage.retire(beat.worker)  # Else it counts as alive, and never was.
        self._told = self._stopped = False
        self._took(beat)
        if self._threaded:
            # Not by an executor of the loop: an application may have filled it.
            ready: asyncio.Future[None] = self._loop.create_future()
            self._ended = self._loop.create_future()
            threading.Thread(
                target=self._keep_in_thread, args=(ready, self._ended), name="backroom-lease",
                daemon=True,
            ).start()  # fmt: skip
            await asyncio.shield(ready)  # Until then `stop` would not reach it.
        else:
            self._task = asyncio.create_task(self._keep(lambda: None))

    async def _enlist(self) -> Heartbeat:
        spec = msgspec.structs.replace(self._spec, draining=self._draining)
        enlisting = asyncio.ensure_future(self._storage.enlist(spec))
        try:
            return await asyncio.shield(enlisting)
        except asyncio.CancelledError:
            enlisting.add_done_callback(self._retire_unborn)
            raise

    def _retire_unborn(self, enlisting: asyncio.Future[Heartbeat]) -> None:
        """Who called `start` did not wait for the answer."""
        if not enlisting.cancelled() and enlisting.exception() is None:
            worker = enlisting.result().worker
            self._task = self._loop.create_task(self._storage.retire(worker))

    def _keep_in_thread(self, ready: asyncio.Future[None], ended: asyncio.Future[None]) -> None:
        try:
            asyncio.run(self._keep(lambda: self._call(_settle, ready)))
        finally:
            self._call(_settle, ended)

    async def stop(self) -> None:
        """Keeps it no longer; the lease itself is ended by `storage.retire`. Safe to call twice."""
        self._stopped = True
        self._stop()
        if self._ended is not None:
            await asyncio.shield(self._ended)
            self._ended = None
        task, self._task = self._task, None
        if task is not None:
            await task

    async def check(self) -> None:
        """Extends now: people changed something that a heartbeat tells."""
        worker = self.worker
        try:
            beat = await self._storage.extend(worker)
            if worker == self.worker:  # Else another lease has begun meanwhile.
                self._took(beat)
        except LeaseLostError:
            if worker == self.worker:
                self._tell()
        except Exception as error:
            level = level_of(error, logging.WARNING)
            log.log(level, "the lease could not be extended: %r", error)

    def forfeit(self) -> None:
        """It is gone, whoever was told so: until `start`, nothing begins under it."""
        self._told = True
        self._stand_until = 0.0

    def _took(self, beat: Heartbeat) -> None:
        if self._told:
            return
        again = not self.stands()
        until = beat.deadline - self._margin
        latest = beat.worker != self.worker or until >= self._stand_until
        if not latest:  # An answer may come after that to a later call.
            until = max(until, self._stand_until)
        self.worker, self._stand_until = beat.worker, until
        if latest and beat.draining != self._draining:
            self._draining = beat.draining
            self._call(self._drained, beat.draining)
        if again:
            self._call(self._stands_again)
        if beat.cancelled:
            self._call(self._cancelled, beat.cancelled)

    def _tell(self) -> None:
        told = self._told
        self.forfeit()
        if not told:
            self._call(self._lost, self.worker)

    def _call(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            log.debug("the worker's loop has ended")

    async def _keep(self, ready: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()

        def stop() -> None:
            with suppress(RuntimeError):  # It has ended by itself.
                loop.call_soon_threadsafe(stopped.set)

        self._stop = stop
        if self._stopped:  # While this thread began.
            stopped.set()
        ready()
        lease, well = self._spec.lease, True
        every = lease / BEATS
        while True:
            # Sooner where the last answer was so late that little of the lease is left.
            left = self._stand_until - self._clock.uptime()
            wait = max(lease * SOONEST, min(every if well else every / 4, left / 2))
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), wait)
                return
            try:
                left = max(0.01, self._stand_until - self._clock.uptime())
                self._took(await asyncio.wait_for(self._storage.extend(self.worker), left))
                well = True
            except (LeaseLostError, TimeoutError) as error:
                late = "the storage did not answer in time"
                log.error("the lease is lost: %s", str(error) or late)
                self._tell()
                return
            except Exception as error:  # Also a bug of the storage's: this loop must not end.
                well = False
                log.log(
                    level_of(error, logging.WARNING),
                    "the lease could not be extended, soon again: %s", error,
                    exc_info=not isinstance(error, BackroomError),
                )  # fmt: skip
                if not self.stands():
                    self._tell()
                    return


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
