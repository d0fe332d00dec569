"""One attempt that has begun, as its worker keeps it."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec

from backroom.deadlines import Deadlines
from backroom.frames import Ended
from backroom.handle import Job
from backroom.job import FIRST
from backroom.lanes import Lanes
from backroom.outcome import MAX_MESSAGE, clip
from backroom.processes import Died, Execution
from backroom.registry import Known
from backroom.retry import Backoff
from backroom.transition import (
    Cancelled,
    Claim,
    Completed,
    Errored,
    Outcome,
    Policy,
    Released,
    Snoozed,
    Transition,
)

__all__ = ["Call", "Running", "Why", "interrupted", "outcome_of", "policy_of"]

Why = Literal["cancel", "timeout", "release", "lost"]


class Running(msgspec.Struct, eq=False):
    """One attempt that has begun."""

    claim: Claim
    lanes: Lanes
    known: Known
    policy: Policy
    job: Job[Any]
    group: Deadlines[Running]
    task: asyncio.Task[None] | None = None
    """None for a thread, or a child process."""
    execution: Execution | None = None
    """In a child process."""
    why: Why | None = None
    """Why it was told to stop."""
    recorded: bool = False
    """Its outcome is decided, though its code may still run."""
    older: int | None = None
    """The version of its data, where that is to be upgraded first."""
    transacted: bool = False
    """It has had its transaction."""
    completed: Transition | None = None
    """What was committed with that."""
    call: Call | None = None
    """The call of a bulk handler that runs it with others."""

    @property
    def is_thread(self) -> bool:
        """Nothing can end it but itself."""
        return self.task is None and self.execution is None


class Call(msgspec.Struct, eq=False):
    """One call of a bulk handler, over attempts that end one by one."""

    members: list[Running]
    lanes: Lanes
    left: int
    """Attempts of which no outcome is decided."""
    task: asyncio.Task[None] | None = None
    """None: it runs in a thread."""
    timer: asyncio.TimerHandle | None = None
    """Rings when the last of its attempts is out of time."""
    told: bool = False
    """It was told to stop."""


def interrupted(running: Running) -> Outcome | None:
    """The outcome of an attempt that was told to stop, by the reason it was given."""
    if running.why == "timeout":
        return Errored("timeout", f"timed out after {running.policy.timeout:g} s")
    if running.why == "cancel":
        return Cancelled("cancelled by request")
    if running.why in ("release", "lost"):
        return Released()
    return None


def outcome_of(ended: Ended | Died, running: Running) -> Outcome:
    """What a child process said of an attempt; or what its death says."""
    if isinstance(ended, Died):
        if running.why is not None:  # It was killed, since it did not stop when it was told to.
            return Released()  # Or what `why` makes of it.
        message = f"its process {ended.how}"
        kind = "crash" if ended.began else "OSError"
        return Errored(kind, clip(message, MAX_MESSAGE), ended.output or None, crashed=ended.began)
    running.job.saw_stop |= ended.saw_stop
    if ended.failed:
        return Errored(ended.kind, ended.message, ended.traceback, ended.retry, ended.delay)
    if ended.kind == "snoozed":
        return Snoozed(ended.delay or 0.0)
    if ended.kind == "cancelled":
        return Cancelled(ended.message)
    if ended.kind == "interrupted":
        return Released()
    return Completed(ended.result or "null")


class _Said(msgspec.Struct):
    """What the options of a job say to those who run it."""

    retries: int | None = None
    retry_delay: float | None = None
    backoff: Backoff | None = None
    timeout: float | None = None
    version: int = FIRST


_said_decoder = msgspec.json.Decoder(_Said)


def policy_of(policy: Policy, options: str) -> tuple[Policy, int]:
    """How it is retried, and the version of its data."""
    said = _said_decoder.decode(options)
    policy = Policy(
        policy.retries if said.retries is None else said.retries,
        policy.retry_delay if said.retry_delay is None else said.retry_delay,
        policy.backoff if said.backoff is None else said.backoff,
        policy.timeout if said.timeout is None else said.timeout,
    )
    return policy, said.version
