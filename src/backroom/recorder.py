"""From outcomes to the storage, in batches; and progress, now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Sequence
from typing import Any, Final

from backroom.errors import level_of
from backroom.handle import Job
from backroom.ports import JobStorage, Report
from backroom.transition import Claim, Transition

__all__ = ["Recorder"]

log = logging.getLogger("backroom")

REPORT_EVERY: Final = 0.25
"""Seconds between two reports of progress."""
MAX_PAUSE: Final = 2.0
MOST_UNRECORDED: Final = 10_000
"""Outcomes in memory beyond which no job is started."""


class Recorder:
    """Writes what became of claims. All that ends in one turn of the loop is one batch; the
    storage joins batches in its group commit. A batch that the storage could not take is
    written again until it could, or until the worker says that its lease is gone: outcomes
    are fenced, so writing one twice changes nothing."""

    def __init__(
        self,
        storage: JobStorage,
        *,
        worker: Callable[[], int],
        leased: Callable[[], bool],
        flushed: Callable[[], None],
        recorded: Callable[[Sequence[tuple[Claim, Transition]]], None],
    ) -> None:
        """`flushed` is called when a batch is on its way, and when there is room for outcomes
        again; `recorded` with the outcomes that stand."""
        self._storage = storage
        self._worker = worker
        self._leased = leased
        self._flushed = flushed
        self._recorded = recorded
        self._loop = asyncio.get_running_loop()
        self._batch: list[tuple[Claim, Transition]] = []
        self._writing: set[asyncio.Task[None]] = set()
        self._sent: list[list[tuple[Claim, Transition]]] = []
        """Batches on their way."""
        self._unrecorded = 0
        """Outcomes that are not written yet."""
        self._dirty: set[Job[Any]] = set()
        self._reporting: asyncio.TimerHandle | None = None
        self.counted: Container[str] = ()
        """Queues that operators have limited. What they hold is counted there, also of jobs that
        were made and claimed without it: with their outcomes room becomes free."""
        self.lost = 0
        """Outcomes that were refused, because the lease had gone to another."""

    def record(self, claim: Claim, transition: Transition) -> None:
        """Takes an outcome."""
        if self.counted and claim.queue in self.counted:
            transition.tied = True
        if not self._batch:
            self._loop.call_soon(self._flush)
        self._batch.append((claim, transition))
        self._unrecorded += 1

    def written(self, claim: Claim, transition: Transition) -> None:
        """Takes an outcome that the storage has already."""
        self._recorded([(claim, transition)])
        self._flushed()

    @property
    def full(self) -> bool:
        """Whether the storage is so far behind that no job should start."""
        return self._unrecorded >= MOST_UNRECORDED

    def claims(self) -> list[Claim]:
        """Those whose outcome is not written yet."""
        return [claim for batch in (*self._sent, self._batch) for claim, _ in batch]

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            self._sent.append(batch)
            task = self._loop.create_task(self._write(batch))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
            self._flushed()

    async def _write(self, batch: list[tuple[Claim, Transition]]) -> None:
        transitions = [transition for _, transition in batch]
        pause = 0.05
        stands: list[bool]
        while True:
            try:
                stands = await self._storage.finish(self._worker(), transitions)
                break
            except Exception as error:
                if not self._leased():
                    log.error(
                        "%d outcomes were not recorded, the lease is gone: %r", len(batch), error
                    )
                    stands = [False] * len(batch)
                    break
                log.log(
                    level_of(error, logging.WARNING),
                    "%d outcomes wait, in %.2f s again: %r", len(batch), pause, error,
                )  # fmt: skip
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE)
        was_full = self.full
        self._sent = [sent for sent in self._sent if sent is not batch]
        self._unrecorded -= len(batch)
        if was_full and not self.full:
            self._flushed()
        if not all(stands):
            batch = [
                one for one, stood in zip(batch, stands, strict=True) if self._stood(one, stood)
            ]
        self._recorded(batch)

    def _stood(self, outcome: tuple[Claim, Transition], stood: bool) -> bool:
        if not stood:
            self.lost += 1
            claim, _ = outcome
            log.warning(
                "the outcome of %s %s was not kept: its lease had ended and the job belongs to"
                " another worker, or it cannot be written", claim.type, claim.id,
            )  # fmt: skip
        return stood

    # -- progress --------------------------------------------------------------------------------

    def changed(self, job: Job[Any]) -> None:
        """A job has progress or log lines. Callable from any thread."""
        if not self._dirty:
            self._dirty.add(job)
            try:
                self._loop.call_soon_threadsafe(self._report_soon)
            except RuntimeError:  # An abandoned thread outlived its worker's loop.
                return
        else:
            self._dirty.add(job)

    def _report_soon(self) -> None:
        if self._reporting is None:
            self._reporting = self._loop.call_later(REPORT_EVERY, self._report)

    def _report(self) -> None:
        self._reporting = None
        dirty, self._dirty = self._dirty, set()
        reports = [report for job in dirty if (report := job.report()) is not None]
        if reports:
            task = self._loop.create_task(self._send(reports))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _send(self, reports: list[Report]) -> None:
        try:
            await self._storage.report(self._worker(), reports)
        except Exception as error:
            level = level_of(error, logging.WARNING)
            log.log(level, "progress of %d jobs was not kept: %r", len(reports), error)

    async def stop(self, within: float) -> None:
        """Writes everything taken so far, if the storage lets it `within` so many seconds.
        Safe to call twice."""
        self._flush()
        until = self._loop.time() + within
        while self._writing and (left := until - self._loop.time()) > 0:
            await asyncio.wait(self._writing, timeout=left)
        if self._writing:
            log.error(
                "%d outcomes could not be written before this worker left; their jobs run again",
                self._unrecorded,
            )
            for task in self._writing:
                task.cancel()
            await asyncio.wait(self._writing)
        if self._reporting is not None:
            self._reporting.cancel()
            self._reporting = None
