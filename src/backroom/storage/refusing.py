"""Why a job cannot be changed, whichever storage says so."""

from __future__ import annotations

from backroom.job import State

__all__ = ["busy", "why_not_rearranged"]


def busy(job_id: str) -> str:
    """Of one that waits, and that others were at each time."""
    return f"job {job_id} is being changed by others just now; ask again"


def why_not_rearranged(job_id: str, state: State) -> str:
    """Of one that was to get another moment or priority."""
    if state is State.ACTIVE:
        return (
            f"job {job_id} is active: a worker holds it already, and may begin it any moment;"
            " cancel it, or wait for its end"
        )
    if state in (State.COMPLETED, State.FAILED, State.CANCELLED):
        return f"job {job_id} has ended ({state.name.lower()}); retry it: then it runs at once"
    return (
        f"job {job_id} would expire before that moment; give it an earlier one, or schedule it"
        " anew with another expires_in"
    )
