"""The seams: what the engine asks of a storage, and of a clock.

Moments (`now`, `run_at`) are microseconds since 1970 from the caller's wall clock. Lease time
is the storage's own and never the wall clock; `Heartbeat.deadline` is told in the clock that
`Clock.uptime` reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from typing import Protocol

import msgspec

from backroom.auditing import Auditing
from backroom.carrying import Movable
from backroom.inspecting import Inspection
from backroom.job import JobRecord
from backroom.limiting import Limiting
from backroom.sizes import Sizes
from backroom.stepping import Stepping
from backroom.transition import Claim, Transition
from backroom.watching import Watching

__all__ = [
    "Capabilities",
    "Claimed",
    "Clock",
    "Heartbeat",
    "House",
    "Inserted",
    "JobStorage",
    "Pruned",
    "Reclaimed",
    "Report",
    "Rescued",
    "Store",
    "Wake",
    "Want",
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


class Store(JobStorage, Inspection, Stepping, Limiting, Watching, Auditing, Protocol):
    """The ports, as every storage of ours serves them."""

    clock: Clock
    """What the engine on this storage reads time from."""
    commits: Sizes
    """How many changes went into each commit, of those that gather while one is under way."""


class House(Store, Movable, Protocol):
    """A storage that jobs may leave for another one, and come to: every durable one of ours."""
