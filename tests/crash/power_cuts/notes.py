"""What a life of a store asks, is promised, and begins: noted at the instant when it does."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Answered", "Asked", "Began", "Deleted", "Deleting", "Ended", "Ending", "Handed", "Kept",
    "Note", "Opened", "Paused", "Pausing", "Pruning", "Reclaiming", "Retried", "Retrying", "Seen",
    "Step", "Stepped", "Stopped", "Stopping",
]  # fmt: skip


class Note:
    """Something that was asked, promised or begun; jobs are told by their number."""


@dataclass(frozen=True)
class Opened(Note):
    """The store is open: from now on the folder says that it holds jobs."""


@dataclass(frozen=True)
class Asked(Note):
    """These are being scheduled, all or none."""

    jobs: tuple[int, ...]


@dataclass(frozen=True)
class Answered(Note):
    """These are not under way any more: kept, or another one has their unique key."""

    jobs: tuple[int, ...]


@dataclass(frozen=True)
class Kept(Note):
    """It was scheduled: `schedule` returned, or somebody saw it."""

    job: int
    id: str


@dataclass(frozen=True)
class Handed(Note):
    """A worker has got a claim of it."""

    job: int
    token: int


@dataclass(frozen=True)
class Began(Note):
    """Its user code begins now."""

    job: int
    token: int
    attempt: int


@dataclass(frozen=True)
class Ending(Note):
    """An outcome is being recorded."""

    job: int
    token: int
    state: int
    result: str | None = None


@dataclass(frozen=True)
class Ended(Note):
    """An outcome is recorded."""

    job: int
    state: int
    result: str | None
    attempt: int


@dataclass(frozen=True)
class Seen(Note):
    """Somebody looked: it had ended, like this."""

    job: int
    state: int
    result: str | None


@dataclass(frozen=True)
class Stopping(Note):
    """It is being cancelled, wherever it stands."""

    job: int


@dataclass(frozen=True)
class Stopped(Note):
    """It has ended, or its cancel is on record until it does."""

    job: int


@dataclass(frozen=True)
class Deleting(Note):
    """It may go from now on."""

    jobs: tuple[int, ...]


@dataclass(frozen=True)
class Deleted(Note):
    """It is gone, for ever."""

    jobs: tuple[int, ...]


@dataclass(frozen=True)
class Retrying(Note):
    """An operator asks for it to run again."""

    job: int


@dataclass(frozen=True)
class Retried(Note):
    """It will."""

    job: int


@dataclass(frozen=True)
class Reclaiming(Note):
    """What dead workers held is being taken back; some of it may be poison, or cancelled."""


@dataclass(frozen=True)
class Pruning(Note):
    """Whatever has ended may go."""


@dataclass(frozen=True)
class Pausing(Note):
    queue: str
    paused: bool


@dataclass(frozen=True)
class Paused(Note):
    queue: str
    paused: bool


@dataclass(frozen=True)
class Step(Note):
    """One change after the other: after this one the store holds exactly this, by state."""

    jobs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Stepped(Note):
    """The last step was acknowledged."""
