"""What becomes of a job after an attempt: pure decisions, no clock, no chance, no I/O.

The runner reports an `Outcome`; `decide` turns it into a `Transition`, which a storage applies
if, and only if, the claim's lease token still stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from backroom.job import SECOND, JobRecord, State, duration
from backroom.retry import Backoff
from backroom.step import StepRecord
from backroom.tie import is_tied

__all__ = [
    "MAX_CRASHES",
    "Cancelled",
    "Claim",
    "Completed",
    "Errored",
    "Expired",
    "Failure",
    "Outcome",
    "Parked",
    "Policy",
    "Released",
    "Snoozed",
    "Transition",
    "Waiting",
    "decide",
    "hopeless",
]

MAX_CRASHES: Final = 3
"""After so many deaths of a worker under it, a job is poison, whatever retries remain."""


class Claim(msgspec.Struct, array_like=True, gc=False):
    """The right to run one attempt of a job, as a storage hands it out."""

    key: int
    """The storage's own number of the job; grows with insertion."""
    token: int
    """The lease token: grows with every claim of the job, and fences every write."""
    id: str
    type: str
    queue: str
    priority: int
    run_at: int
    created_at: int
    data: str
    options: str | None
    expires_at: int | None
    attempt: int = 0
    """Attempts charged before this one."""
    crashes: int = 0
    budget: int = 0
    """Attempts that do not count any more, since an operator granted a fresh budget."""

    @property
    def tied(self) -> bool:
        """Whether something may hang on the job."""
        return is_tied(self.options)


class Policy(msgspec.Struct, frozen=True):
    """How a job is retried, resolved from the call, the job type and the service."""

    retries: int
    retry_delay: float
    backoff: Backoff | Callable[[int], float]
    timeout: float


class Completed(msgspec.Struct, frozen=True, gc=False):
    """The handler returned; `result` is JSON text."""

    result: str


class Errored(msgspec.Struct, frozen=True, gc=False):
    """The attempt failed."""

    kind: str
    message: str
    traceback: str | None = None
    retry: bool = True
    delay: float | None = None
    """Seconds until the retry, where the handler said so."""
    crashed: bool = False
    """It took its process with it: counted apart from errors."""


class Snoozed(msgspec.Struct, frozen=True, gc=False):
    """Not now: again after `delay` seconds."""

    delay: float


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    """Stopped by a person, or by its own handler."""

    reason: str


class Expired(msgspec.Struct, frozen=True, gc=False):
    """Its time to start had passed before it was started."""


class Released(msgspec.Struct, frozen=True, gc=False):
    """The worker goes: another one shall run it, as if this attempt had not been."""

    begun: bool = True
    """Its code had begun: a job that began in time does not expire."""


class Parked(msgspec.Struct, frozen=True, gc=False):
    """This worker does not know the job's type: it waits for one that does."""


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """Its handler waits: it is run again from its beginning when this step is over."""

    step: StepRecord


Outcome = Completed | Errored | Snoozed | Cancelled | Expired | Released | Parked | Waiting


class Failure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A failed attempt, as it is kept with the job."""

    attempt: int
    at: int
    kind: str
    message: str
    traceback: str | None


class Transition(msgspec.Struct, array_like=True, gc=False):
    """The next state of a job. Encodes as a JSON array in this order.

    Build one with a name: `Transition.completed(...)`, `.retry(...)`, `.snoozed(...)`.
    """

    key: int
    token: int
    state: int
    run_at: int | None
    """None: as it was."""
    attempt: int
    started_at: int | None
    finished_at: int | None
    result: str | None
    reason: str | None
    """The text of the error or cancellation that people see."""
    failure: Failure | None = None
    progress: float | None = None
    progress_message: str | None = None
    log: list[tuple[int, str, str]] | None = None
    """Lines since the last report: moment, level, message."""
    crashed: int = 0
    """1 where the attempt took its process with it."""
    step: StepRecord | None = None
    """What it waits for, until `run_at`. Where that is a signal which is there already, it does
    not wait."""
    tied: bool = False
    """Whether something may hang on the job, which is to be loosened in the same change."""
    options: str | None = None
    """What the job is kept with from now on, where it waits again; None: as it was."""
    follows: list[JobRecord] | None = None
    """Jobs that are made in the same change, if it stands; none of them has a unique key."""

    @classmethod
    def completed(cls, claim: Claim, started_at: int, now: int, result: str) -> Transition:
        return cls(
            claim.key, claim.token, 2, None, claim.attempt + 1, started_at, now, result, None,
            tied=claim.tied,
        )  # fmt: skip

    @classmethod
    def retry(cls, claim: Claim, started_at: int, at: int, failure: Failure) -> Transition:
        return cls(
            claim.key, claim.token, State.WAITING, at, claim.attempt + 1,
            started_at, None, None, failure.message, failure, tied=claim.tied,
        )  # fmt: skip

    @classmethod
    def failed(
        cls, claim: Claim, started_at: int | None, now: int, attempt: int, failure: Failure
    ) -> Transition:
        return cls(
            claim.key, claim.token, State.FAILED, None, attempt,
            started_at, now, None, failure.message, failure, tied=claim.tied,
        )  # fmt: skip

    @classmethod
    def snoozed(cls, claim: Claim, started_at: int, until: int) -> Transition:
        return cls(
            claim.key, claim.token, State.WAITING, until, claim.attempt,
            started_at, None, None, None, tied=claim.tied,
        )  # fmt: skip

    @classmethod
    def waiting(cls, claim: Claim, started_at: int, step: StepRecord) -> Transition:
        """`step`: with an `until`."""
        transition = cls.snoozed(claim, started_at, step.until or 0)
        transition.step = step
        return transition

    @classmethod
    def cancelled(cls, claim: Claim, started_at: int | None, now: int, reason: str) -> Transition:
        charged = claim.attempt + (started_at is not None)
        return cls(
            claim.key, claim.token, State.CANCELLED, None, charged, started_at, now, None, reason,
            tied=claim.tied,
        )  # fmt: skip

    @classmethod
    def released(
        cls, claim: Claim, started_at: int | None = None, options: str | None = None
    ) -> Transition:
        """`started_at`: when user code began; a job that has begun in time does not expire."""
        return cls(
            claim.key, claim.token, State.WAITING, None, claim.attempt, started_at, None, None,
            None, tied=claim.tied or is_tied(options), options=options,
        )  # fmt: skip

    def unkept(self, now: int) -> Transition:
        """What stands for an outcome that a storage cannot write, whatever it is in it."""
        reason = "what became of this attempt could not be written; the worker's log says why"
        return Transition(
            self.key, self.token, State.FAILED, None, self.attempt, self.started_at, now, None,
            reason, Failure(self.attempt, now, "StorageError", reason, None), tied=self.tied,
        )  # fmt: skip

    @classmethod
    def parked(cls, claim: Claim) -> Transition:
        return cls(
            claim.key, claim.token, State.PARKED, None, claim.attempt, None, None, None, None,
            tied=claim.tied,
        )  # fmt: skip


def hopeless(claim: Claim, policy: Policy) -> Errored | None:
    """Why this claim must not run at all: workers died under the job too often, or the retries
    that it waited for are not granted any more.

    A crash is charged when the job is reclaimed; whether that was its last attempt is known
    only here, where the policy is. That policy may also have fewer retries than the one under
    which the job was told to wait.
    """
    if claim.crashes >= MAX_CRASHES:
        return Errored(
            "crash",
            f"poison: {claim.crashes} workers died while they ran this job",
            retry=False,
        )
    made = claim.attempt - claim.budget
    if made <= policy.retries:
        return None
    if claim.crashes:
        return Errored(
            "crash",
            f"the worker died during attempt {claim.attempt}, and no attempt is left",
            retry=False,
        )
    return Errored(
        "exhausted",
        f"no attempt is left: {made} {'was' if made == 1 else 'were'} made, and retries is"
        f" {policy.retries} now",
        retry=False,
    )


def decide(
    claim: Claim,
    outcome: Outcome,
    now: int,
    policy: Policy,
    *,
    started_at: int | None,
    chance: float = 0.0,
) -> Transition:
    """What becomes of a job.

    Args:
        now: the moment of the decision.
        started_at: when user code began; None if it never did.
        chance: in [0, 1), spreads retries.

    Raises:
        OptionError: a backoff function returned no duration; or what that function raised.
    """
    if isinstance(outcome, Completed):
        return Transition.completed(claim, started_at or now, now, outcome.result)
    if isinstance(outcome, Errored):
        return _after_error(claim, outcome, now, policy, started_at, chance)
    if isinstance(outcome, Snoozed):
        until = now + round(outcome.delay * SECOND)
        return Transition.snoozed(claim, started_at or now, until)
    if isinstance(outcome, Waiting):
        return Transition.waiting(claim, started_at or now, outcome.step)
    if isinstance(outcome, Cancelled):
        return Transition.cancelled(claim, started_at, now, outcome.reason)
    if isinstance(outcome, Expired):
        return Transition.cancelled(claim, None, now, "expired before it started")
    if isinstance(outcome, Parked):
        return Transition.parked(claim)
    return Transition.released(claim, started_at if outcome.begun else None)


def _after_error(
    claim: Claim, error: Errored, now: int, policy: Policy, started_at: int | None, chance: float
) -> Transition:
    attempt = claim.attempt + (started_at is not None)
    failure = Failure(attempt, now, error.kind, error.message, error.traceback)
    if error.crashed:
        return _after_crash(claim, error, now, policy, started_at, chance, failure)
    used = attempt - claim.budget
    if not error.retry or started_at is None or used > policy.retries:
        return Transition.failed(claim, started_at, now, attempt, failure)
    if error.delay is not None:
        wait = error.delay
    elif isinstance(policy.backoff, Backoff):
        wait = policy.backoff.wait(used, policy.retry_delay, chance)
    else:
        wait = duration("what the backoff function returned", policy.backoff(used))
    return Transition.retry(claim, started_at, now + round(wait * SECOND), failure)


def _after_crash(
    claim: Claim,
    error: Errored,
    now: int,
    policy: Policy,
    started_at: int | None,
    chance: float,
    failure: Failure,
) -> Transition:
    """Like any error, but that so many crashes fail the job whatever retries remain."""
    crashes = claim.crashes + 1
    if crashes >= MAX_CRASHES:
        message = f"poison: {crashes} processes died while they ran this job; {error.message}"
        failure = msgspec.structs.replace(failure, message=message)
        error = msgspec.structs.replace(error, retry=False)
    plain = msgspec.structs.replace(error, crashed=False, message=failure.message)
    transition = _after_error(claim, plain, now, policy, started_at, chance)
    transition.crashed = 1
    return transition
