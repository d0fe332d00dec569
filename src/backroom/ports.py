"""The seams: what the engine asks of a storage, of inspection, and of a clock.

Moments (`now`, `run_at`) are microseconds since 1970 from the caller's wall clock. Lease time
is the storage's own and never the wall clock; `Heartbeat.deadline` is told in the clock that
`Clock.uptime` reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from backroom.auditing import Auditing
from backroom.baggage import Baggage, Edge, Parcel, Refusal, Unpacked
from backroom.flow import FlowRecord, Piece
from backroom.job import FailureGroup, JobInfo, JobRecord, JobStats, JobStatus
from backroom.limiting import Limiting
from backroom.sizes import Sizes
from backroom.stepping import Stepping
from backroom.transition import Claim, Transition
from backroom.watching import Watching

__all__ = [
    "Along",
    "BulkProgress",
    "Capabilities",
    "Claimed",
    "Clock",
    "Counted",
    "Filter",
    "Heartbeat",
    "House",
    "Inserted",
    "Inspection",
    "JobStorage",
    "Looked",
    "Movable",
    "Outlook",
    "Progress",
    "Pruned",
    "Reclaimed",
    "Report",
    "Rescued",
    "Store",
    "Stranded",
    "Transactional",
    "Wake",
    "Want",
    "Which",
    "WorkerSpec",
]


class Clock(Protocol):
    """Where the engine reads time."""

    def now(self) -> int:
        """The wall clock, in microseconds since 1970 (UTC). May step either way."""
        ...

    def uptime(self) -> float:
        """Seconds that only grow, a suspended machine's included."""
        ...


class Capabilities(msgspec.Struct, frozen=True):
    """What a storage declares of itself."""

    durable: bool
    """Jobs survive `kill -9` of every process."""
    shared: bool
    """Several processes may use it at once."""
    transactional: bool = False
    """It is a `Transactional`, too."""
    planning: bool = False
    """It keeps schedules: it is a `Planning`, too."""
    flowing: bool = False
    """It keeps workflows: it is a `Flowing`, too."""


class WorkerSpec(msgspec.Struct, frozen=True):
    """Who a worker is when it enlists."""

    name: str
    """host:pid, for people."""
    lease: float
    """Seconds without a heartbeat after which it counts as dead."""
    draining: bool = False
    """It claims nothing: one that has enlisted before, and was asked to."""


class Heartbeat(msgspec.Struct, frozen=True):
    """The storage's answer to an enlisting or extending worker."""

    worker: int
    deadline: float
    """The lease ends here, in `Clock.uptime` seconds."""
    cancelled: tuple[int, ...] = ()
    """Keys of claims of this worker that people asked to cancel."""
    draining: bool = False
    """People asked it to claim nothing any more."""


class Inserted(msgspec.Struct, frozen=True, gc=False):
    """What became of one inserted job."""

    id: str
    """Its id; the id of the job that holds its unique key, if another one does."""
    created: bool
    claim: Claim | None = None
    """The claim, where the job went straight to the worker that inserted it."""


class Want(msgspec.Struct, frozen=True):
    """How much a worker can take from some queues that share slots."""

    queues: tuple[str, ...] | None
    """None: every queue that has held a job, but those in `but`."""
    but: tuple[str, ...]
    rooms: tuple[int, int, int, int]
    """By priority: how many jobs of this priority or better it has room for."""
    starts: int = 0
    """How many of them find a free slot: the first so many claims count as started."""
    starving: int = 0
    """How many places go to the oldest jobs that have been due since `starving_since`."""
    starving_since: int = 0
    types: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Types that have a handler here, and the version of data it takes: parked jobs of these, of
    that version or an older one, are claimed like those that wait."""


class Claimed(msgspec.Struct, frozen=True):
    """What a claim gave."""

    claims: list[Claim]
    started: int
    """The first so many of `claims` are counted as started."""
    more: bool
    """There may be more due jobs in these queues."""
    next_due: int | None
    """When the next job of these queues becomes due, if none is due now."""


class Report(msgspec.Struct, array_like=True, gc=False):
    """Progress and log lines of a running job."""

    key: int
    token: int
    attempt: int
    progress: float | None
    progress_message: str | None
    log: list[tuple[int, str, str]] | None


class Rescued(msgspec.Struct, frozen=True, gc=False):
    """Jobs of one queue and type that were taken back from dead workers."""

    queue: str
    type: str
    jobs: int
    crashed: int
    """Those of them that may have started."""


class Reclaimed(msgspec.Struct, frozen=True):
    """What was taken back from dead workers."""

    workers: tuple[str, ...] = ()
    """Their names."""
    crashed: int = 0
    """Jobs that may have started: each was charged an attempt and a crash."""
    untouched: int = 0
    """Jobs that had not started."""
    doubted: bool = False
    """Somebody seems to have died, which the next look will tell."""
    again: float | None = None
    """Seconds until the next look; None: as often as the caller likes."""
    rescued: tuple[Rescued, ...] = ()
    """All of these jobs."""


class Pruned(msgspec.Struct, frozen=True):
    """What one look of retention did."""

    touched: int = 0
    """Jobs that were removed, or ended because they had expired."""
    more: bool = False
    """The look ended before it had seen all: the next one goes on from there."""


class Wake(Enum):
    """Why a storage wakes its subscribers; several may be folded into one."""

    JOBS = "jobs"
    """Jobs may have become claimable."""
    FINISHED = "finished"
    """Jobs have become terminal."""
    CONTROL = "control"
    """People cancelled running jobs, paused or resumed queues, drained workers; schedules were
    changed."""


class JobStorage(Protocol):
    """Where jobs live. Every verb that takes a batch treats its items apart: one bad item
    never fails the others (but `insert`, which is all or nothing).

    Raises, from every verb: `StorageError`; its outcome is then unknown unless the error says
    otherwise, and calling again with the same values is safe.
    """

    capabilities: Capabilities

    @property
    def url(self) -> str:
        """The storage for people, without secrets."""
        ...

    async def open(self) -> None:
        """Ready for use, by one user more: what several services share stays open until each
        of them has closed it. Safe to call twice."""
        ...

    async def close(self) -> None:
        """One user less; the last one lets everything go. Safe to call twice, or unopened."""
        ...

    def insert(
        self, jobs: Sequence[JobRecord], now: int, *, worker: int | None = None, start: bool = False
    ) -> Awaitable[list[Inserted]]:
        """Keeps all jobs or none; durable when it returns, as `capabilities` say.

        An id that is there already is that same job (an unknown reply, asked again): nothing
        is inserted. With `worker`, a due job is claimed for it on the way in, if its queue is
        not paused and nothing of equal or higher priority waits there; with `start` that
        claim counts as started.

        A job whose unique key another one of its type holds is not made. What becomes of it says
        its `hold`: that one answers for it; or gets its `data`, `options`, `queue`, `priority`,
        `run_at` and `expires_at`, if it waits and has not started; or nothing of the call is
        kept. A key is held as the job says that has it (`Hold.until`), and whoever finds it held
        no more takes it over: a claim writes nothing of it. A job that has been made asks for
        no key again, whatever became of that since.

        Raises:
            DuplicateJobError: another job holds the key of one that wants to be told; with its
                `index`, if there are several.
        """
        ...

    async def enlist(self, spec: WorkerSpec) -> Heartbeat:
        """A new worker with a lease of `spec.lease` seconds."""
        ...

    async def extend(self, worker: int) -> Heartbeat:
        """The lease begins anew. Callable from any thread's running loop.

        Raises:
            LeaseLostError: the worker was declared dead; it must stop and enlist anew.
        """
        ...

    async def retire(self, worker: int) -> None:
        """Ends a worker: what it still holds is given back untouched."""
        ...

    async def claim(self, worker: int, want: Want, now: int) -> Claimed:
        """Claims due jobs, in order: priority, run_at, insertion. As many as there is room for,
        or fewer, if it tells of `more`.

        Raises:
            LeaseLostError: the worker was declared dead.
        """
        ...

    async def start(self, worker: int, keys: Sequence[int]) -> None:
        """Counts these claims as started: durable before user code runs.

        Raises:
            LeaseLostError: the worker was declared dead.
        """
        ...

    def note_start(self, worker: int, claim: Claim) -> None:
        """User code of this claim runs now. Called right before the handler's first line, where
        it runs: on the loop or in a thread of its own; must not block. A storage that can note
        it where a crash of the process leaves it charges, after a crash, only what was noted."""
        ...

    async def finish(self, worker: int, transitions: Sequence[Transition]) -> list[bool]:
        """Applies each transition whose lease token still stands.

        Returns, for each: whether it stands now (also if an earlier call with an unknown reply
        had applied it). False: the lease was lost, and nothing was changed; or the outcome
        cannot be written, whatever it is in it, and its job failed and says so.
        """
        ...

    async def give_back(self, worker: int, keep: Sequence[tuple[int, int]]) -> int:
        """Gives back, untouched, all claims of this worker but those in `keep`: pairs of key and
        token.

        Returns how many. Also finds claims whose reply was lost, such as a second one of a job
        whose first one this worker still holds the outcome of. An insert of this worker that
        was called before, and whose caller was cancelled, is carried out first, or never.
        """
        ...

    async def disown(self, worker: int, keys: Sequence[int]) -> None:
        """These claims keep their lease, but when it ends they come back uncharged: their
        code could not be stopped, and the worker is leaving. They have begun: they do not
        expire any more."""
        ...

    async def report(self, worker: int, reports: Sequence[Report]) -> None:
        """Keeps progress and log lines of claims whose token stands; others are dropped."""
        ...

    async def reclaim(self, now: int) -> Reclaimed:
        """Takes back the claims of workers that are dead: gone, or past their lease."""
        ...

    async def prune(self, now: int, limit: int) -> Pruned:
        """Removes up to `limit` terminal jobs that are past retention, as many ticks of
        schedules that are, or are more than are kept of one, and cancels waiting jobs past
        their `expires_at`. One call looks through a bounded number of jobs, however
        many of them must stay: who wants all that may go calls again while there is `more`."""
        ...

    def subscribe(self, callback: Callable[[Wake], None]) -> Callable[[], None]:
        """`callback` is called on the caller's running loop; may be called for nothing.
        Returns what ends the subscription."""
        ...


class Filter(msgspec.Struct, frozen=True):
    """Which jobs people mean: those of which all that is said is true."""

    status: JobStatus | None = None
    type: str | None = None
    queue: str | None = None
    tag: str | None = None
    error: str | None = None
    """The kind of its last error: "ValueError", "timeout"."""
    text: str | None = None
    """What its id, type, data, tags, unique key or the text of its last error has in it. The
    letters A to Z are the same in either case."""
    unseen: tuple[str, ...] | Literal["*"] = ()
    """Types in whose data the text is not looked for; "*": only ids and types are looked at, of
    all jobs."""
    worker: str | None = None
    """The name of the worker that holds it."""
    workflow: str | None = None
    """The id of the workflow or batch that it belongs to."""
    priority: int | None = None
    since: int | None = None
    """Made at this moment or later."""
    until: int | None = None
    """Made before this moment."""


Which: TypeAlias = str | Filter | Sequence[str]
"""The id of a job, or all that match, or these ids."""


class Looked(msgspec.Struct, frozen=True):
    """What one look through some of the jobs has found."""

    jobs: list[JobInfo]
    """Newest first."""
    cursor: str | None
    """Where the next look goes on; None: there is nothing behind this one."""
    seen: int
    """How many jobs it looked at."""


class Counted(msgspec.Struct, frozen=True):
    """The same of one that only counts."""

    jobs: int
    cursor: str | None
    seen: int


class BulkProgress(msgspec.Struct, frozen=True):
    """How far a change of many jobs has come."""

    looked: int = 0
    """How many jobs it has looked at."""
    changed: int = 0
    refused: int = 0
    """Jobs that match, and could not be changed: they have become something else meanwhile, or
    what they belong to does not let them."""


Progress = Callable[[BulkProgress], None]
"""Called after each page of a change of many jobs; a page stands whatever follows."""


class Outlook(msgspec.Struct, frozen=True, gc=False):
    """How a job stands, for those who wait for its result."""

    type: str
    status: JobStatus
    result: str | None
    error: str | None


class Stranded(msgspec.Struct, frozen=True):
    """What a look for jobs that nobody would ever run has found."""

    ids: tuple[str, ...]
    following: str | None
    """Where the next look begins; None: that was all."""
    seen: int
    """How many jobs were looked at one by one."""


class Inspection(Protocol):
    """What people ask: kept apart so that the hot path stays small."""

    async def find(self, job_id: str, now: int) -> JobInfo | None:
        """One job with its errors and log."""
        ...

    async def outlook(self, ids: Sequence[str], now: int) -> dict[str, Outlook]:
        """How these jobs stand; unknown ids are left out."""
        ...

    async def page(
        self, which: Filter, now: int, limit: int, cursor: str | None
    ) -> tuple[list[JobInfo], str | None]:
        """Newest first, and the cursor of the next page. Looks until the page is full.

        Raises:
            OptionError: the cursor is none of ours.
        """
        ...

    async def look(
        self, which: Filter, now: int, limit: int, cursor: str | None, most: int
    ) -> Looked:
        """As `page`, but looks at no more than `most` jobs: a page may be short, or empty, and
        there is more behind it all the same."""
        ...

    async def count(self, which: Filter, now: int, cursor: str | None, most: int) -> Counted:
        """How many of the next `most` jobs match; all where an index tells that at once.

        Raises:
            OptionError: the cursor is none of ours.
        """
        ...

    async def stats(self, now: int) -> JobStats:
        """Counts, queues and workers; of numbers that are kept, however many jobs there are."""
        ...

    async def failures(self, limit: int) -> list[FailureGroup]:
        """The failed jobs that are there, by their types and the kinds of their last errors; the
        groups of most jobs first, up to `limit`. Of numbers that are kept, too."""
        ...

    async def miscounted(self) -> list[str]:
        """Which of the numbers that are kept differ from what is there, for people; empty: none.
        Goes through all jobs."""
        ...

    async def fold(self, now: int) -> None:
        """Keeps the numbers few, where they are many: to be called every few seconds, by whoever
        keeps house. Safe from several workers at once."""
        ...

    async def recount(self) -> None:
        """Makes all numbers anew. Goes through all jobs while nobody writes."""
        ...

    async def stranded(self, after: str | None, most: int) -> Stranded:
        """Of the next `most` jobs behind `after`, those that have not ended and that no claim, no
        reclaim and no end of another job would ever come to: as when a row was lost that said where
        they are. Nobody waits for such a look."""
        ...

    async def requeue(self, ids: Sequence[str], now: int) -> int:
        """Those of these that are stranded still wait in their queues again, where a claim finds
        them; how many. One that a worker had which is unknown is charged for an attempt if that
        may have begun. Safe while workers run, and from several places at once."""
        ...

    async def retry(
        self,
        which: Which,
        now: int,
        from_step: int | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Terminal jobs (or a retry that waits) run again at once, with a fresh budget. Of one by
        its id, steps from the number `from_step` on are forgotten in the same change; signals that
        wait stay.

        Raises, for an id: `JobNotFoundError`; `JobStateError` if it is active, or if another
        job holds its unique key. A job that held one not until its end needs none.

        Of many, in pages: one that is begun stands whatever becomes of the others, `progress` is
        told of each, and who is cancelled stops between two. Only jobs that were there when it
        began are changed. Those of one workflow that match are retried in one page.
        """
        ...

    async def cancel(self, which: Which, now: int, progress: Progress | None = None) -> int:
        """Cancels jobs that wait at once, and asks for it where they run. Many as `retry` does.

        Raises, for an id: `JobNotFoundError`.
        """
        ...

    async def delete(self, which: Which, progress: Progress | None = None) -> int:
        """Forgets a job that is not active, or all ended jobs that match. Many as `retry` does.

        Raises, for an id: `JobNotFoundError`, `JobStateError`.
        """
        ...

    async def rearrange(
        self,
        which: Which,
        now: int,
        run_at: int | None,
        priority: int | None,
        progress: Progress | None = None,
    ) -> int:
        """Jobs that wait do so for another moment, in another priority, or both; None: as it is.
        Many as `retry` does. One in the line of a limit leaves it, and stands there again when it
        is claimed; one that waits for other jobs goes on doing so. None is left to expire before
        its moment: that is refused.

        Raises, for an id: `JobNotFoundError`; `JobStateError` if a worker holds it, started or
        not, if it has ended, or would expire.
        """
        ...

    async def pause(self, queue: str, paused: bool) -> None:
        """Whether jobs of this queue are claimed."""
        ...

    async def queues(self) -> dict[str, bool]:
        """Every queue that ever held a job, and whether it is paused."""
        ...


class Movable(Protocol):
    """What a storage offers to those who bring jobs to it, or take them away.

    A job is in exactly one of three: in its storage, in a parcel of that, or in the storage that
    the parcel goes to. What is packed is out of everybody's reach, durably, whoever dies. So who
    moves jobs packs them here, unpacks them there, and unloads them here; and what was packed by
    one who died on the way is found by the next one, and goes the same way.
    """

    async def number(self) -> int:
        """Tells this store from every other one, whatever its URL."""
        ...

    async def copies(
        self, after: str | None, limit: int, history: bool
    ) -> tuple[list[Baggage], str | None]:
        """The next jobs that nobody holds, as they are; with `history` also those that ended. Not
        those of flows (see `pack_flows`). In the order of insertion, and no more than fit into one
        parcel. `after`: where the last look ended; None: at the beginning. The second is where this
        one did; None: at the end."""
        ...

    async def keyed(
        self, after: str | None, limit: int
    ) -> tuple[list[tuple[str, str]], str | None]:
        """The next types and unique keys that jobs hold; `after` as in `copies`."""
        ...

    async def holders(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Of these types and unique keys, those that are held, by which job."""
        ...

    async def parcel(self, after: int = 0) -> Parcel | None:
        """The oldest that was packed here and not unloaded, behind the one of number `after`."""
        ...

    async def pack(
        self, after: str | None, limit: int, history: bool, target: int, label: str
    ) -> tuple[Parcel | None, str | None]:
        """Takes jobs, chosen as by `copies`, out of the storage and puts them into a parcel, in
        one change. None: those that it found were claimed meanwhile."""
        ...

    async def unpack(self, jobs: Sequence[Baggage]) -> Unpacked:
        """Keeps jobs as they are, in one change, in which they are read again and compared. An id
        that is there already is that same job. A live job whose unique key another one holds,
        and one whose id this storage cannot hold, is refused by itself.

        Raises:
            StorageError: what was read again was not the same; none of them was kept.
        """
        ...

    async def unload(self, parcel: Parcel, back: Sequence[Baggage] = ()) -> Sequence[Refusal]:
        """Forgets a parcel; of its jobs, `back` return into the storage in the same change. A
        parcel that is not there any more changes nothing."""
        ...

    async def pack_schedules(self, limit: int, target: int, label: str) -> Parcel | None:
        """Takes up to so many schedules out of the storage and puts them into a parcel, in one
        change: from then on none of their ticks is decided here. What became of earlier ones goes
        with them. None: there are none."""
        ...

    async def unpack_schedules(self, source: int, parcel: Parcel) -> int:
        """Keeps schedules of the store of that number as they are, in one change; how many. One
        that is there already and says the same is joined with it (`ScheduleRecord.joined`), and
        so is what became of their ticks: what is said of a moment here stays so. Of one source
        parcels come in the order of their numbers: one that came before changes nothing.

        Raises:
            JobStateError: one that is there says something else; none of them was kept.
        """
        ...

    async def pack_flows(self, limit: int, history: bool, target: int, label: str) -> Parcel | None:
        """Takes flows out of the storage that have not ended, with `history` also those that have,
        and puts them into a parcel, in one change: up to so many of which no worker holds a job.
        From then on their jobs, which stay, are nobody's: none is claimed, cancelled, retried,
        expired or removed. None: there are none."""
        ...

    async def pack_edges(
        self, flows: Sequence[str], limit: int, target: int, label: str
    ) -> Parcel | None:
        """Takes up to so many edges between jobs of packed flows out of the storage and puts them
        into a parcel, in one change. None: there are none left."""
        ...

    async def pack_members(
        self, flows: Sequence[str], limit: int, target: int, label: str
    ) -> Parcel | None:
        """The same of jobs of packed flows, of which no edges are left."""
        ...

    async def unpack_edges(self, edges: Sequence[Edge]) -> None:
        """Keeps edges, in one change. Those that are there already stay.

        Raises:
            StorageError: a job that one of them is of has not arrived; none of them was kept.
        """
        ...

    async def unpack_flows(self, source: int, parcel: Parcel) -> int:
        """Keeps flows of the store of that number as they are, in one change; how many. Their jobs
        and edges have arrived (`unpack`, `unpack_edges`), and were nobody's: from now on each goes
        on where it was. A parcel that came before changes nothing; a flow that is there already is
        that same one.

        Raises:
            JobStateError: of one not all jobs have arrived, or not all edges; none was kept.
        """
        ...


class Along(Protocol):
    """A connection of the application's, for one use by a storage. What is at fault with it is
    raised as its driver raises it."""

    @property
    def connection(self) -> Any:
        """What the application has of it."""
        ...

    waits: bool
    """It is one of asyncio. Else none of these coroutines ever waits: each runs to its end
    where it is called (`at_once`), in whichever thread."""

    async def prepare(self, queues: Collection[str]) -> None:
        """Before all else, on the loop of the storage: for jobs of these queues."""
        ...

    async def insert(self, jobs: Sequence[JobRecord], now: int) -> list[Inserted]:
        """As `JobStorage.insert`, and all of it with the transaction that is open there.

        Raises:
            ConfigurationError: it leads to another database.
        """
        ...

    async def insert_flow(self, flow: FlowRecord, piece: Piece, now: int) -> None:
        """As `Flowing.insert_flow`, and all of it with the transaction that is open there.

        Raises:
            ConfigurationError: it leads to another database.
        """
        ...

    async def begin(self) -> None:
        """Begins a transaction.

        Raises:
            ConfigurationError: one is open; or it leads to another database.
        """
        ...

    async def finish(self, transition: Transition, now: int, pieces: Sequence[Piece] = ()) -> bool:
        """Writes an outcome, if its lease token still stands, which it says; and before that, adds
        `pieces` to the flow of the job, as `Flowing.extend_flow`.

        Raises:
            JobStateError: as `Flowing.extend_flow`. The transaction is to be rolled back.
        """
        ...

    async def commit(self) -> None: ...
    async def rollback(self) -> None: ...


class Transactional(Protocol):
    """A storage that can write within a transaction of the application's."""

    def along(self, connection: object) -> Along:
        """A connection of the application's to the same database. To be called in the thread
        that uses it, for what is given may stand for another one in each thread.

        Raises:
            OptionError: it is none of those that are known.
        """
        ...

    def lend(self) -> AbstractAsyncContextManager[Along]:
        """A connection of the storage's own, until the end of the block."""
        ...

    async def stood(self, transition: Transition) -> bool:
        """Whether an outcome was committed: for who has had no answer. Whoever is about to do it
        is waited for."""
        ...

    def finished(self, worker: int, transition: Transition) -> None:
        """An outcome of this worker was committed along a connection."""
        ...


class Store(JobStorage, Inspection, Stepping, Limiting, Watching, Auditing, Protocol):
    """The ports, as every storage of ours serves them."""

    clock: Clock
    """What the engine on this storage reads time from."""
    commits: Sizes
    """How many changes went into each commit, of those that gather while one is under way."""


class House(Store, Movable, Protocol):
    """A storage that jobs may leave for another one, and come to: every durable one of ours."""
