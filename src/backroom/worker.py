"""One worker: wires the loops together; contains no job logic."""

from __future__ import annotations

import asyncio
import gc
import heapq
import logging
import os
import random
import socket
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeAlias, cast

from backroom.claimer import SHUT, Claimer
from backroom.counting import Counts
from backroom.crew import RunningJob, WorkerReport
from backroom.errors import level_of
from backroom.event import JobsRescued, JobStarted, ScheduleFired
from backroom.events import Events
from backroom.flowing import Flowing
from backroom.job import SECOND, JobId, JobRecord, to_datetime
from backroom.lanes import Lanes
from backroom.lease import Lease
from backroom.memory import resident
from backroom.ports import Clock, Inserted, Reclaimed, Store, Wake, WorkerSpec
from backroom.processes import Limits, Processes
from backroom.recorder import Recorder
from backroom.registry import Registry
from backroom.reporter import Reporter, Teller
from backroom.runner import Runner
from backroom.schedule import Firing
from backroom.scheduler import Scheduler
from backroom.settings import Settings
from backroom.stepper import Stepper
from backroom.threads import Threads
from backroom.timetable import planned
from backroom.transactions import Transactions
from backroom.transition import Claim, Transition
from backroom.upkeep import Upkeep

__all__ = ["Worker"]

log = logging.getLogger("backroom")

MAX_PAUSE: Final = 2.0
NEW_OBJECTS: Final = 10_000
"""Between two runs of Python's garbage collector, at least, in a process with a worker. A job makes
about twenty that live until it ends; by default (700) a busy worker has them looked through again
and again, for a tenth of its time."""
LEAVE: Final = 5.0
"""Seconds that interrupted coroutines have to end when a worker leaves, and a storage to take
the last outcomes."""
SETTLE: Final = 1.0
"""Seconds after the grace period that a storage may take to answer what was asked before, and to
take back what has not begun."""
GONE: Final = 7.0
"""Seconds after the grace period that a worker is gone, and its code, whatever its storage does.
With what a storage may take to close, these are the ten of `docs/operate.md`."""
SHOWN: Final = 100
"""Jobs that run, of which a worker tells."""
LOOK_UP: Final = 1.0
"""Seconds that a thread has then to see that it should end."""

Names: TypeAlias = tuple[str, ...]


class Worker:
    """Claims, runs and records jobs, from `start` to `stop`."""

    def __init__(
        self,
        storage: Store,
        registry: Registry,
        clock: Clock,
        settings: Settings,
        *,
        recorded: Callable[[Sequence[tuple[Claim, Transition]]], None],
        events: Events,
        counts: Counts,
        teller: Teller,
        follow: Callable[[Claim, Transition], None] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`recorded` is called with outcomes that stand; `events` is told what happens here, and
        `counts` counts it; `teller` tells the storage what was counted. `follow` adds to an
        outcome the jobs that are to be made with it."""
        self._counts = counts
        self._teller = teller
        self._recorded = recorded
        self._events = events
        self._storage = storage
        self._clock = clock
        self._settings = settings
        self._registry = registry
        self._threads = Threads("backroom-handler")
        self._lease = Lease(
            storage,
            clock,
            WorkerSpec(f"{socket.gethostname()}:{os.getpid()}", settings.lease),
            cancelled=self._cancel,
            lost=self._lost,
            stands_again=self._refill,
            drained=self._drain_claims,
            threaded=settings.threaded,
        )
        self._recorder = Recorder(
            storage,
            worker=self._number,
            leased=self._lease.stands,
            flushed=self._refill,
            recorded=self._written,
        )
        self._processes = Processes(
            Limits(settings.max_memory, settings.max_jobs_per_process, settings.max_payload)
        )
        self._stepper = Stepper(
            storage,
            leased=self._lease.stands,
            now=clock.now,
            in_thread=self._threads.submit,
            max_payload=settings.max_payload,
            flows=cast(Flowing, storage) if storage.capabilities.flowing else None,
        )
        self._runner = Runner(
            registry,
            clock,
            self._threads,
            self._processes,
            Transactions(
                storage,
                worker=self._number,
                leased=self._lease.stands,
                now=clock.now,
                written=self._recorder.written,
            ),
            self._stepper,
            max_payload=settings.max_payload,
            may_run=self._may_run,
            note_start=self._note_start,
            record=self._recorder.record,
            changed=self._recorder.changed,
            freed=self._refill,
            chance=chance,
            follow=follow,
        )
        self._lanes = list(_lanes(settings, clock, registry))
        self._by_queue = {queue: lanes for lanes in self._lanes for queue in lanes.queues or ()}
        self._claimers = {id(lanes): self._claimer(lanes) for lanes in self._lanes}
        self._upkeep = Upkeep(storage, clock, rescued=self._rescued, tended=self._hear_of_limits)
        self._reporter = Reporter(
            storage, clock, teller, worker=self._number, report=self._report, chance=chance
        )
        self._scheduler: Scheduler | None = None
        """None: the storage keeps no schedules."""
        if storage.capabilities.planning:
            self._scheduler = Scheduler(
                planned(storage),
                storage,
                clock,
                settings.poll_interval,
                chance=chance,
                fired=self._fired,
            )
        self._unsubscribe: Callable[[], None] | None = None
        self._leaving = False
        self.draining = False
        """People asked it to claim nothing any more."""
        self._grace_ends = float("inf")
        """On the loop's clock, once it is leaving."""
        self._hurried = asyncio.Event()
        self.enlisted = True
        """It may still hold claims in the storage."""
        self._cancelled: frozenset[int] = frozenset()
        """Claims that people asked to cancel, as of the last heartbeat."""
        self._seeing_out: asyncio.Task[None] | None = None
        self._tending = False
        self._rejoining: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._told_of: set[str] = set()
        """Types whose jobs were made without the limits that hold here."""
        self._paused: dict[str, bool] = {}
        """Queues, and whether they are paused, as of the last check."""
        self._changed = False
        """People changed something since the last check."""
        self._tasks: set[asyncio.Task[None]] = set()

    def _claimer(self, lanes: Lanes) -> Claimer:
        return Claimer(
            self._storage,
            lanes,
            self._clock,
            self._settings.poll_interval,
            types=lambda: self._registry.handled,
            worker=self._number,
            stands_for=self._lease.stands_for,
            pump=lambda: self._runner.pump(lanes),
            unwanted=self._unwanted,
            unsaid=self._registry.limited.unsaid,
            restrict=self._restrict,
            release=self._release,
            return_unknown=self._return_unknown,
            lost=self._lost,
        )

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Enlists, and begins. Where it fails or is cancelled, nothing is left of it."""
        _collect_less_often()
        try:
            await self._lease.start()
            self._unsubscribe = self._storage.subscribe(self._wake)
            await self._learn_limits(quietly=True)
        except GeneratorExit:  # Thrown away with its loop: nothing can be awaited any more.
            raise
        except BaseException:
            await asyncio.shield(self._give_up())
            raise
        self._upkeep.start()
        if self._scheduler is not None:
            self._scheduler.start()
        for claimer in self._claimers.values():
            claimer.start()
        self._reporter.start()
        if self._registry.isolated:
            self._processes.warm(min(self._settings.concurrency, os.cpu_count() or 1))

    async def _give_up(self) -> None:
        await self._lease.stop()
        if self._lease.stands():
            with _logged("it counts as dead when its lease has ended"):
                await self._storage.retire(self._lease.worker)

    async def stop(self, grace: float, gone: Callable[[], None]) -> bool:
        """Claims no more, gives back what has not begun, lets the rest end within `grace`
        seconds, then releases it without costing an attempt.

        Returns whether nothing of it is left. A thread that runs on keeps its lease until it
        ends, or the process does, when its job comes back uncharged; `gone` is called when the
        last one has ended.
        """
        self._leaving = True
        self.hurry(grace)
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        await self._in_time(self._end_loops(), SETTLE)
        await self._drain(lambda: self._grace_ends)
        if self._runner.running:
            now = asyncio.get_running_loop().time()
            self._runner.stop_all("release")
            await self._drain(lambda: now + LOOK_UP)
            await self._drain(lambda: now + LEAVE, coroutines_only=True)
        await self._processes.close()
        await self._recorder.stop(min(LEAVE, max(0.0, self._left_of(GONE))))
        left = self._left()
        if left and self._lease.stands():
            log.warning("code of %d jobs runs on; they keep their lease until it ends", len(left))
            await self._in_time(self._disown(left), GONE)
            self._seeing_out = asyncio.create_task(self._see_out(gone))
            return False
        await self._retire()
        return True

    async def _end_loops(self) -> None:
        """Nothing is claimed any more, and what has not begun is given back."""
        if self._scheduler is not None:
            await self._scheduler.stop()
        for claimer in self._claimers.values():
            await claimer.stop()
        await self._upkeep.stop()
        if self._rejoining is not None:
            await self._rejoining
        if self._checking is not None:
            self._tasks.add(self._checking)
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._give_back_unstarted()

    def _left_of(self, seconds: float) -> float:
        """How many of so many seconds after the grace period are left."""
        return self._grace_ends + seconds - asyncio.get_running_loop().time()

    async def _in_time(self, work: Coroutine[Any, Any, None], seconds: float) -> None:
        """Waits for what the storage has to answer, up to so many seconds after the grace period,
        whose end may come nearer: then it is given up."""
        task = asyncio.ensure_future(work)
        while not task.done() and (left := self._left_of(seconds)) > 0:
            self._hurried.clear()
            hurried = asyncio.ensure_future(self._hurried.wait())
            await asyncio.wait([task, hurried], timeout=left, return_when="FIRST_COMPLETED")
            hurried.cancel()
        if not task.done():
            log.warning("the leaving worker does not wait any longer for its storage to answer")
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def _disown(self, left: Sequence[Claim]) -> None:
        with _logged("they will be charged an attempt"):
            await self._storage.give_back(self._lease.worker, _holds(left))
            await self._storage.disown(self._lease.worker, [claim.key for claim in left])

    def _left(self) -> list[Claim]:
        """Those whose code still runs, and could still have an outcome."""
        return [running.claim for running in self._runner.running.values() if not running.recorded]

    async def _see_out(self, gone: Callable[[], None]) -> None:
        """Records what still ends; then nothing is left of this worker."""
        while self._left() and self._lease.stands():
            await asyncio.sleep(0.05)
        await self._recorder.stop(LEAVE)
        self._grace_ends = asyncio.get_running_loop().time()
        await self._retire()
        gone()

    async def _retire(self) -> None:
        await self._in_time(self._take_leave(), GONE)
        self._threads.close()
        self.enlisted = False

    async def _take_leave(self) -> None:
        await self._reporter.leave(LEAVE)
        await self._teller.tell_last(self._lease.worker, LEAVE)
        await self._lease.stop()
        if self._lease.stands():
            with _logged("what it held comes back when its lease has ended"):
                await self._storage.retire(self._lease.worker)

    def hurry(self, grace: float) -> None:
        """The grace period of a `stop` ends this long from now, if not sooner."""
        self._grace_ends = min(self._grace_ends, asyncio.get_running_loop().time() + grace)
        self._hurried.set()

    async def _give_back_unstarted(self) -> None:
        for lanes in self._lanes:
            lanes.closed += 1
        while any(lanes.coming for lanes in self._lanes):
            await asyncio.sleep(0.001)
        unstarted = [claim for lanes in self._lanes for claim in lanes.empty()]
        if unstarted and self._lease.stands():
            with _logged("what it held comes back when it retires"):
                await self._storage.give_back(self._lease.worker, self._held())

    async def _drain(self, until: Callable[[], float], *, coroutines_only: bool = False) -> None:
        """Waits for what runs, to this moment of the loop's clock, which may come nearer."""
        loop = asyncio.get_running_loop()
        while loop.time() < until():
            left = [
                running
                for running in self._runner.running.values()
                if not running.recorded and not (coroutines_only and running.is_thread)
            ]
            if not left and not self._runner.calls.waited_for(coroutines_only=coroutines_only):
                return
            await asyncio.sleep(0.01)

    def runs(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether this is the task of a handler that runs here."""
        if task is None:
            return False
        runner = self._runner
        return runner.calls.runs(task) or any(r.task is task for r in runner.running.values())

    @property
    def idle(self) -> bool:
        """Nothing runs, nothing is held, and the last look found nothing due."""
        return (
            not self.running
            and not self._recorder.claims()
            and not any(lanes.held for lanes in self._lanes)
            and self._upkeep.swept
            and (self._scheduler is None or self._scheduler.idle)
            and all(claimer.idle for claimer in self._claimers.values())
        )

    @property
    def holds_lease(self) -> bool:
        """Whether its lease stands."""
        return self._lease.stands()

    @property
    def slots(self) -> list[tuple[str, int, int]]:
        """Of each group of queues: their names, the slots, and how many are taken."""
        return [(lanes.name, lanes.slots, lanes.busy) for lanes in self._lanes]

    @property
    def ended(self) -> int:
        """Attempts whose code has ended here, so far."""
        return self._runner.ended

    @property
    def running(self) -> int:
        """Attempts that run now; of a bulk handler, its jobs."""
        runner = self._runner
        return len(runner.running) + len(runner.overdue) + runner.calls.without_jobs

    @property
    def in_threads(self) -> bool:
        """Whether a thread runs user code now."""
        runner = self._runner
        handlers = sum(one.is_thread for one in (*runner.running.values(), *runner.overdue))
        return handlers + runner.calls.in_threads + self._stepper.in_threads > 0

    # -- an insert that may start at once --------------------------------------------------------

    async def insert(self, job: JobRecord) -> Inserted:
        """Inserts a job, straight into this worker's lanes where that is fair."""
        known = self._registry.get(job.type)
        # Another worker's type does not come here first, only to be parked.
        lanes = None if known is None or known.handler is None else self._lanes_of(job.queue)
        now = job.created_at
        start = None
        if lanes is not None and job.run_at <= now and not self._leaving and self._lease.stands():
            start = lanes.expect()
            if start and known is not None and known.bulk is not None:
                start = False  # It waits for company first.
        if lanes is None or start is None:
            [inserted] = await self._storage.insert([job], now)
            return inserted
        claim: Claim | None = None
        worker = self._lease.worker
        try:
            [inserted] = await self._storage.insert([job], now, worker=worker, start=start)
            claim = inserted.claim
            if claim is not None and (self.draining or not self._lease.stands_for(worker)):
                self._release([claim])
                claim = None
            if not inserted.created and inserted.id == job.id:
                # It was carried out twice on its way, and we hear of the second time only.
                self._spawn(self._return_unknown())
        except BaseException:
            # The caller went, or the storage failed: the job may be claimed without our
            # knowing. Whatever we hold unknown goes back.
            self._spawn(self._return_unknown())
            raise
        finally:
            lanes.arrived(claim, start)
        if claim is not None:
            self._tend(lanes, start)
        return inserted

    def _tend(self, lanes: Lanes, started: bool) -> None:
        """A claim came by an insert: it runs, or is to be counted as started with all that came
        in this turn of the loop."""
        if started:
            self._runner.pump(lanes)
        elif not self._tending:
            self._tending = True
            asyncio.get_running_loop().call_soon(self._refill)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _return_unknown(self) -> None:
        """Gives back claims that the storage may hold for us without our knowing: their reply
        was lost, or nobody waits for it any more. Until that is done nothing is claimed, since
        what is on its way is unknown too. A lease that does not stand for a moment may be
        extended, and what is held under it is still ours then."""
        pause, worker = 0.05, self._lease.worker
        for lanes in self._lanes:
            lanes.closed += 1
        try:
            while not self._leaving and self._lease.worker == worker:
                if not self._lease.stands():
                    await asyncio.sleep(SHUT)
                    continue
                if any(lanes.coming for lanes in self._lanes) or any(
                    claimer.claiming for claimer in self._claimers.values()
                ):
                    await asyncio.sleep(0.01)
                    continue
                try:
                    await self._storage.give_back(worker, self._held())
                except Exception as error:
                    log.log(
                        level_of(error, logging.WARNING),
                        "claims whose reply was lost could not be given back, in %.2f s again: %r",
                        pause, error,
                    )  # fmt: skip
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, MAX_PAUSE)
                else:
                    break
        finally:
            for lanes in self._lanes:
                lanes.closed -= 1

    def _release(self, claims: Sequence[Claim]) -> None:
        """These have not begun, and are not to: they wait again, or end if that was asked."""
        for claim in claims:
            self._recorder.record(claim, Transition.released(claim))

    def _restrict(self, claim: Claim, options: str) -> None:
        """Whoever made this job did not say limits that hold here: it is kept with them, and is
        claimed again."""
        if claim.type not in self._told_of and claim.queue not in self._registry.limited.operated:
            self._told_of.add(claim.type)
            log.warning(
                "%s %s was scheduled without the limits that hold for it here; it is counted all"
                " the same, as others like it are. Say limit=, slots= or service.limit(...) where"
                " it is scheduled, too: then it need not be claimed twice", claim.type, claim.id,
            )  # fmt: skip
        self._recorder.record(claim, Transition.released(claim, options=options))

    def _lanes_of(self, queue: str) -> Lanes | None:
        lanes = self._by_queue.get(queue)
        if lanes is None and self._settings.only is None:
            return self._lanes[0]
        return lanes

    # -- what the loops tell each other ----------------------------------------------------------

    def _number(self) -> int:
        return self._lease.worker

    def _note_start(self, claim: Claim) -> bool:
        """Right before its first line. Whoever was stopped since it was chosen to run, for longer
        than the lease, does not begin what is another worker's now."""
        if not self._lease.stands():
            return False
        self._storage.note_start(self._lease.worker, claim)
        if self._events.starts:
            self._tell_started(claim)
        return True

    def _tell_started(self, claim: Claim) -> None:
        now = self._clock.now()
        waited = max(0, now - max(claim.run_at, claim.created_at)) / SECOND
        self._events.tell_from_anywhere(
            JobStarted(
                at=to_datetime(now), job_id=JobId(claim.id), type=claim.type, queue=claim.queue,
                attempt=claim.attempt + 1, waited=waited,
            )
        )  # fmt: skip

    def _may_run(self) -> bool:
        if self.draining or self._leaving:
            return False
        return self._lease.stands() and not self._recorder.full

    def _held(self) -> list[tuple[int, int]]:
        """All claims this worker knows of, as a storage is told them."""
        claims = [running.claim for running in self._runner.running.values()]
        claims += self._recorder.claims()
        for lanes in self._lanes:
            claims += lanes.claims()
        return _holds(claims)

    def _written(self, outcomes: Sequence[tuple[Claim, Transition]]) -> None:
        """Outcomes stand."""
        if any(transition.tied for _, transition in outcomes):
            for claimer in self._claimers.values():  # What waited for these may be due now.
                claimer.signal()
        self._recorded(outcomes)
        self._counts.ended(outcomes)
        if self._events.outcomes:
            self._events.ended(outcomes, self._clock.now())

    def _rescued(self, reclaimed: Reclaimed) -> None:
        self._counts.rescued(reclaimed.rescued)
        event = JobsRescued(
            at=to_datetime(self._clock.now()), workers=reclaimed.workers,
            started=reclaimed.crashed, untouched=reclaimed.untouched,
        )  # fmt: skip
        self._events.tell([event])

    def _fired(self, firings: Sequence[Firing]) -> None:
        """Ticks came, and it was this worker that did what is to be done about them."""
        at = to_datetime(self._clock.now())
        self._counts.made(job for firing in firings for job in firing.jobs)
        for firing in firings:
            jobs = tuple(JobId[Any](job.id) for job in firing.jobs)
            self._events.tell([ScheduleFired(at=at, schedule=firing.schedule, jobs=jobs)])

    def _refill(self) -> None:
        self._tending = False
        if not self._leaving:
            for claimer in self._claimers.values():
                claimer.refill()

    def _cancel(self, keys: Sequence[int]) -> None:
        self._cancelled = cancelled = frozenset(keys)
        self._runner.cancel(keys)
        for lanes in self._lanes:
            self._release(lanes.empty(lambda claim: claim.key in cancelled))

    def _unwanted(self, claim: Claim) -> bool:
        """People paused its queue, cancelled it, or drained this worker, while it was being
        counted as started."""
        paused = self._paused.get(claim.queue, False)
        return self.draining or paused or claim.key in self._cancelled

    def _drain_claims(self, on: bool) -> None:
        """People asked for it: what runs goes on, what has not begun goes back."""
        self.draining = on
        log.info("this worker %s, as it was asked to", "drains" if on else "claims jobs again")
        for lanes in self._lanes:
            lanes.drained = on
            if on:
                self._release(lanes.empty())
        if not on:
            for claimer in self._claimers.values():
                claimer.signal()
        self._reporter.signal()

    def _report(self) -> WorkerReport:
        """What it does right now."""
        running = [one for one in self._runner.running.values() if not one.recorded]
        longest = heapq.nsmallest(SHOWN, running, key=lambda one: one.job.started_at)
        return WorkerReport(
            at=to_datetime(self._clock.now()),
            pid=os.getpid(),
            host=socket.gethostname(),
            memory=resident(),
            concurrency=sum(lanes.slots for lanes in self._lanes),
            queues=", ".join(lanes.name for lanes in self._lanes),
            running=tuple(
                RunningJob(
                    one.claim.id, one.claim.type, one.claim.queue, one.claim.attempt + 1,
                    to_datetime(one.job.started_at),
                )
                for one in longest
            ),
            active=len(running),
            ahead=sum(lanes.held for lanes in self._lanes),
        )  # fmt: skip

    def _wake(self, wake: Wake) -> None:
        if wake is Wake.JOBS:
            for claimer in self._claimers.values():
                claimer.signal()
        elif wake is Wake.FINISHED:
            if self._scheduler is not None:
                self._scheduler.finished()
        elif wake is Wake.CONTROL:
            if self._scheduler is not None:
                self._scheduler.signal()
            self._changed = True
            if self._checking is None or self._checking.done():
                self._checking = asyncio.create_task(self._check())

    async def _check(self) -> None:
        """People changed something: cancelled jobs stop, jobs of paused queues go back."""
        while self._changed and not self._leaving:
            self._changed = False
            await self._lease.check()
            try:
                self._paused = await self._storage.queues()
                await self._learn_limits()
            except Exception as error:
                log.log(
                    level_of(error, logging.WARNING),
                    "which queues are paused or limited is not known, in 1 s again: %r", error,
                )  # fmt: skip
                self._changed = True
                await asyncio.sleep(1)
                continue
            for lanes in self._lanes:
                self._release(lanes.empty(lambda claim: self._paused.get(claim.queue, False)))

    def _hear_of_limits(self) -> None:
        """Now and then, for whoever changed them may not have been heard."""
        if not self._leaving:
            self._spawn(self._learn_limits(quietly=True))

    async def _learn_limits(self, *, quietly: bool = False) -> None:
        """Which queues operators have limited: of what was claimed before, and has not begun, what
        has not asked for room goes back, and does so. `quietly`: where that cannot be told now, it
        will be the next time."""
        limited = self._registry.limited
        try:
            operated = await self._storage.operated()
        except Exception as error:
            if not quietly:
                raise
            log.debug("which queues are limited is not known, soon again: %r", error)
            return
        if operated == limited.operated:
            return
        limited.operated = operated
        self._recorder.counted = operated.keys()
        for lanes in self._lanes:
            owing = limited.unsaid(lanes.claims())
            for claim in lanes.empty(partial(_is_one_of, owing)):
                self._restrict(claim, owing[claim.key])

    def _lost(self, worker: int) -> None:
        """The lease is gone: what ran belongs to others, and is stopped. But who says so may
        have been on its way for so long that another lease has begun."""
        if worker != self._lease.worker:
            return
        self._lease.forfeit()
        self._runner.stop_all("lost")
        for lanes in self._lanes:
            lanes.empty()
        if self._rejoining is None and not self._leaving:
            self._rejoining = asyncio.create_task(self._rejoin())

    async def _rejoin(self) -> None:
        """Enlists anew."""
        try:
            await self._lease.stop()
            while not self._leaving:
                try:
                    await self._lease.start()
                except Exception as error:
                    log.log(
                        level_of(error, logging.ERROR),
                        "the worker could not enlist again, in 1 s once more", exc_info=True,
                    )  # fmt: skip
                    await asyncio.sleep(1)
                else:
                    break
        finally:
            self._rejoining = None
        for claimer in self._claimers.values():
            claimer.signal()


def _holds(claims: Sequence[Claim]) -> list[tuple[int, int]]:
    return [(claim.key, claim.token) for claim in claims]


def _collect_less_often() -> None:
    """Unless the application has turned it off, or set it higher."""
    first, *others = gc.get_threshold()
    if 0 < first < NEW_OBJECTS:
        gc.set_threshold(NEW_OBJECTS, *others)


@contextmanager
def _logged(consequence: str) -> Iterator[None]:
    """A worker that leaves does not stay because its storage is away."""
    try:
        yield
    except Exception as error:
        log.warning("the leaving worker could not say so (%s): %r", consequence, error)


def _lanes(settings: Settings, clock: Clock, registry: Registry) -> list[Lanes]:
    """The shared lanes first, then those of each queue with slots of its own."""
    own = {
        queue: slots
        for queue, slots in settings.queues.items()
        if settings.only is None or queue in settings.only
    }
    shared = None
    if settings.only is not None:
        shared = tuple(queue for queue in settings.only if queue not in own)

    def make(name: str, queues: Names | None, but: Names, slots: int) -> Lanes:
        return Lanes(
            name, queues, but, slots, settings.starvation_after, clock.uptime, registry.bulk,
            patient=settings.patient,
        )  # fmt: skip

    lanes: list[Lanes] = []
    if shared is None or shared:
        name = "all queues" if shared is None else ", ".join(shared)
        lanes.append(make(name, shared, tuple(own), settings.concurrency))
    for queue, slots in own.items():
        lanes.append(make(queue, (queue,), (), slots))
    return lanes


def _is_one_of(keys: Mapping[int, str], claim: Claim) -> bool:
    return claim.key in keys
