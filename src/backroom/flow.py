"""Workflows and batches as frozen values: jobs that wait for jobs.

A *flow* is either. Its members are jobs; an edge leads from one that is waited for to one that
waits. A batch is a flow without edges. Callbacks wait for the flow as a whole; undo jobs are made
when a flow has failed, and take back what had completed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Final, Literal, TypeAlias

import msgspec

from backroom.job import JobId, JobRecord, JobStatus, to_datetime

__all__ = [
    "KINDS",
    "POLICIES",
    "Counts",
    "FlowKind",
    "FlowRecord",
    "FlowView",
    "Kept",
    "Member",
    "OnFailure",
    "Piece",
    "Predecessor",
    "Role",
    "WorkflowInfo",
    "WorkflowJob",
    "WorkflowPage",
    "WorkflowStatus",
    "kept",
    "made_now",
    "told",
]

FlowKind: TypeAlias = Literal["workflow", "batch"]
KINDS: Final[tuple[FlowKind, ...]] = ("workflow", "batch")
OnFailure: TypeAlias = Literal["stop", "continue", "compensate"]
"""What becomes of the jobs that wait for one that failed, or was cancelled: they are cancelled;
they run all the same; or they are cancelled, and what had completed is undone."""
POLICIES: Final[tuple[OnFailure, ...]] = ("stop", "continue", "compensate")
"""A storage keeps the index into these tuples."""


class Role(IntEnum):
    """What a job is to its flow."""

    JOB = 0
    CALLBACK = 1
    """Waits for all jobs of the flow."""
    UNDO = 2
    """Takes back what another one did."""


class WorkflowStatus(StrEnum):
    """How a flow stands; a `str`, so `status == "failed"` works."""

    RUNNING = "running"
    UNDOING = "undoing"
    """It has failed, and what had completed is being taken back."""
    COMPLETED = "completed"
    """All of its jobs."""
    FAILED = "failed"
    """At least one of its jobs has failed, and all have ended."""
    CANCELLED = "cancelled"
    """None has failed, at least one was cancelled, and all have ended."""

    @property
    def ended(self) -> bool:
        """Whether nothing more happens unless somebody asks for it."""
        return self not in {WorkflowStatus.RUNNING, WorkflowStatus.UNDOING}


class FlowRecord(msgspec.Struct, frozen=True):
    """A flow as a storage is asked to keep it."""

    id: str
    name: str
    kind: FlowKind
    on_failure: OnFailure
    created_at: int


class Member(msgspec.Struct, frozen=True):
    """A job of a flow as a storage is asked to keep it."""

    record: JobRecord
    role: Role = Role.JOB
    anyway: bool = False
    """It runs when all it waits for has ended, whichever way; else it is cancelled where one of
    these did not complete."""
    undo: JobRecord | None = None
    """The job that takes back what this one did, to be made if it comes to that."""


def made_now(undo: JobRecord, now: int) -> JobRecord:
    """An undo job, as it is made when it comes to that: it is due then, and expires as long after
    that as was said."""
    expires_at = undo.expires_at
    return msgspec.structs.replace(
        undo, run_at=now, created_at=now,
        expires_at=None if expires_at is None else now + expires_at - undo.created_at,
    )  # fmt: skip


class Piece(msgspec.Struct, frozen=True):
    """Members that are kept together or not at all."""

    members: Sequence[Member]
    edges: Sequence[tuple[str, str]]
    """The id of the one that is waited for, the id of the one that waits. Every edge has at least
    one end in `members`."""


class Counts(msgspec.Struct, frozen=True):
    """How a flow stands, by its jobs."""

    jobs: int
    """Those of the flow itself, without callbacks and undo jobs."""
    left: int
    """Of these, those that have not ended."""
    after: int
    """Callbacks and undo jobs that have not ended."""
    completed: int
    failed: int
    cancelled: int
    undone: bool = False
    """What had completed has been taken back, or is being."""

    @property
    def status(self) -> WorkflowStatus:
        if self.after and self.undone and not self.left:
            return WorkflowStatus.UNDOING
        if self.left or self.after:
            return WorkflowStatus.RUNNING
        if self.failed:
            return WorkflowStatus.FAILED
        return WorkflowStatus.CANCELLED if self.cancelled else WorkflowStatus.COMPLETED


class Kept(msgspec.Struct, frozen=True):
    """A flow as a storage keeps it."""

    record: FlowRecord
    counts: Counts
    finished_at: int | None = None


def kept(id_: str, name: str, kind: int, on_failure: int, created_at: int, *rest: Any) -> Kept:
    """From the columns of a storage; `rest`: the counts, and when it finished."""
    *counts, finished_at = rest
    record = FlowRecord(id_, name, KINDS[kind], POLICIES[on_failure], created_at)
    return Kept(record, Counts(*counts), finished_at)


class FlowView(msgspec.Struct, frozen=True):
    """A flow as a graph."""

    kept: Kept
    jobs: Sequence[tuple[str, str, JobStatus, int, str | None]]
    """Id, type, status, role, error; in the order in which they were added."""
    edges: Sequence[tuple[str, str]]
    """Between these jobs: who is waited for, who waits."""


class Predecessor(msgspec.Struct, frozen=True):
    """A job that another one has waited for."""

    id: JobId[Any]
    type: str
    status: JobStatus
    result: str | None
    """JSON, if it completed."""
    error: str | None


class WorkflowJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job of a workflow, as people see it."""

    id: JobId[Any]
    type: str
    status: JobStatus
    role: Literal["job", "callback", "undo"] = "job"
    after: tuple[JobId[Any], ...] = ()
    """What it waits for, or waited for; a callback waits for all jobs."""
    error: str | None = None


class WorkflowInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow, or a batch, as people see it at one moment."""

    id: str
    name: str
    kind: FlowKind
    on_failure: OnFailure
    status: WorkflowStatus
    created_at: datetime
    finished_at: datetime | None = None
    total: int = 0
    """Its jobs, without callbacks and undo jobs."""
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    left: int = 0
    """Jobs that have not ended."""
    jobs: tuple[WorkflowJob, ...] = ()
    """In the order in which they were added, undo jobs last; the first 10,000. Only from
    `get_workflow`."""


class WorkflowPage(Sequence[WorkflowInfo]):
    """Workflows and batches, newest first. `cursor` asks for the next page; None on the last."""

    __slots__ = ("_infos", "cursor")

    def __init__(self, infos: Sequence[WorkflowInfo], cursor: str | None = None) -> None:
        self._infos = tuple(infos)
        self.cursor = cursor

    def __iter__(self) -> Iterator[WorkflowInfo]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def __getitem__(self, index: Any) -> Any:
        return self._infos[index]

    def __repr__(self) -> str:
        return f"WorkflowPage({len(self._infos)} workflows, cursor={self.cursor!r})"


def told(kept: Kept, view: FlowView | None = None) -> WorkflowInfo:
    """What people see of a flow; with `view` also its jobs."""
    record, counts = kept.record, kept.counts
    return WorkflowInfo(
        id=record.id,
        name=record.name,
        kind=record.kind,
        on_failure=record.on_failure,
        status=counts.status,
        created_at=to_datetime(record.created_at),
        finished_at=None if kept.finished_at is None else to_datetime(kept.finished_at),
        total=counts.jobs,
        completed=counts.completed,
        failed=counts.failed,
        cancelled=counts.cancelled,
        left=counts.left,
        jobs=() if view is None else _jobs(view),
    )


def _jobs(view: FlowView) -> tuple[WorkflowJob, ...]:
    after: dict[str, list[JobId[Any]]] = {}
    for parent, child in view.edges:
        after.setdefault(child, []).append(JobId(parent))
    return tuple(
        WorkflowJob(
            id=JobId(id_), type=type_, status=status, role=_ROLES[role],
            after=tuple(after.get(id_, ())), error=error,
        )
        for id_, type_, status, role, error in sorted(view.jobs, key=_is_undo)
    )  # fmt: skip


def _is_undo(job: tuple[str, str, JobStatus, int, str | None]) -> bool:
    return job[3] == Role.UNDO


_ROLES: Final[tuple[Literal["job", "callback", "undo"], ...]] = ("job", "callback", "undo")
