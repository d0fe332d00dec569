"""The seam of durable steps: what the engine asks of a storage that keeps them.

What a job waits for is kept with it, and its `run_at` is the moment until which it waits. So a
signal that comes finds the job by that, and moves it to now in the change that keeps the signal;
and the outcome that puts a job aside looks, in its own change, whether the signal is there already.
"""

from __future__ import annotations

from typing import Protocol

from backroom.errors import JobStateError, LeaseLostError
from backroom.step import MAX_SIGNALS, SignalRecord, StepRecord

__all__ = ["Stepping", "active", "ended", "lost", "too_many"]


class Stepping(Protocol):
    """A storage that keeps the steps of jobs. As with `JobStorage`, every verb may raise
    `StorageError`, and may be called again with the same values where its outcome is unknown.

    Steps and signals stay with their job when it ends, and go with it.
    """

    async def steps_of(self, key: int) -> list[StepRecord]:
        """What is kept of the steps of a job, by number."""
        ...

    async def keep_step(self, key: int, token: int, step: StepRecord) -> None:
        """Keeps a step, durable when it returns, if the lease token stands.

        Raises:
            LeaseLostError: it does not; nothing was kept.
        """
        ...

    async def take_signal(
        self, key: int, token: int, step: StepRecord, now: int
    ) -> StepRecord | None:
        """Ends the wait that `step` is, if it can be ended now: the oldest signal of its name
        becomes its result and is gone; or, where there is none and its `until` has come, it has
        no result. Returns the step as it is kept then; None: it goes on waiting, and nothing was
        changed.

        Raises:
            LeaseLostError: the token does not stand; nothing was taken.
        """
        ...

    async def send_signal(self, job_id: str, signal: SignalRecord, now: int) -> None:
        """Keeps a signal until the job takes it, and wakes the job if that is what it waits for.

        Raises:
            JobNotFoundError. JobStateError: the job has ended, or `MAX_SIGNALS` wait for it.
        """
        ...


def lost() -> LeaseLostError:
    """What an attempt is told that may not keep its steps any more."""
    return LeaseLostError(
        "this attempt may not keep its steps any more, its lease has ended: the job belongs to"
        " another worker"
    )


def ended(job_id: str) -> JobStateError:
    """What who sends a signal to a job is told that has ended."""
    return JobStateError(f"job {job_id} has ended, and takes no signal any more: none was kept")


def too_many(job_id: str) -> JobStateError:
    """What who sends one signal more is told."""
    return JobStateError(
        f"{MAX_SIGNALS} signals wait for job {job_id} already, which takes them one by one with"
        " job.wait_for: this one was not kept; send what belongs together as one signal"
    )


def active(job_id: str) -> JobStateError:
    """What who would forget steps of a job that runs is told."""
    return JobStateError(f"job {job_id} is active; cancel it, or wait for its end")
