"""An embedded storage that jobs may leave for another one, and come to."""

from __future__ import annotations

from collections.abc import Sequence

from backroom.baggage import Baggage, Edge, Parcel, Refusal, Unpacked
from backroom.storage.sqlite import departures, leaving, moving
from backroom.storage.watched import WatchedStorage

__all__ = ["MovableStorage"]


class MovableStorage(WatchedStorage):
    """`Movable`."""

    async def number(self) -> int:
        return await self._write(moving.number)

    async def copies(
        self, after: str | None, limit: int, history: bool
    ) -> tuple[list[Baggage], str | None]:
        return await self._ask(moving.copies, after, limit, history)

    async def keyed(
        self, after: str | None, limit: int
    ) -> tuple[list[tuple[str, str]], str | None]:
        return await self._ask(moving.keyed, after, limit, self.clock.now())

    async def holders(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        return await self._ask(moving.holders, keys, self.clock.now())

    async def parcel(self, after: int = 0) -> Parcel | None:
        return await self._ask(moving.oldest_parcel, after)

    async def pack(
        self, after: str | None, limit: int, history: bool, target: int, label: str
    ) -> tuple[Parcel | None, str | None]:
        keys = await self._ask(moving.what_is_next, after, limit, history)
        if not keys:
            return None, None
        return await self._write(moving.pack, keys, history, target, label), str(keys[-1])

    async def unpack(self, jobs: Sequence[Baggage]) -> Unpacked:
        return await self._write(moving.unpack, jobs, self.clock.now())

    async def unload(self, parcel: Parcel, back: Sequence[Baggage] = ()) -> Sequence[Refusal]:
        return await self._write(moving.unload, parcel, back, self.clock.now())

    async def pack_schedules(self, limit: int, target: int, label: str) -> Parcel | None:
        return await self._write(leaving.pack, limit, target, label)

    async def unpack_schedules(self, source: int, parcel: Parcel) -> int:
        return await self._write(leaving.unpack, source, parcel)

    async def pack_flows(self, limit: int, history: bool, target: int, label: str) -> Parcel | None:
        return await self._write(departures.pack_flows, limit, history, target, label)

    async def pack_edges(
        self, flows: Sequence[str], limit: int, target: int, label: str
    ) -> Parcel | None:
        return await self._write(departures.pack_edges, flows, limit, target, label)

    async def pack_members(
        self, flows: Sequence[str], limit: int, target: int, label: str
    ) -> Parcel | None:
        return await self._write(departures.pack_members, flows, limit, target, label)

    async def unpack_edges(self, edges: Sequence[Edge]) -> None:
        await self._write(departures.unpack_edges, edges)

    async def unpack_flows(self, source: int, parcel: Parcel) -> int:
        return await self._write(departures.unpack_flows, source, parcel)
