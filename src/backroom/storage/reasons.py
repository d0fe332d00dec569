"""Why jobs of flows were cancelled, as people read it, whichever storage did it."""

from __future__ import annotations

from backroom.job import State

__all__ = ["doomed", "not_all"]


def doomed(job_id: str, type_: str, state: int) -> str:
    """Of a job whose predecessor did not complete, and of what waits for it."""
    how = "failed" if state == State.FAILED else "was cancelled"
    return f"{type_} {job_id}, which it waited for, {how}"


def not_all(flow_id: str) -> str:
    """Of a callback on success."""
    return f"not all jobs of {flow_id} have completed"
