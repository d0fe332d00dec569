"""Calls of bulk handlers: one call over many attempts, each of which has its own outcome.

An attempt ends when the handler says what becomes of its job, and is recorded then; by a cancel or
its own time limit, whatever the code still does; or with the call, which says it for all the rest.
When nothing of a call is left, but it was not the handler that said so, it is told to stop.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import msgspec

from backroom.attempts import Call, Running, interrupted
from backroom.bulk import BulkJob
from backroom.errors import JobTypeError
from backroom.job import Cancel, Snooze
from backroom.lanes import Lanes
from backroom.logs import underway
from backroom.outcome import errored, raised, returned
from backroom.threads import Threads
from backroom.transition import Claim, Errored, Outcome, Released

__all__ = ["Calls"]

log = logging.getLogger("backroom")

Outcomes: TypeAlias = Iterable[tuple[Running, Outcome]]


class Calls:
    """Those that are under way in one worker."""

    def __init__(
        self,
        threads: Threads,
        new_task: Callable[..., asyncio.Task[None]],
        context: contextvars.Context,
        *,
        max_payload: int,
        note_start: Callable[[Claim], bool],
        conclude: Callable[[Running, Outcome], None],
        late: Callable[[Running], None],
        ended: Callable[[Call], None],
    ) -> None:
        """`conclude` takes what becomes of an attempt, on the loop, and only once; `late` one that
        is out of time; `ended` a call whose code has ended."""
        self._threads = threads
        self._new_task = new_task
        self._context = context
        self._max_payload = max_payload
        self._note_start = note_start
        self._conclude = conclude
        self._late = late
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self.active: set[Call] = set()

    # -- begin -----------------------------------------------------------------------------------

    def begin(self, members: list[Running], lanes: Lanes) -> None:
        """Calls the handler of these attempts, whose slot is taken, with their jobs."""
        call = Call(members, lanes, len(members))
        known = members[0].known
        handler = known.handler
        assert handler is not None
        for running in members:
            running.call = call
            assert isinstance(running.job, BulkJob)
            running.job._hear = partial(self._heard, running)
        if known.handler_is_async:
            self.active.add(call)  # It may run, and end, before there is a task to speak of.
            call.task = task = self._new_task(
                self._run(call, handler), loop=self._loop, context=self._context.copy()
            )
            for running in members:
                running.task = task
            # A task that is cancelled before its first step never enters its coroutine.
            task.add_done_callback(lambda _: self._end(call, ()))
        else:
            self._threads.submit(lambda: self._run_thread(call, handler))
            self.active.add(call)
            self._watch(call)

    def _watch(self, call: Call) -> None:
        """From now on their time counts."""
        now = self._loop.time()
        for running in call.members:
            if not running.recorded:
                running.group.add(running, now)
        longest = max(running.policy.timeout for running in call.members)
        call.timer = self._loop.call_at(now + longest, self._out_of_time, call)

    def _out_of_time(self, call: Call) -> None:
        """Also where its jobs have all ended, and its code has not."""
        for running in call.members:
            if not running.recorded:
                self._late(running)
        self.stop(call)

    def _given(self, call: Call) -> list[Running]:
        """Right before the handler's first line: those that it is called with."""
        given: list[Running] = []
        for running in call.members:
            if running.recorded:
                continue
            if not self._note_start(running.claim):
                self._say(running, Released(begun=False))
            elif self._is_read(running):
                given.append(running)
        return given

    def _is_read(self, running: Running) -> bool:
        """Whether its data is of today's version, or could be upgraded to it."""
        if running.older is not None:
            try:
                running.job.data = running.known.read(running.claim.data, running.older)
            except Exception as error:
                self._say(running, raised(error))
                return False
        return True

    # -- the handler -----------------------------------------------------------------------------

    async def _run(self, call: Call, handler: Callable[[Any], Any]) -> None:
        outcomes: Outcomes
        try:
            underway.set(Several(call.members[0].claim))
            given = self._given(call)
            self._watch(call)
            value = await handler([running.job for running in given]) if given else None
            outcomes = self._answers(given, value)
        except asyncio.CancelledError as error:
            failed = errored(error)
            outcomes = [(running, interrupted(running) or failed) for running in call.members]
        except BaseException as error:
            # SystemExit and the like end the call, never the worker.
            outcomes = _all(call, error)
        self._end(call, outcomes)

    def _run_thread(self, call: Call, handler: Callable[[Any], Any]) -> None:
        outcomes: Outcomes
        try:
            given = self._given(call)
            jobs = [running.job for running in given]
            value = self._context.copy().run(_call, handler, jobs) if given else None
            outcomes = self._answers(given, value)
        except BaseException as error:
            outcomes = _all(call, error)
        self._on_loop(self._end, call, outcomes)

    def _answers(self, given: Sequence[Running], value: Any) -> Outcomes:
        """What becomes of those that the handler said nothing of, by what it returned."""
        silent = [running for running in given if _silent(running)]
        if not silent:
            return ()
        if value is None or isinstance(value, (Snooze, Cancel)):
            return [(running, self._answer(running, value)) for running in silent]
        if isinstance(value, (list, tuple)) and len(value) == len(given):
            pairs = zip(given, value, strict=True)
            return [(one, self._answer(one, answer)) for one, answer in pairs if _silent(one)]
        wrong = errored(_not_answers(silent[0].claim.type, value, len(given)), retry=False)
        return [(running, wrong) for running in silent]

    def _answer(self, running: Running, answer: Any) -> Outcome:
        """What a handler of this job alone would return, or raise, as an outcome."""
        if isinstance(answer, BaseException):
            return _failed(answer)
        return returned(running.claim.type, running.known.result, answer, self._max_payload)

    def _heard(self, running: Running, answer: Any, delay: float | None) -> None:
        """In any thread: what the handler says of one job."""
        outcome = self._answer(running, answer)
        if delay is not None and isinstance(outcome, Errored):
            outcome = msgspec.structs.replace(outcome, retry=True, delay=delay)
        self._say(running, outcome)

    def _say(self, running: Running, outcome: Outcome) -> None:
        """In any thread."""
        if asyncio._get_running_loop() is self._loop:
            self._conclude(running, outcome)
        else:
            self._on_loop(self._conclude, running, outcome)

    def _on_loop(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            log.warning("a bulk handler ended after its worker's loop; that is not recorded")

    # -- end -------------------------------------------------------------------------------------

    def _end(self, call: Call, outcomes: Outcomes) -> None:
        """On the loop: the call has ended, and with it what was left of its attempts."""
        if call not in self.active:
            return
        self.active.discard(call)
        if call.timer is not None:
            call.timer.cancel()
        for running, outcome in outcomes:
            self._conclude(running, outcome)
        for running in call.members:
            self._conclude(running, Released(begun=False))
            if isinstance(running.job, BulkJob):
                running.job._hear = _deaf  # Or it would keep all of this in memory for a while.
        self._ended(call)
        call.members.clear()

    def interrupt(self, call: Call, running: Running) -> None:
        """One of its attempts is told to stop. Where it is out of time or cancelled it ends, and
        the call goes on for the others."""
        if running.why in ("timeout", "cancel"):
            self._conclude(running, interrupted(running) or Released())
            if call.left:
                return
        self.stop(call)

    def stop(self, call: Call) -> None:
        """Tells the code of a call to end."""
        if call.told:
            return
        call.told = True
        for running in call.members:
            running.job.stop()
        if call.task is not None:
            call.task.cancel()
        elif not call.left:
            log.warning(
                "a call of the bulk handler of %s is overdue: its jobs have ended, its code still"
                " runs and keeps a slot", call.members[0].claim.type,
            )  # fmt: skip

    def stop_all(self) -> None:
        """Tells all to end."""
        for call in list(self.active):
            self.stop(call)

    # -- who asks --------------------------------------------------------------------------------

    @property
    def without_jobs(self) -> int:
        """Calls whose jobs have all ended, though their code has not."""
        return sum(not call.left for call in self.active)

    def waited_for(self, *, coroutines_only: bool) -> bool:
        """Whether a worker that leaves lets some code end of which no job is left."""
        return any(
            not call.left and not (coroutines_only and call.task is None) for call in self.active
        )

    @property
    def in_threads(self) -> int:
        return sum(call.task is None for call in self.active)

    def runs(self, task: asyncio.Task[Any]) -> bool:
        """Whether this is the task of one of them."""
        return any(call.task is task for call in self.active)


class Several:
    """What a log is told of a call: of which type its jobs are, and not which one."""

    id = None
    attempt = None

    def __init__(self, claim: Claim) -> None:
        self.type = claim.type
        self.queue = claim.queue


def _call(handler: Callable[[Any], Any], jobs: list[Any]) -> Any:
    """In a thread."""
    underway.set(Several(jobs[0].claim))
    return handler(jobs)


def _deaf(answer: Any, delay: float | None) -> None:
    """To what is said of a job when its call has ended."""


def _silent(running: Running) -> bool:
    return isinstance(running.job, BulkJob) and running.job.said is None


def _failed(error: BaseException) -> Outcome:
    return raised(error) if isinstance(error, Exception) else errored(error)


def _all(call: Call, error: BaseException) -> Outcomes:
    """A call that raised fails all that it has said nothing of."""
    failed = _failed(error)
    return [(running, failed) for running in call.members if _silent(running)]


def _not_answers(type_: str, value: Any, jobs: int) -> JobTypeError:
    what = type(value).__name__
    if hasattr(type(value), "__await__"):
        return JobTypeError(f"{type_}: the handler returned a {what}: make the handler async def")
    if isinstance(value, (list, tuple)):
        what = f"{what} of {len(value)}"
    return JobTypeError(
        f"{type_}: its bulk handler returned a {what} for {jobs} jobs: return a list with a result"
        " for each of them, in their order; or nothing, and say it of each: job.succeed(result)"
    )
