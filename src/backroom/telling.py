"""What the log of a worker says of attempts: failures always, the others where it is verbose."""

from __future__ import annotations

import logging
from typing import Any, Final

from backroom.job import SECOND, State
from backroom.logs import of_job
from backroom.transition import (
    Cancelled,
    Claim,
    Completed,
    Errored,
    Outcome,
    Released,
    Snoozed,
    Transition,
    Waiting,
)

__all__ = ["talks", "tell", "tell_after"]

logger: Final = logging.getLogger("backroom.job")


def talks() -> bool:
    """Whether the log shall tell of attempts that went well, too."""
    return logger.isEnabledFor(logging.DEBUG)


def tell(claim: Claim, outcome: Outcome, transition: Transition, now: int) -> None:
    """Tells how an attempt ended. One that failed for good comes with its traceback."""
    of = of_job(claim.id, claim.type, transition.attempt, claim.queue)
    if isinstance(outcome, Errored):
        _tell_error(claim, outcome, transition, now, of)
    elif isinstance(outcome, Completed):
        took = (now - (transition.started_at or now)) / SECOND
        logger.debug("%s %s completed in %.3f s", claim.type, claim.id, took, extra=of)
    elif isinstance(outcome, Cancelled):
        logger.debug("%s %s was cancelled: %s", claim.type, claim.id, outcome.reason, extra=of)
    elif isinstance(outcome, Waiting):
        logger.debug("%s %s waits: %s", claim.type, claim.id, outcome.step.said, extra=of)
    else:
        what = type(outcome).__name__.lower()
        logger.debug("%s %s was %s", claim.type, claim.id, what, extra=of)


def tell_after(claim: Claim, outcome: Outcome, final: Transition, now: int) -> None:
    """Tells how code ended that had completed its job within a transaction: that stands."""
    if isinstance(outcome, Completed) and outcome.result in ("null", final.result):
        tell(claim, outcome, final, now)
    elif not isinstance(outcome, Released):
        logger.warning(
            "%s %s stays completed, as job.transaction() has committed it; after that its"
            " handler %s, which counts for nothing",
            claim.type, claim.id, _deed(outcome),
            extra=of_job(claim.id, claim.type, final.attempt, claim.queue),
        )  # fmt: skip


def _deed(outcome: Outcome) -> str:
    if isinstance(outcome, Errored):
        return f"failed ({outcome.kind}: {outcome.message})"
    if isinstance(outcome, (Snoozed, Waiting)):
        return "asked to be run again"
    if isinstance(outcome, Cancelled):
        return f"was cancelled ({outcome.reason})"
    return "returned another result than that of the transaction"


def _tell_error(
    claim: Claim, error: Errored, transition: Transition, now: int, of: dict[str, Any]
) -> None:
    reason = f"{error.kind}: {transition.reason}"
    if transition.state == State.WAITING:
        wait = ((transition.run_at or now) - now) / SECOND
        logger.warning(
            "%s %s: attempt %d failed, again in %.1f s: %s",
            claim.type, claim.id, transition.attempt, wait, reason, extra=of,
        )  # fmt: skip
    else:
        logger.error(
            "%s %s failed after %d attempt%s: %s%s",
            claim.type, claim.id, transition.attempt, "" if transition.attempt == 1 else "s",
            reason, f"\n{error.traceback}" if error.traceback else "", extra=of,
        )  # fmt: skip
