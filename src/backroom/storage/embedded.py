"""The base of the embedded storages: every verb of both ports over a `Ledger`.

A storage says only how a change is carried out (`_write`), how a look is taken (`_read`), how
lease time is told and who is dead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from backroom.action import ActionInfo, ActionRecord, Outcome
from backroom.clock import SystemClock
from backroom.errors import BackroomError, ConfigurationError
from backroom.inspecting import Counted, Filter, Looked, Outlook, Progress, Stranded, Which
from backroom.job import SECOND, JobInfo, JobRecord, duration
from backroom.limit import LimitInfo, LimitRecord
from backroom.ports import (
    Capabilities,
    Claimed,
    Clock,
    Heartbeat,
    Inserted,
    Pruned,
    Reclaimed,
    Report,
    Wake,
    Want,
    WorkerSpec,
)
from backroom.sizes import Sizes
from backroom.stats import FailureGroup, JobStats
from backroom.step import SignalRecord, StepRecord
from backroom.stepping import lost
from backroom.storage.matching import Done, Tally, whole_page
from backroom.storage.sqlite import actions as kept_actions
from backroom.storage.sqlite import (
    claims,
    counts,
    inserts,
    limits,
    outcomes,
    rearranging,
    retention,
    steering,
    steps,
    stranded,
    workers,
)
from backroom.storage.sqlite.inspect import Inspector
from backroom.storage.sqlite.ledger import Ledger
from backroom.storage.sqlite.looking import Chosen
from backroom.transition import Claim, Transition

__all__ = ["DEFAULT_RETENTION", "EmbeddedStorage"]

log = logging.getLogger("backroom.storage")

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_RETENTION = timedelta(days=7)
BULK = 1000
"""How many jobs one transaction of a bulk change touches."""


class EmbeddedStorage:
    """All verbs, over `_write` and `_read`."""

    capabilities: Capabilities

    def __init__(self, retention: float | timedelta | None, clock: Clock | None) -> None:
        """`retention`: how long ended jobs are kept; seconds or a `timedelta`, None for ever."""
        self.clock: Clock = clock or SystemClock()
        self.commits = Sizes()
        try:
            self.retention = None if retention is None else duration("retention", retention)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._subscribers: dict[Callable[[Wake], None], asyncio.AbstractEventLoop] = {}

    # -- what a storage says -------------------------------------------------------------------

    async def _write(
        self, change: Callable[Concatenate[Ledger, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        raise NotImplementedError

    async def _read(
        self, look: Callable[Concatenate[Inspector, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        raise NotImplementedError

    def _boot(self) -> str:
        raise NotImplementedError

    def _dead(self, ledger: Ledger) -> dict[int, Collection[tuple[int, int]] | None]:
        """Who is dead, and what of theirs was noted as begun; see `workers.reclaim`."""
        raise NotImplementedError

    def _enlisted(self, ledger: Ledger, worker: int) -> None:
        """Called inside the transaction that enlists a worker."""

    def _extended(self, worker: int) -> None:
        """Called inside the transaction that extends a lease."""

    def _retired(self, worker: int) -> None:
        """Called once a worker's row is gone, still inside the turn that removed it."""

    def _wake(self, wakes: Collection[Wake]) -> None:
        """Tells this process's subscribers. Callable from any thread."""
        callbacks: dict[asyncio.AbstractEventLoop, list[Callable[[Wake], None]]] = {}
        for callback, loop in list(self._subscribers.items()):
            callbacks.setdefault(loop, []).append(callback)
        for loop, group in callbacks.items():
            # One call a loop: each has to wait for the interpreter lock.
            _call_on(loop, _call_all, group, tuple(wakes))

    # -- JobStorage ----------------------------------------------------------------------------

    def insert(
        self, jobs: Sequence[JobRecord], now: int, *, worker: int | None = None, start: bool = False
    ) -> Awaitable[list[Inserted]]:
        return self._insert(jobs, now, worker, start)

    async def _insert(
        self, jobs: Sequence[JobRecord], now: int, worker: int | None, start: bool
    ) -> list[Inserted]:
        group = inserts.OneGroup(jobs, now, worker, start)
        try:
            return await self._write(inserts.insert_one, group)
        except apsw.TooBigError:
            raise inserts.too_large() from None

    async def enlist(self, spec: WorkerSpec) -> Heartbeat:
        def enlist(ledger: Ledger) -> Heartbeat:
            until = self.clock.uptime() + spec.lease
            worker = workers.enlist(ledger, spec, self._boot(), until, self.clock.now())
            ledger.undo.append(partial(self._retired, worker))
            self._enlisted(ledger, worker)
            return Heartbeat(worker, until, draining=spec.draining)

        return await self._write(enlist)

    async def extend(self, worker: int) -> Heartbeat:
        def extend(ledger: Ledger) -> Heartbeat:
            beat = workers.extend(ledger, worker, lambda lease: self.clock.uptime() + lease)
            self._extended(worker)
            return beat

        return await self._write(extend)

    async def retire(self, worker: int) -> None:
        def retire(ledger: Ledger) -> None:
            workers.retire(ledger, worker, self.clock.now())
            ledger.done.append(partial(self._retired, worker))

        await self._write(retire)

    async def claim(self, worker: int, want: Want, now: int) -> Claimed:
        return await self._write(claims.claim, worker, want, now)

    async def start(self, worker: int, keys: Sequence[int]) -> None:
        await self._write(claims.start, worker, keys)

    def note_start(self, worker: int, claim: Claim) -> None:
        """Nothing to note it in."""

    async def finish(self, worker: int, transitions: Sequence[Transition]) -> list[bool]:
        now = self.clock.now()
        try:
            return await self._write(outcomes.finish, worker, transitions, now)
        except BackroomError:
            raise
        except Exception:
            stands: list[bool] = []
            for one in transitions:
                stood = await self._alone(outcomes.finish, worker, [one], now)
                if stood is None:  # Not left without an end: the job fails, and says why.
                    await self._alone(outcomes.finish, worker, [one.unkept(now)], now)
                stands += stood or [False]
            return stands

    async def give_back(self, worker: int, keep: Sequence[tuple[int, int]]) -> int:
        return await self._write(claims.give_back, worker, keep, self.clock.now())

    async def disown(self, worker: int, keys: Sequence[int]) -> None:
        await self._write(claims.disown, worker, keys, self.clock.now())

    async def report(self, worker: int, reports: Sequence[Report]) -> None:
        try:
            await self._write(outcomes.report, reports)
        except BackroomError:
            raise
        except Exception:
            for report in reports:
                await self._alone(outcomes.report, [report])

    async def _alone(
        self, change: Callable[Concatenate[Ledger, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        """A change for one item of a batch that could not be written; None if it was this one."""
        try:
            return await self._write(change, *args, **kwargs)
        except BackroomError:
            raise
        except Exception:
            log.exception("what was said of one job could not be kept")
            return None

    async def reclaim(self, now: int) -> Reclaimed:
        if not await self._write(self._dead):
            return Reclaimed()

        def reclaim(ledger: Ledger) -> Reclaimed:
            # Asked again inside this transaction: a worker may have extended its lease since.
            dead = self._dead(ledger)
            ledger.done += [partial(self._retired, worker) for worker in dead]
            return workers.reclaim(ledger, dead, now)

        return await self._write(reclaim)

    async def prune(self, now: int, limit: int) -> Pruned:
        keep = self.retention
        cutoff = -1 if keep is None else now - round(keep * SECOND)
        return await self._write(retention.prune, cutoff, now, limit)

    def subscribe(self, callback: Callable[[Wake], None]) -> Callable[[], None]:
        self._subscribers[callback] = asyncio.get_running_loop()

        def unsubscribe() -> None:
            self._subscribers.pop(callback, None)

        return unsubscribe

    # -- Stepping ------------------------------------------------------------------------------

    async def steps_of(self, key: int) -> list[StepRecord]:
        return await self._read(lambda jobs: steps.steps_of(jobs.connection.execute, key))

    async def keep_step(self, key: int, token: int, step: StepRecord) -> None:
        [stands] = await self._write(steps.keep, [(key, token, step)])
        if not stands:
            raise lost()

    async def take_signal(
        self, key: int, token: int, step: StepRecord, now: int
    ) -> StepRecord | None:
        return await self._write(steps.take, key, token, step, now)

    async def send_signal(self, job_id: str, signal: SignalRecord, now: int) -> None:
        await self._write(steps.send, job_id, signal, now)

    # -- Limiting ------------------------------------------------------------------------------

    async def put_limits(self, records: Sequence[LimitRecord]) -> None:
        await self._write(limits.put, records, self.clock.now())

    async def limits(self) -> list[LimitInfo]:
        return await self._read(lambda jobs: limits.every(jobs.connection.execute))

    async def limit_queue(self, queue: str, most: int | None) -> None:
        await self._write(limits.limit_queue, queue, most, self.clock.now())

    async def operated(self) -> dict[str, int]:
        return await self._read(lambda jobs: limits.operated(jobs.connection.execute))

    async def free_up(self, now: int) -> int:
        if not await self._read(lambda jobs: limits.limited(jobs.connection.execute)):
            return 0
        return await self._write(limits.free_up, now)

    # -- Auditing ------------------------------------------------------------------------------

    async def begin_action(self, action: ActionRecord) -> int:
        return await self._write(kept_actions.begin, action)

    async def end_action(
        self, number: int, at: int, outcome: Outcome, changed: int | None, reason: str | None
    ) -> None:
        await self._write(kept_actions.end, number, at, outcome, changed, reason)

    async def actions(
        self, limit: int, before: int | None, actor: str | None, verb: str | None
    ) -> list[ActionInfo]:
        return await self._read(
            lambda jobs: kept_actions.actions(jobs.connection.execute, limit, before, actor, verb)
        )

    # -- Inspection ----------------------------------------------------------------------------

    async def find(self, job_id: str, now: int) -> JobInfo | None:
        return await self._read(Inspector.find, job_id, now)

    async def outlook(self, ids: Sequence[str], now: int) -> dict[str, Outlook]:
        return await self._read(Inspector.outlook, ids, now)

    async def page(
        self, which: Filter, now: int, limit: int, cursor: str | None
    ) -> tuple[list[JobInfo], str | None]:
        return await whole_page(partial(self.look, which, now), limit, cursor)

    async def look(
        self, which: Filter, now: int, limit: int, cursor: str | None, most: int
    ) -> Looked:
        return await self._read(Inspector.look, which, now, limit, cursor, most)

    async def count(self, which: Filter, now: int, cursor: str | None, most: int) -> Counted:
        return await self._read(Inspector.count, which, now, cursor, most)

    async def stats(self, now: int) -> JobStats:
        return await self._read(Inspector.stats, now)

    async def failures(self, limit: int) -> list[FailureGroup]:
        return await self._read(Inspector.failures, limit)

    async def miscounted(self) -> list[str]:
        return await self._read(Inspector.miscounted)

    async def fold(self, now: int) -> None:
        """They are few: `prune` does it."""

    async def recount(self) -> None:
        await self._write(counts.recount)

    async def stranded(self, after: str | None, most: int) -> Stranded:
        return await self._read(lambda jobs: stranded.look(jobs.connection.execute, after, most))

    async def requeue(self, ids: Sequence[str], now: int) -> int:
        return await self._write(stranded.requeue, ids, now)

    async def queues(self) -> dict[str, bool]:
        return await self._read(Inspector.queues)

    async def retry(
        self,
        which: Which,
        now: int,
        from_step: int | None = None,
        progress: Progress | None = None,
    ) -> int:
        if isinstance(which, str):
            return await self._write(steering.retry, which, now, from_step)
        return await self._bulk(Inspector.ended, steering.retry_some, which, now, progress)

    async def cancel(self, which: Which, now: int, progress: Progress | None = None) -> int:
        if isinstance(which, str):
            return await self._write(steering.cancel, which, now)
        return await self._bulk(Inspector.live, steering.cancel_some, which, now, progress)

    async def delete(self, which: Which, progress: Progress | None = None) -> int:
        if isinstance(which, str):
            return await self._write(steering.delete, which)
        return await self._bulk(
            Inspector.ended, steering.delete_some, which, self.clock.now(), progress
        )

    async def rearrange(
        self,
        which: Which,
        now: int,
        run_at: int | None,
        priority: int | None,
        progress: Progress | None = None,
    ) -> int:
        if isinstance(which, str):
            return await self._write(rearranging.rearrange, which, now, run_at, priority)

        def change(ledger: Ledger, filter_: Filter, at: int, keys: Sequence[int]) -> Done:
            return rearranging.rearrange_some(ledger, filter_, at, keys, run_at, priority)

        return await self._bulk(Inspector.waiting, change, which, now, progress)

    async def _bulk(
        self,
        choose: Callable[[Inspector, Filter, int, int, int, int], Chosen],
        change: Callable[[Ledger, Filter, int, Sequence[int]], Done],
        which: Filter | Sequence[str],
        now: int,
        progress: Progress | None,
    ) -> int:
        """One look and one transaction a page, so that a large change does not hold up the
        others: however many jobs must be looked through, nobody waits for it. Jobs that have
        become something else since the look are left alone, and so are those that come after it
        has begun."""
        so_far = Tally(progress)
        if not isinstance(which, Filter):
            ids = list(dict.fromkeys(which))
            keys = await self._read(Inspector.keys, ids)
            done = await self._write(change, Filter(), now, keys) if keys else Done()
            so_far.add(len(ids), done, len(ids) - len(keys))
            return so_far.changed
        upto = await self._read(Inspector.last)
        after: int | None = -1
        while after is not None:
            page = await self._read(choose, which, now, after, upto, BULK)
            keys = so_far.untreated(page.keys)
            so_far.add(page.seen, await self._write(change, which, now, keys) if keys else Done())
            after = page.after
            await asyncio.sleep(0)  # Who is cancelled stops here, also where nothing ever waits.
        return so_far.changed

    async def pause(self, queue: str, paused: bool) -> None:
        await self._write(steering.pause, queue, paused, self.clock.now())


def _call_all(callbacks: Sequence[Callable[[Wake], None]], wakes: Sequence[Wake]) -> None:
    for callback in callbacks:
        for wake in wakes:
            callback(wake)


def _call_on(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: Any) -> None:
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:  # The subscriber's loop has ended; it will never ask again.
        return
