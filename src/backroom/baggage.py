"""A job on its way from one storage to another, with all that is kept with it; schedules; flows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from backroom.errors import JobStateError, StorageError
from backroom.job import State
from backroom.schedule import ScheduleRecord, TickOutcome
from backroom.step import SignalRecord, StepRecord

__all__ = [
    "TICK_BYTES",
    "Baggage",
    "Edge",
    "FlowBaggage",
    "Freight",
    "Membership",
    "Parcel",
    "PastError",
    "PastTick",
    "Refusal",
    "Unpacked",
    "checksum",
    "compare",
    "encode",
    "encode_freight",
    "fitting",
]

MOST_BYTES: Final = 8 * 2**20
"""Of a parcel, where it holds more than one job."""
TICK_BYTES: Final = 160
"""Of what became of a tick, at most, but for a few."""


class Membership(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a job is to its flow. Encodes as a JSON array in this order."""

    flow: str
    role: int
    anyway: bool
    waits: int
    """For how many jobs it still waits; 0 where it has ended."""
    counted: int
    doomed: bool
    undo: str | None
    """JSON, as it was kept with it."""


class PastError(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What went wrong in one attempt, as `AttemptError`. Encodes as a JSON array in this order."""

    attempt: int
    at: int
    kind: str
    message: str
    traceback: str | None
    began: int | None = None


class Baggage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A job that nobody holds. Encodes as a JSON array in this order."""

    id: str
    type: str
    queue: str
    priority: int
    run_at: int
    created_at: int
    data: str
    options: str | None
    unique_key: str | None
    expires_at: int | None
    state: int
    """A `State`: any but `ACTIVE`."""
    attempt: int = 0
    crashes: int = 0
    budget: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    result: str | None = None
    reason: str | None = None
    progress: float | None = None
    progress_message: str | None = None
    errors: tuple[PastError, ...] = ()
    """The oldest first."""
    log: tuple[tuple[int, int, str, str], ...] = ()
    """Moment, attempt, level, message."""
    steps: tuple[StepRecord, ...] = ()
    signals: tuple[SignalRecord, ...] = ()
    """Those that wait, in order."""
    held: tuple[str, int] | None = None
    """A unique key that it holds not until its end, and until when, as `Hold.until`."""
    member: Membership | None = None

    @property
    def ended(self) -> bool:
        return State.COMPLETED <= self.state <= State.CANCELLED

    @property
    def kept_as(self) -> int:
        """The state of its row: nobody claims a job of a flow that has not arrived yet."""
        return self.state if self.member is None or self.ended else int(State.BLOCKED)

    def key_at(self, now: int) -> tuple[str, str] | None:
        """The unique key that it holds, with its type; None if it holds none, or not any more."""
        if self.held is None:
            return None if self.unique_key is None or self.ended else (self.type, self.unique_key)
        key, until = self.held
        fresh = not self.ended and self.attempt == 0 and self.started_at is None
        return (self.type, key) if (now < until if until else fresh) else None

    def settled(self, now: int) -> Baggage:
        """The same without a key that it held, and does not hold any more."""
        if self.held is None or self.key_at(now) is not None:
            return self
        return msgspec.structs.replace(self, held=None)

    @property
    def due_until(self) -> int | None:
        """When it expires: what has begun in time does not any more."""
        return self.expires_at if self.attempt == 0 and self.started_at is None else None

    def cancelled(self, now: int, reason: str) -> Baggage:
        """The same, ended: what is kept of a job that may not run. Its flow is told of that once it
        has arrived, too, by upkeep."""
        member = self.member and msgspec.structs.replace(self.member, waits=0)
        return msgspec.structs.replace(
            self, state=int(State.CANCELLED), finished_at=now, reason=reason, held=None,
            member=member,
        )  # fmt: skip


class PastTick(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of ticks of a schedule, as `Tick`. Encodes as a JSON array in this order."""

    at: int
    until: int
    count: int
    outcome: TickOutcome
    job: str | None
    asked: str | None
    """The id that its job was to have, where the live one with its unique key is `job`."""
    decided_at: int


Edge: TypeAlias = tuple[str, str, bool]
"""The ids of the job that is waited for and of the one that waits; whether the first has ended."""


class FlowBaggage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A flow without its jobs. Encodes as a JSON array in this order."""

    id: str
    name: str
    kind: int
    on_failure: int
    created_at: int
    jobs: int
    open_jobs: int
    open_others: int
    completed: int
    failed: int
    cancelled: int
    undone: bool
    finished_at: int | None
    members: int
    """How many jobs belong to it, with callbacks and undo jobs: so many arrive before it does."""
    edges: int
    """The same of its edges."""

    def check(self, members: int, edges: int) -> None:
        """Whether all that belongs to it is there.

        Raises:
            JobStateError: it is not.
        """
        if (members, edges) != (self.members, self.edges):
            raise JobStateError(
                f"of the workflow {self.id}, {members:,} of {self.members:,} jobs have arrived, and"
                f" {edges:,} of {self.edges:,} edges: run the same move again, and it goes on; what"
                " was packed is safe"
            )


class Freight(msgspec.Struct, frozen=True):
    """What else goes from one store to another than jobs."""

    schedules: tuple[ScheduleRecord, ...] = ()
    ticks: Mapping[str, tuple[PastTick, ...]] = {}
    """By the name of a schedule: what became of its ticks, the oldest first."""
    flows: tuple[FlowBaggage, ...] = ()
    edges: tuple[Edge, ...] = ()


class Parcel(msgspec.Struct, frozen=True):
    """Jobs that were packed together: out of everybody's reach until they are unloaded."""

    number: int
    target: int
    """The number of the store that they go to."""
    label: str
    """Its URL, for people."""
    jobs: Sequence[Baggage]
    freight: Freight | None = None
    """Or this, and no jobs."""

    @classmethod
    def opened(cls, number: int, target: int, label: str, text: str) -> Parcel:
        """As a store keeps it: `text` is of `encode`, or of `encode_freight`."""
        what = _decoder.decode(text)
        if isinstance(what, Freight):
            return cls(number, target, label, (), what)
        return cls(number, target, label, what)

    @property
    def schedules(self) -> Sequence[ScheduleRecord]:
        return () if self.freight is None else self.freight.schedules

    @property
    def flows(self) -> Sequence[FlowBaggage]:
        return () if self.freight is None else self.freight.flows

    @property
    def edges(self) -> Sequence[Edge]:
        return () if self.freight is None else self.freight.edges


class Refusal(msgspec.Struct, frozen=True):
    """A job that a store cannot keep as it is."""

    job: Baggage
    why: str

    @classmethod
    def twin(cls, job: Baggage, holder: str) -> Refusal:
        """Another job holds its unique key."""
        key = job.unique_key if job.held is None else job.held[0]
        return cls(job, f"its unique key {key!r} is held by job {holder}")


class Unpacked(msgspec.Struct, frozen=True):
    """What became of jobs that a store was given."""

    kept: Sequence[Baggage]
    """Those that it has now, and had not."""
    known: Sequence[str]
    """The ids of those that it had before: nothing was changed."""
    refused: Sequence[Refusal]


def fitting(sizes: Iterable[tuple[int, int]]) -> int:
    """How many of these go into one parcel, by the bytes of each; at least one of them."""
    count, room = 0, MOST_BYTES
    for _, size in sizes:
        room -= size
        if count and room < 0:
            break
        count += 1
    return count


def compare(sent: Sequence[Baggage], here: Iterable[Baggage]) -> None:
    """Whether a storage holds what it was given.

    Raises:
        StorageError: it does not.
    """
    held = {job.id: job for job in here}
    for job in sent:
        if held.get(job.id) != job:
            raise StorageError(
                f"job {job.id} was written and read again, and was not the same: nothing of this"
                " parcel was kept; look for damage on either side with: backroom doctor"
            )


def checksum(jobs: Iterable[Baggage]) -> int:
    """Over all that is kept of jobs, in whatever order: the sums of two lots add up."""
    total = 0
    for job in jobs:
        digest = hashlib.blake2b(_encoder.encode(job), digest_size=16).digest()
        total += int.from_bytes(digest, "big")
    return total % 2**128


def encode(jobs: Sequence[Baggage]) -> str:
    """JSON text, as a store keeps a parcel."""
    return _encoder.encode(jobs).decode()


def encode_freight(freight: Freight) -> str:
    """The same of what else goes."""
    return _encoder.encode(freight).decode()


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(list[Baggage] | Freight)
