"""The seam of workflows: what the engine asks of a storage that keeps jobs which wait for jobs.

A job that waits for others is in no range that claims read. The change that ends the last one it
waits for puts it there; the one that ends a job without its having completed cancels, in the same
change, all that waited for it; and the one that ends the last job of a flow lets its callbacks go,
or makes its undo jobs. Nothing polls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from backroom.errors import DuplicateJobError, JobStateError, WorkflowNotFoundError
from backroom.flow import FlowRecord, FlowView, Kept, Piece, Predecessor
from backroom.job import JobRecord, State

__all__ = [
    "Flowing",
    "belongs",
    "followed",
    "key_held",
    "keyed",
    "no_flow",
    "not_undone",
    "on_its_way",
    "other_jobs",
    "stranger",
    "told_to_stop",
    "too_late",
    "why_barred",
]


class Flowing(Protocol):
    """A storage that keeps flows. As with `JobStorage`, every verb may raise `StorageError`, and
    may be called again with the same values where its outcome is unknown."""

    async def insert_flow(self, flow: FlowRecord, piece: Piece, now: int) -> None:
        """Keeps a flow with all its jobs, or nothing. An id that is there already is that same
        flow. Jobs that have a unique key say `on_conflict="raise"`.

        Raises:
            DuplicateJobError: another job holds one of their keys, or two of them have the same.
        """
        ...

    async def extend_flow(self, piece: Piece, key: int, token: int, now: int) -> None:
        """Adds members to the flow of a job that is running, if its lease token stands; parents
        that are no members of `piece` are jobs of the flow. What waits for the running job waits
        for those of `piece` that nothing else waits for, too, unless one of these waits for it.
        Members that are there already are those same.

        Raises:
            LeaseLostError: it does not. JobStateError: a parent is none of its flow, or has ended
                without completing. DuplicateJobError: as `insert_flow`. Nothing was added then.
        """
        ...

    async def flow(self, flow_id: str, now: int, limit: int) -> FlowView | None:
        """One with its first `limit` jobs, or none."""
        ...

    async def flows(self, limit: int, before: str | None) -> list[Kept]:
        """Newest first, from behind the one of this id."""
        ...

    async def open_flows(self) -> int:
        """How many have not ended."""
        ...

    async def cancel_flow(self, flow_id: str, now: int) -> int:
        """Cancels its jobs that wait, and asks for it where they run; how many. Callbacks and undo
        jobs are left alone.

        Raises:
            WorkflowNotFoundError
        """
        ...

    async def retry_flow(self, flow_id: str, now: int) -> int:
        """Its jobs that failed, or were cancelled by people or themselves, run again with a fresh
        budget, and what was cancelled for them waits again; how many run again.

        Raises:
            WorkflowNotFoundError. JobStateError: it was undone; or another job holds the unique
                key of one that would run or wait again. Nothing was changed then.
        """
        ...

    async def predecessors(
        self, key: int, type_: str | None, after: str | None, limit: int
    ) -> list[Predecessor]:
        """The next jobs that this one has waited for, behind the one of that id, in the order in
        which they were added: of a callback all jobs of its flow, of an undo job the one that it
        takes back. `type_`: only those of this type."""
        ...


def followed(
    piece: Piece, found: Mapping[str, tuple[object, int | None]], flow: object
) -> dict[str, bool] | None:
    """Of the jobs that are there already and that new ones wait for: whether each has completed.
    None: an earlier call has kept the new ones, and its answer was lost. `found`: of the ids that
    the piece names, those that are there, with their flow and state.

    Raises: JobStateError.
    """
    new = {member.record.id for member in piece.members}
    if new & found.keys():
        if not new <= found.keys():
            raise other_jobs()
        return None
    there: dict[str, bool] = {}
    for id_ in {parent for parent, _ in piece.edges} - new:
        its, state = found.get(id_, (None, None))
        if its != flow or state in (State.FAILED, State.CANCELLED):
            raise stranger(id_)
        there[id_] = state == State.COMPLETED
    return there


def keyed(piece: Piece) -> list[JobRecord]:
    """Its jobs that have a unique key.

    Raises:
        DuplicateJobError: two have the same.
    """
    by_name: dict[tuple[str, str], JobRecord] = {}
    for job in (member.record for member in piece.members):
        if job.unique_key is None:
            continue
        other = by_name.setdefault((job.type, job.unique_key), job)
        if other is not job:
            raise DuplicateJobError(
                f"{other.type} {other.id} and {job.type} {job.id} of one workflow have the same"
                f" unique key {job.unique_key!r}; nothing was kept",
                other.id,
            )
    return list(by_name.values())


def key_held(type_: str, job_id: str, key: str, holder: str | None) -> JobStateError:
    """What who would retry jobs is told where one of them does not get its unique key again."""
    return JobStateError(
        f"{type_} {job_id} cannot run again: {'another job' if holder is None else f'job {holder}'}"
        f" holds its unique key {key!r}; nothing was retried"
    )


def no_flow(flow_id: str) -> WorkflowNotFoundError:
    """What who asks for it is told."""
    return WorkflowNotFoundError(f"no workflow has the id {flow_id!r}")


def belongs(job_id: str, flow_id: str) -> JobStateError:
    """What who would delete a job of a flow is told that has not ended."""
    return JobStateError(
        f"job {job_id} belongs to workflow {flow_id}, which has not ended: cancel that before you"
        " delete its jobs"
    )


def on_its_way(job_id: str) -> JobStateError:
    """What who would change a job is told whose flow is between two stores."""
    return JobStateError(
        f"job {job_id} belongs to a workflow that is on its way from or to another storage: it can"
        " be changed where it arrives, once `backroom move` has ended; if that was interrupted,"
        " run it again"
    )


def why_barred(job_id: str, flow_id: str | None, undone: bool) -> JobStateError:
    """What who would retry a job is told that may not run again: its flow has gone (None), or was
    undone, or its predecessors have not completed."""
    if flow_id is None:
        return JobStateError(
            f"job {job_id} belongs to a workflow that ended so long ago that it is not kept any"
            " more, and its jobs go with it: begin a new one"
        )
    if undone:
        return not_undone(flow_id)
    return JobStateError(
        f"job {job_id} waits for a job of its workflow that failed or was cancelled: retry that"
        " one, and this one waits again; or retry the workflow"
    )


def not_undone(flow_id: str) -> JobStateError:
    """What who would retry jobs of a flow is told of which nothing is left."""
    return JobStateError(
        f"workflow {flow_id} has been undone: what its jobs did is taken back; begin a new one"
    )


def stranger(job_id: str) -> JobStateError:
    """What who adds a job that waits for another one's flow is told."""
    return JobStateError(
        f"job {job_id} is no job of this workflow, or has ended without completing: a job can wait"
        " for jobs of its own workflow that completed, or still may; nothing was added"
    )


def other_jobs() -> JobStateError:
    """What an attempt is told that adds other jobs than an earlier one has added."""
    return JobStateError(
        "an earlier attempt of this job has added other jobs to its workflow: what a handler adds"
        " has to follow from its data, or from what it keeps by job.step; nothing was added"
    )


def told_to_stop() -> JobStateError:
    """What a job is told that people have cancelled, alone or with its flow, and that would add
    to it."""
    return JobStateError(
        "this job was cancelled while it ran, alone or with its workflow, and cannot add jobs to it"
        " any more: nothing was added"
    )


def too_late() -> JobStateError:
    """What a callback or an undo job is told that would add to its flow."""
    return JobStateError(
        "a callback or an undo job runs when its workflow has ended, and cannot add jobs to it:"
        " begin a new one"
    )
