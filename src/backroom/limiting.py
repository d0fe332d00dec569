"""The seam of limits: what the engine asks of a storage that counts what runs.

A job says in its options what it needs. A claim of it is looked at a second time, in a step of its
own: where its limits have room it has a permit for each, which is gone in the change that ends the
holding, whatever that is; where they have none it is put aside, out of the way of all claims, until
that very change calls it back. So there is no permit without a worker that holds its job, and
nothing here is ever read by the claim of a job without limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backroom.limit import LimitInfo, LimitRecord

__all__ = ["Limiting"]


class Limiting(Protocol):
    """A storage that keeps limits. Every verb may raise `StorageError`, and may be called again."""

    async def put_limits(self, records: Sequence[LimitRecord]) -> None:
        """These numbers hold from now on, whatever jobs were made with. What runs goes on, also
        where it is more than the limit now allows."""
        ...

    async def limits(self) -> list[LimitInfo]:
        """Every limit that somebody put, or some job was admitted by; by name."""
        ...

    async def limit_queue(self, queue: str, most: int | None) -> None:
        """What an operator says of a queue: it holds over any number that is put for its limit
        (`QUEUE` and its name), until it is taken away (None). What runs there now counts."""
        ...

    async def operated(self) -> dict[str, int]:
        """The queues that operators have limited, and to how many jobs."""
        ...

    async def free_up(self, now: int) -> int:
        """Calls those that wait where there is room, whatever it was that nobody called them for:
        a limit was raised, a queue resumed, who was called was cancelled. Normal work does not
        wait for it. Jobs that have become due take their turn. Returns how many it called, or many
        where it has not come to the end."""
        ...
