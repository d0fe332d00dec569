"""The seam of moving: what a storage offers to those who carry jobs from it, or to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backroom.baggage import Baggage, Edge, Parcel, Refusal, Unpacked

__all__ = ["Movable"]


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
