"""A workflow while it is being said: jobs, and which of them wait for which."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any, Final, Generic, TypeAlias, TypeVar, Unpack, overload

import msgspec

from backroom.errors import ConfigurationError, OptionError, ServiceError
from backroom.flow import FlowKind, Member, OnFailure, Piece, Role
from backroom.job import JobId, JobOptions, JobRecord
from backroom.options import check_name
from backroom.registry import JobType
from backroom.scheduling import JobRequest, RecordMaker
from backroom.tie import tied
from backroom.transactions import PreparedFlow

__all__ = ["MAX_EDGES", "MAX_JOBS", "After", "FlowJob", "Workflow", "check_flow_name", "made_again"]

T = TypeVar("T")
R = TypeVar("R")

MAX_JOBS: Final = 100_000
"""Jobs that are added at once."""
MAX_EDGES: Final = 1_000_000
MAX_BLOCKS: Final = 63
"""In which one attempt adds jobs to its workflow."""


class FlowJob(Generic[R]):
    """A job of a workflow, to be said as `after=` of others. `id` is that of the job."""

    __slots__ = ("_flow", "id", "type")

    def __init__(self, flow: Workflow, id_: JobId[R], type_: str) -> None:
        self._flow = flow
        self.id = id_
        self.type = type_

    def __repr__(self) -> str:
        return f"<FlowJob {self.type} {self.id}>"


After: TypeAlias = "FlowJob[Any] | Iterable[FlowJob[Any]] | None"
"""What a job waits for."""


class Workflow:
    """Jobs that are kept together at the end of an `async with` block, or not at all: an exception
    in it leaves nothing behind.

    `id` is that of the workflow.

    Raises, at the end of the block:
        OptionError: some jobs wait for each other.
        DuplicateJobError: another job holds the unique key of one of them (its `job_id`), or two
            of them have the same. Nothing was kept.
    """

    def __init__(
        self,
        flow_id: str,
        kind: FlowKind,
        on_failure: OnFailure,
        records: RecordMaker,
        now: Callable[[], int],
        put: Callable[[Workflow, Piece], Awaitable[PreparedFlow | None]],
        *,
        begin: Callable[[], Awaitable[None]],
        make_id: Callable[[int], str] | None = None,
    ) -> None:
        """`put` keeps it, or where it is to be written along a connection of the application's,
        prepares that; `begin` makes ready for it. `make_id`: of its jobs, from how many there
        are; None: those of the records."""
        self.id = flow_id
        self.kind = kind
        self.on_failure = on_failure
        self._records = records
        self._now = now
        self._put = put
        self._begin = begin
        self._make_id = make_id
        self._members: dict[str, Member] = {}
        self._edges: dict[tuple[str, str], None] = {}
        self._callbacks: list[tuple[JobRequest[Any], bool]] = []
        self._begun = self._closed = False

    # -- say -------------------------------------------------------------------------------------

    @overload
    def add(
        self, type: JobType[T, R], data: T, /, *, after: After = (), anyway: bool | None = None,
        undo: JobRequest[Any] | None = None, **options: Unpack[JobOptions],
    ) -> FlowJob[R]: ...  # fmt: skip
    @overload
    def add(
        self, type: str, data: Mapping[str, Any] | None = None, /, *, after: After = (),
        anyway: bool | None = None, undo: JobRequest[Any] | None = None,
        **options: Unpack[JobOptions],
    ) -> FlowJob[Any]: ...  # fmt: skip
    def add(
        self,
        type: Any,
        data: Any = None,
        /,
        *,
        after: After = (),
        anyway: bool | None = None,
        undo: JobRequest[Any] | None = None,
        **options: Any,
    ) -> FlowJob[Any]:
        """A job of this workflow; `type`, `data` and the options are those of `schedule`.

        Args:
            after: the jobs of this workflow that have to complete before it runs.
            anyway: whether it runs also where some of these failed or were cancelled, once all
                have ended. Default: no; in a workflow with `on_failure="continue"`, yes.
            undo: the job that takes back what this one did, in a workflow with
                `on_failure="compensate"`. Its handler reads the result of this one by
                `job.result_of`.

        Raises:
            UnknownJobTypeError, JobTypeError, OptionError, PayloadTooLargeError: it was not added,
                and the message says what to mend. So of a unique key that does not say
                `on_conflict="raise"`.
            ServiceError: the block has ended.
        """
        record = self._record(type, data, options)
        said = Member(record, Role.JOB, self._anyway(anyway), self._undo(undo))
        parents = self._parents(record, after)
        if self.kind == "batch" and parents:
            raise OptionError(
                f"{record.type}: the jobs of a batch wait for nothing; use service.workflow(...)"
                " for jobs that wait for others"
            )
        self._check_room(len(parents))
        self._members[record.id] = said
        self._edges.update(((parent, record.id), None) for parent in parents)
        return FlowJob(self, JobId(record.id), record.type)

    def group(self, requests: Iterable[JobRequest[R]], *, after: After = ()) -> list[FlowJob[R]]:
        """A job for each request, which run side by side."""
        parents = _listed(after)
        return [
            self.add(one.type, one.data, after=parents, **one.options)
            for one in _requests(requests)
        ]

    def chain(self, *requests: JobRequest[Any], after: After = ()) -> list[FlowJob[Any]]:
        """A job for each request, each of which waits for the one before."""
        jobs: list[FlowJob[Any]] = []
        for one in _requests(requests):
            jobs.append(self.add(one.type, one.data, after=jobs[-1:] or after, **one.options))
        return jobs

    def order(self, *jobs: FlowJob[Any]) -> None:
        """Each of these waits for the one before it, beside what it waits for already.

        Raises:
            OptionError: one is no job of this block. That it waits for itself in the end is said
                at the end of the block.
        """
        for parent, child in pairwise(jobs):
            for job in (parent, child):
                self._check_mine("order", job)
                if job.id not in self._members:
                    raise OptionError(f"order: {job!r} is there already; say after= of new jobs")
            self._check_room(1)
            self._edges[parent.id, child.id] = None

    def job(self, job_id: JobId[R]) -> FlowJob[R]:
        """A job that this workflow has already, for `after=`; whether it has is said at the end of
        the block.

        Raises:
            OptionError: this workflow is new; only `service.extend_workflow` adds to one.
        """
        if self._make_id is None:
            raise OptionError(
                f"job {job_id}: a workflow that is new has no jobs but those of add()"
            )
        return FlowJob(self, job_id, "job")

    def callback(self, what: str, request: JobRequest[Any] | None, anyway: bool) -> None:
        """A job that waits for all others; checked here, and made when they are known."""
        if request is not None:
            one = _request(what, request)
            self._record(one.type, one.data, one.options)
            self._callbacks.append((one, anyway))

    # -- check -----------------------------------------------------------------------------------

    def _record(self, type_: Any, data: Any, options: Mapping[str, Any]) -> JobRecord:
        if not self._begun:
            raise ServiceError(
                "a workflow takes jobs within its block, and keeps them at its end: write"
                " `async with service.workflow(...) as flow:`, without asyncio `with`"
            )
        if self._closed:
            raise ServiceError(
                f"workflow {self.id} is kept already: add jobs within its block, or from a handler"
                " of one of its jobs with service.extend_workflow(job)"
            )
        record = self._made(type_, data, options)
        raises = record.hold is not None and record.hold.on_conflict == "raise"
        if record.unique_key is not None and not raises:
            raise OptionError(
                f"{record.type}: where another job holds the unique key of a job of a workflow, the"
                " whole is refused, since that one would not be of the workflow: say so, as in"
                ' unique=Unique(..., on_conflict="raise")'
            )
        if self._make_id is None:
            return record
        return msgspec.structs.replace(record, id=self._make_id(len(self._members)))

    def _made(self, type_: Any, data: Any, options: Mapping[str, Any]) -> JobRecord:
        record = self._records.make(type_, data, options, self._now())
        return msgspec.structs.replace(record, options=tied(record.options, workflow=self.id))

    def _anyway(self, anyway: bool | None) -> bool:
        if anyway is None:
            return self.on_failure == "continue"
        if not isinstance(anyway, bool):
            raise OptionError(f"anyway must be True or False, got {anyway!r}")
        return anyway

    def _undo(self, request: JobRequest[Any] | None) -> JobRecord | None:
        if request is None:
            return None
        if self.on_failure != "compensate":
            raise OptionError(
                f"undo: nothing is undone in a workflow with on_failure={self.on_failure!r}; say"
                ' service.workflow(..., on_failure="compensate")'
            )
        one = _request("undo", request)
        record = self._made(one.type, one.data, one.options)
        if record.unique_key is not None:
            raise OptionError(
                f"undo: {record.type}: an undo job has no unique key: it is made when the workflow"
                " has failed, and nobody could be told that another job holds it; say a type"
                " without one"
            )
        return record

    def _parents(self, record: JobRecord, after: After) -> list[str]:
        parents = _listed(after)
        for job in parents:
            self._check_mine(record.type, job)
        return list(dict.fromkeys(str(job.id) for job in parents))

    def _check_mine(self, what: str, job: object) -> None:
        if not isinstance(job, FlowJob):
            raise OptionError(
                f"{what}: after= takes what add() of this workflow returned, got {job!r}"
            )
        if job._flow is not self:
            raise OptionError(
                f"{what}: {job!r} belongs to another workflow: a job waits for jobs of its own one"
            )

    def _check_room(self, edges: int) -> None:
        if len(self._members) >= MAX_JOBS:
            raise OptionError(
                f"a workflow takes {MAX_JOBS:,} jobs at once; let one of them add the others with"
                " service.extend_workflow(job)"
            )
        if len(self._edges) + edges > MAX_EDGES:
            raise OptionError(
                f"a workflow takes {MAX_EDGES:,} edges at once; a job that waits for many, and for"
                " which many wait, is one edge for each: put one between them"
            )

    def piece(self) -> Piece:
        """What was said.

        Raises:
            OptionError: some jobs wait for each other.
        """
        _refuse_cycles(self._members, self._edges)
        for one, anyway in self._callbacks:
            record = self._record(one.type, one.data, one.options)
            self._members[record.id] = Member(record, Role.CALLBACK, anyway)
        return Piece(list(self._members.values()), list(self._edges))

    # -- keep ------------------------------------------------------------------------------------

    async def __aenter__(self) -> Workflow:
        self._begun = True
        await self._begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._closed = True
            return
        prepared = await self.end()
        if prepared is not None:
            await prepared.insert()

    async def end(self) -> PreparedFlow | None:
        """The end of the block, without an exception: all but the writing itself along a
        connection of the application's, which may be done in another thread."""
        try:
            piece = self.piece()
        finally:
            self._closed = True
        return await self._put(self, piece)

    def __repr__(self) -> str:
        return f"<Workflow {self.id} with {len(self._members)} jobs>"


def check_flow_name(kind: FlowKind, name: object) -> str:
    """The name of a workflow or a batch, for people: several may have the same.

    Raises:
        OptionError: it is no text of 1 to 200 printable characters.
    """
    try:
        return check_name(kind, name)
    except ConfigurationError as error:
        raise OptionError(str(error)) from None


def made_again(job_id: str, block: int) -> Callable[[int], str]:
    """Makes the ids of the jobs that a job adds to its workflow: the same ones in each attempt, in
    the order in which they are added, and those of no other job. `block`: which one of the
    attempt.

    All that descends from one job by this has the same millisecond, and may be many jobs, each of
    which adds some: so 51 bits tell whose they are. 6 say which block, 17 which of its jobs.
    """
    if block > MAX_BLOCKS:
        raise ServiceError(
            f"a job adds to its workflow in at most {MAX_BLOCKS} blocks an attempt: add more in"
            " each"
        )
    digest = int.from_bytes(hashlib.blake2b(job_id.encode(), digest_size=8).digest(), "big")
    head, rest = f"{job_id[:15]}{digest >> 52:03x}", digest & (1 << 39) - 1

    def make(number: int) -> str:
        tail = f"{0b10 << 62 | block << 56 | number << 39 | rest:016x}"
        return f"{head}-{tail[:4]}-{tail[4:]}"

    return make


def _listed(after: object) -> list[Any]:
    if after is None:
        return []
    if isinstance(after, FlowJob):
        return [after]
    if isinstance(after, (str, bytes)) or not isinstance(after, Iterable):
        raise OptionError(f"after= takes a job of this workflow or a list of them, got {after!r}")
    return list(after)


def _request(what: str, request: object) -> JobRequest[Any]:
    if not isinstance(request, JobRequest):
        raise OptionError(f"{what} takes a JobRequest(TYPE, data), got {request!r}")
    return request


def _requests(requests: Iterable[Any]) -> list[Any]:
    return [_request("a chain or a group", one) for one in requests]


def _refuse_cycles(members: Mapping[str, Member], edges: Iterable[tuple[str, str]]) -> None:
    """Takes away whoever waits for nobody, until nobody is left."""
    waits: dict[str, int] = {}
    behind: dict[str, list[str]] = {}
    for parent, child in edges:
        if parent in members:
            waits[child] = waits.get(child, 0) + 1
            behind.setdefault(parent, []).append(child)
    free = [id_ for id_ in members if id_ not in waits]
    while free:
        for child in behind.get(free.pop(), ()):
            waits[child] -= 1
            if not waits[child]:
                del waits[child]
                free.append(child)
    if waits:
        raise OptionError(
            f"jobs of this workflow wait for each other: {_a_cycle(members, waits, edges)}; none of"
            " them would ever run, and nothing was kept"
        )


def _a_cycle(
    members: Mapping[str, Member], stuck: Mapping[str, int], edges: Iterable[tuple[str, str]]
) -> str:
    """One of them, in words: from each that is stuck leads a way back to one that is."""
    before = {child: parent for parent, child in edges if parent in stuck and child in stuck}
    seen: list[str] = []
    job = next(iter(stuck))
    while job not in seen:
        seen.append(job)
        job = before[job]
    way: Sequence[str] = [*seen[seen.index(job) :], job]
    return " -> ".join(members[id_].record.type for id_ in reversed(way))
