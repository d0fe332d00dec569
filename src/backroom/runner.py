"""From the lanes to user code to an outcome. Never touches the storage but for `note_start`."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec

from backroom.attempts import Call, Running, Why, interrupted, outcome_of, policy_of
from backroom.bulk import BulkJob
from backroom.calls import Calls
from backroom.crowds import Crowd
from backroom.deadlines import Deadlines
from backroom.errors import JobTypeError, ServiceError
from backroom.frames import Run
from backroom.handle import Job
from backroom.handlers import importable_name
from backroom.job import FIRST
from backroom.lanes import Lanes
from backroom.logs import underway
from backroom.outcome import MAX_MESSAGE, clip, errored, kept, raised, returned
from backroom.ports import Clock
from backroom.processes import Execution, Processes
from backroom.registry import Registry
from backroom.replay import Aside, aside_of
from backroom.retry import Backoff
from backroom.stepper import Stepper
from backroom.telling import talks, tell, tell_after
from backroom.threads import Threads
from backroom.transactions import Attempt, Transaction, Transactions
from backroom.transition import (
    Claim,
    Completed,
    Errored,
    Expired,
    Outcome,
    Parked,
    Policy,
    Released,
    Transition,
    Waiting,
    decide,
    hopeless,
)

__all__ = ["Runner"]

log = logging.getLogger("backroom")

MOST_GROUPS: Final = 64
"""Timeouts of which attempts are watched together, until those without any are forgotten."""
TURN: Final = 200
"""Jobs started in one turn of the loop, so that others get theirs."""
KILL_AFTER: Final = 0.5
"""Seconds that code in a child process has to end, when it is out of time or cancelled, until
its process is killed."""
LEAVE_PROCESS: Final = 2.0
"""The same, when its worker is leaving."""
STUBBORN: Final = 5.0
"""Seconds that an interrupted coroutine has to end before its attempt is ended without it."""


class Runner:
    """Runs what the lanes have ready, as many at once as they have slots."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        threads: Threads,
        processes: Processes,
        transactions: Transactions,
        stepper: Stepper,
        *,
        max_payload: int,
        may_run: Callable[[], bool],
        note_start: Callable[[Claim], bool],
        record: Callable[[Claim, Transition], None],
        changed: Callable[[Job[Any]], None],
        freed: Callable[[], None],
        chance: Callable[[], float],
        follow: Callable[[Claim, Transition], None] | None = None,
    ) -> None:
        """`may_run` says whether the lease stands; `note_start` notes that user code begins, and
        says no where it is not to any more; `record` takes what became of a claim;
        `changed` a job with progress or log lines; `freed` is called when a slot becomes free
        without an outcome; `follow` adds to an outcome the jobs that are to be made with it."""
        self._registry = registry
        self._clock = clock
        self._threads = threads
        self._processes = processes
        self._transactions = transactions
        self._stepper = stepper
        self._max_payload = max_payload
        self._may_run = may_run
        self._note_start = note_start
        self._record = record if follow is None else _with(follow, record)
        self._follow = follow
        self._changed = changed
        self._freed = freed
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        # A task factory of the application's is respected; without one, the shorter way.
        self._new_task = _task_maker(self._loop)
        self._deadlines: dict[float, Deadlines[Running]] = {}
        self._pumps: set[Lanes] = set()
        self.running: dict[int, Running] = {}
        """The attempts under way, by key."""
        self.overdue: set[Running] = set()
        """Code that still runs, and keeps a slot, though its attempt has ended."""
        self.calls = Calls(
            threads,
            self._new_task,
            self._context,
            max_payload=max_payload,
            note_start=note_start,
            conclude=self._conclude,
            late=self._late,
            ended=self._call_ended,
        )
        """Those of bulk handlers."""
        self.ended = 0
        """Attempts whose code has ended, so far."""
        self._talks = talks()

    # -- begin -----------------------------------------------------------------------------------

    def pump(self, lanes: Lanes) -> None:
        """Starts ready jobs while slots are free."""
        self._pumps.discard(lanes)
        if not lanes.ready() or not self._may_run():
            return
        now, uptime = self._clock.now(), self._loop.time()
        left = TURN
        while left > 0:
            left -= 1
            claim = lanes.take()
            if isinstance(claim, Crowd):
                left -= len(claim.claims) - 1
                begun = self._begin_crowd(claim, lanes, now)
            else:
                try:
                    begun = self._begin(claim, lanes, now, uptime)
                except Exception as error:
                    self._not_begun(claim, now, error)
                    begun = False
            if not begun:
                self._free(lanes)
            if not lanes.ready():
                return
        self._pump_soon(lanes)

    def _free(self, lanes: Lanes) -> None:
        """What had a slot has ended, or never began."""
        lanes.ended()
        self._pump_soon(lanes)

    def _pump_soon(self, lanes: Lanes) -> None:
        """In the next turn of the loop, once for all that ends in this one."""
        if lanes not in self._pumps:
            self._pumps.add(lanes)
            self._loop.call_soon(self.pump, lanes)

    def _begin(self, claim: Claim, lanes: Lanes, now: int, uptime: float) -> bool:
        """Whether its code begins; else the slot is free again."""
        running = self._admit(claim, lanes, now)
        if running is None:
            return False
        known, job = running.known, running.job
        if known.bulk is not None:
            self.calls.begin([running], lanes)
            return True
        handler = known.handler
        assert handler is not None
        if known.isolation == "process":
            self._run_process(running, handler)  # Its time begins when a child takes it.
        elif known.handler_is_async:
            running.task = self._new_task(
                self._run(running, handler, job), loop=self._loop, context=self._context.copy()
            )
        else:
            running.group.add(running, uptime)
            self._threads.submit(lambda: self._run_thread(running, handler, job))
        return True

    def _begin_crowd(self, crowd: Crowd, lanes: Lanes, now: int) -> bool:
        """The same of what a bulk handler runs at once."""
        members: list[Running] = []
        for claim in crowd.claims:
            try:
                running = self._admit(claim, lanes, now)
            except Exception as error:
                self._not_begun(claim, now, error)
            else:
                members += () if running is None else (running,)
        try:
            if members:
                self.calls.begin(members, lanes)
        except Exception as error:
            for running in members:
                self._not_begun(running.claim, now, error)
            return False
        return bool(members)

    def _admit(self, claim: Claim, lanes: Lanes, now: int) -> Running | None:
        """An attempt that may begin; None: it may not, and its outcome says why."""
        known = self._registry.get(claim.type)
        if known is None or known.handler is None:
            self._skip(claim, Parked(), None)
            return None
        policy, version = known.policy, FIRST
        if claim.options is not None:
            policy, version = policy_of(policy, claim.options)
            if version > known.version:
                self._skip(claim, Parked(), None)
                return None
        if claim.crashes or claim.attempt:
            reason = hopeless(claim, policy)
            if reason is not None:
                self._skip(claim, reason, policy)
                return None
        if claim.expires_at is not None and claim.expires_at <= now:
            self._skip(claim, Expired(), policy)
            return None
        try:
            # Older data is upgraded where the handler runs: that is user code.
            data = known.data.decode(claim.data) if version == known.version else None
        except JobTypeError as error:
            reason = Errored(
                "JobTypeError", clip(f"{error} ({known.place})", MAX_MESSAGE), retry=False
            )
            self._skip(claim, reason, policy, started_at=now)
            return None
        if claim.key in self.running:
            # Its lease was lost, yet it still runs; this worker has claimed the job anew.
            self._forsake(self.running[claim.key])
        job: Job[Any]
        if known.bulk is None:
            job = Job(
                claim, data, policy, now, self._clock.now, self._changed, self._transact,
                self._stepper,
            )  # fmt: skip
        else:
            job = BulkJob(claim, data, policy, now, self._clock.now, self._changed)
        group = self._deadlines.get(policy.timeout) or self._watch(policy.timeout)
        running = self.running[claim.key] = Running(claim, lanes, known, policy, job, group)
        if version != known.version:
            running.older = version
        return running

    def _watch(self, timeout: float) -> Deadlines[Running]:
        """A new group of attempts with this timeout; where every job has its own, the empty
        groups go first."""
        if len(self._deadlines) >= MOST_GROUPS:
            for group in [group for group in self._deadlines.values() if group.empty]:
                group.close()
        forget = partial(self._deadlines.pop, timeout, None)
        group = Deadlines(self._loop, timeout, self._late, forget)
        self._deadlines[timeout] = group
        return group

    def _not_begun(self, claim: Claim, now: int, error: Exception) -> None:
        """The engine could not start user code: no thread, no memory, options from the future."""
        log.exception("%s %s could not be started", claim.type, claim.id)
        running = self.running.get(claim.key)
        if running is not None and running.claim is claim:
            del self.running[claim.key]
            running.recorded = True
            running.group.remove(running)
        known = self._registry.get(claim.type)
        policy = None if known is None else known.policy
        self._skip(claim, errored(error), policy, started_at=now)

    def _skip(
        self,
        claim: Claim,
        outcome: Outcome,
        policy: Policy | None,
        started_at: int | None = None,
    ) -> None:
        """An outcome without user code."""
        if policy is None:
            policy = Policy(0, 0.0, Backoff(), 0.0)
        now = self._clock.now()
        transition = decide(claim, outcome, now, policy, started_at=started_at)
        self._record(claim, transition)
        tell(claim, outcome, transition, now)

    # -- user code -------------------------------------------------------------------------------

    async def _run(
        self, running: Running, handler: Callable[[Job[Any]], Any], job: Job[Any]
    ) -> None:
        outcome: Outcome
        underway.set(job)
        try:
            if self._note_start(running.claim):
                running.group.add(running, self._loop.time())
                if running.older is not None:
                    job.data = running.known.read(running.claim.data, running.older)
                value = await handler(job)
                outcome = self._returned(running, value)
            else:
                outcome = Released(begun=False)
        except asyncio.CancelledError as error:
            outcome = interrupted(running) or errored(error)
        except Exception as error:
            outcome = raised(error)
        except BaseException as error:
            # SystemExit and the like end the attempt, never the worker.
            outcome = _of_base(error)
        self._end(running, outcome)

    def _run_thread(
        self, running: Running, handler: Callable[[Job[Any]], Any], job: Job[Any]
    ) -> None:
        outcome: Outcome
        try:
            if self._note_start(running.claim):
                value = self._context.copy().run(_call, running, handler, job)
                outcome = self._returned(running, value)
            else:
                outcome = Released(begun=False)
        except Exception as error:
            outcome = raised(error)
        except BaseException as error:
            outcome = _of_base(error)
        try:
            self._loop.call_soon_threadsafe(self._end, running, outcome)
        except RuntimeError:
            log.warning("%r ended after its worker's loop; its outcome is not recorded", job)

    def _run_process(self, running: Running, handler: Callable[[Job[Any]], Any]) -> None:
        module, qualname = importable_name(handler)

        def run() -> Run | None:
            if not self._note_start(running.claim):
                running.why = "lost"
                return None
            running.group.add(running, self._loop.time())
            policy, typed = running.policy, running.known.data.type is not None
            return Run(
                module, qualname, typed, running.claim, policy.retries, policy.timeout,
                self._clock.now(),
            )  # fmt: skip

        running.execution = Execution(
            run,
            said=lambda said: running.job.repeat(said.progress, said.message, said.lines),
            ended=lambda ended: self._end(running, outcome_of(ended, running)),
        )
        self._processes.run(running.execution)

    def _returned(self, running: Running, value: Any) -> Outcome:
        if running.completed is not None and value is None:
            return Completed("null")  # The result was said with the commit.
        if running.job.aside is not None:  # Which the handler has caught.
            return _put_aside(running.job.aside)
        uncalled = running.job.uncalled
        if uncalled:
            running.job.log.warning(
                "completed without %s, kept by an earlier run: the handler was changed while this"
                " job was under way, or does not call the same steps each time",
                ", ".join(f"step {step.number}, {step.said}" for step in uncalled[:5]),
            )
        return returned(running.claim.type, running.known.result, value, self._max_payload)

    def _transact(
        self, job: Job[Any], claim: Claim, connection: Any, result: Any
    ) -> Transaction[Any]:
        """In which an attempt may end."""

        def begin() -> None:
            running = self.running.get(claim.key)
            if running is None or running.job is not job or running.recorded:
                raise ServiceError(f"{job!r}: this attempt has ended")
            if running.transacted:
                raise ServiceError(f"{job!r}: an attempt has one job.transaction(), not two")
            running.transacted = True

        def end(result: Any) -> Transition:
            known = self._registry.get(claim.type)
            codec = None if known is None else known.result
            text = kept(claim.type, codec, result, self._max_payload)
            transition = Transition.completed(claim, job.started_at, self._clock.now(), text)
            if self._follow is not None:
                self._follow(claim, transition)
            job.settle(transition)
            return transition

        def completed(transition: Transition) -> None:
            running = self.running.get(claim.key)
            if running is not None and running.job is job:
                running.completed = transition
            self._transactions.finished(claim, transition)

        attempt = Attempt(claim, begin, end, job.take_back, completed)
        return Transaction(self._transactions, attempt, connection, result)

    def _after_all(self, running: Running, outcome: Outcome) -> Outcome:
        """The outcome of code that ended by itself after it was told to stop: an error, or
        nothing from one that saw `job.cancelled`, is its way of stopping, and no outcome."""
        if isinstance(outcome, Released):
            why = interrupted(running)
            return outcome if why is None or isinstance(why, Released) else why
        if running.why == "timeout":
            return outcome
        if isinstance(outcome, Errored) or (
            isinstance(outcome, Completed) and outcome.result == "null" and running.job.saw_stop
        ):
            return interrupted(running) or outcome
        return outcome

    def _end(self, running: Running, outcome: Outcome) -> None:
        """On the loop: user code has ended."""
        lanes = running.lanes
        self.ended += 1
        if running.recorded:
            self.overdue.discard(running)
            self._loop.call_soon(self._freed)
        else:
            self._conclude(running, outcome)
        lanes.ended()
        self._pump_soon(lanes)

    def _call_ended(self, call: Call) -> None:
        """On the loop: a bulk handler has ended."""
        self.ended += len(call.members)
        call.lanes.ended(len(call.members))
        self._pump_soon(call.lanes)
        self._loop.call_soon(self._freed)

    def _conclude(self, running: Running, outcome: Outcome) -> None:
        """What becomes of an attempt is decided, if it is not yet."""
        if running.recorded:
            return
        del self.running[running.claim.key]
        running.group.remove(running)
        if running.why is not None:
            outcome = self._after_all(running, outcome)
        self._settle(running, outcome)

    def _settle(self, running: Running, outcome: Outcome) -> None:
        running.recorded = True
        claim, job = running.claim, running.job
        if running.call is not None:
            running.call.left -= 1
        if running.completed is not None:
            tell_after(claim, outcome, running.completed, self._clock.now())
            return
        try:
            transition = decide(
                claim, outcome, self._clock.now(), running.policy,
                started_at=job.started_at,
                chance=self._chance() if type(outcome) is Errored else 0.0,
            )  # fmt: skip
        except Exception as error:  # A backoff function of the user's.
            log.exception("the backoff of %s failed; the job is not retried", claim.type)
            wrong = errored(error, retry=False)
            if isinstance(outcome, Errored):
                text = f"{outcome.message} (not retried: its backoff failed: {wrong.message})"
                wrong = msgspec.structs.replace(
                    outcome, message=clip(text, MAX_MESSAGE), retry=False
                )
            transition = decide(
                claim, wrong, self._clock.now(), running.policy, started_at=job.started_at
            )
        self._record(claim, transition)
        job.settle(transition)
        if self._talks or type(outcome) is Errored:
            tell(claim, outcome, transition, self._clock.now())

    # -- stop ------------------------------------------------------------------------------------

    def _late(self, running: Running) -> None:
        """An attempt is out of time."""
        self.interrupt(running, "timeout")

    def interrupt(self, running: Running, why: Why) -> None:
        """Tells user code to stop. A coroutine is cancelled; a thread is asked, and where the
        attempt is out of time or was cancelled, it ends without waiting for the thread: the
        slot stays taken until the thread returns."""
        if running.recorded or running.why is not None:
            return
        running.why = why
        running.job.stop()
        if running.call is not None:
            self.calls.interrupt(running.call, running)
            return
        if running.execution is not None:
            running.execution.stop()
            # What lost its lease may run elsewhere already; what leaves is given its time.
            wait = 0.0 if why == "lost" else LEAVE_PROCESS if why == "release" else KILL_AFTER
            self._loop.call_later(wait, self._kill, running)
            return
        if running.task is not None:
            running.task.cancel()
            running.task.add_done_callback(lambda _: self._never_ran(running))
            if why in ("timeout", "cancel"):
                self._loop.call_later(STUBBORN, self._abandon, running)
        elif why in ("timeout", "cancel"):
            self._abandon(running)

    def _kill(self, running: Running) -> None:
        """Ends the process of an attempt that was told to stop, and has not."""
        if running.execution is not None and self.running.get(running.claim.key) is running:
            running.execution.kill()

    def _never_ran(self, running: Running) -> None:
        """A task that is cancelled before its first step never enters its coroutine."""
        if self.running.get(running.claim.key) is running:
            self._end(running, Released(begun=False))

    def _abandon(self, running: Running) -> None:
        """Ends an attempt whose code still runs."""
        if running.recorded or self.running.get(running.claim.key) is not running:
            return
        log.warning(
            "%s %s is overdue: its attempt has ended (%s), its code still runs and keeps a slot",
            running.claim.type, running.claim.id, running.why,
        )  # fmt: skip
        outcome = interrupted(running)
        if outcome is not None:
            self._forsake(running)
            self._settle(running, outcome)

    def _forsake(self, running: Running) -> None:
        """Whatever this code still does, nothing of it is recorded."""
        running.recorded = True
        running.group.remove(running)
        del self.running[running.claim.key]
        if running.call is None:
            self.overdue.add(running)
        else:
            running.call.left -= 1

    def cancel(self, keys: Iterable[int]) -> None:
        """People asked to cancel these."""
        for key in keys:
            running = self.running.get(key)
            if running is not None:
                self.interrupt(running, "cancel")

    def stop_all(self, why: Why) -> None:
        """Interrupts everything that runs."""
        for running in list(self.running.values()):
            self.interrupt(running, why)
        self.calls.stop_all()


def _with(
    follow: Callable[[Claim, Transition], None], record: Callable[[Claim, Transition], None]
) -> Callable[[Claim, Transition], None]:
    def followed(claim: Claim, transition: Transition) -> None:
        follow(claim, transition)
        record(claim, transition)

    return followed


def _task_maker(loop: asyncio.AbstractEventLoop) -> Callable[..., asyncio.Task[None]]:
    if loop.get_task_factory() is None:
        return asyncio.Task
    # Within the context and not with it as an argument, which not every factory takes.
    return lambda coroutine, *, loop, context: context.run(loop.create_task, coroutine)


def _call(running: Running, handler: Callable[[Job[Any]], Any], job: Job[Any]) -> Any:
    """In a thread."""
    underway.set(job)
    if running.older is not None:
        job.data = running.known.read(running.claim.data, running.older)
    return handler(job)


def _of_base(error: BaseException) -> Outcome:
    """What became of an attempt whose code ended by what is no `Exception`."""
    aside = aside_of(error)
    return errored(error) if aside is None else _put_aside(aside)


def _put_aside(aside: Aside) -> Outcome:
    if aside.step is not None:
        return Waiting(aside.step)
    error = aside.error or aside
    return errored(error.with_traceback(aside.__traceback__), retry=False)
