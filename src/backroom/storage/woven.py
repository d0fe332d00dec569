"""An embedded storage that keeps workflows."""

from __future__ import annotations

from backroom.flow import FlowRecord, FlowView, Kept, Piece, Predecessor
from backroom.storage.embedded import EmbeddedStorage
from backroom.storage.sqlite import reopening, weaving

__all__ = ["WovenStorage"]


class WovenStorage(EmbeddedStorage):
    """`Flowing`."""

    async def insert_flow(self, flow: FlowRecord, piece: Piece, now: int) -> None:
        await self._write(weaving.insert, flow, piece, now)

    async def extend_flow(self, piece: Piece, key: int, token: int, now: int) -> None:
        await self._write(weaving.extend, piece, key, token, now)

    async def flow(self, flow_id: str, now: int, limit: int) -> FlowView | None:
        return await self._read(
            lambda jobs: weaving.flow(jobs.connection.execute, flow_id, now, limit)
        )

    async def flows(self, limit: int, before: str | None) -> list[Kept]:
        return await self._read(lambda jobs: weaving.flows(jobs.connection.execute, limit, before))

    async def open_flows(self) -> int:
        return await self._read(lambda jobs: weaving.open_flows(jobs.connection.execute))

    async def cancel_flow(self, flow_id: str, now: int) -> int:
        return await self._write(reopening.cancel, flow_id, now)

    async def retry_flow(self, flow_id: str, now: int) -> int:
        return await self._write(reopening.retry, flow_id, now)

    async def predecessors(
        self, key: int, type_: str | None, after: str | None, limit: int
    ) -> list[Predecessor]:
        return await self._read(
            lambda jobs: weaving.predecessors(jobs.connection.execute, key, type_, after, limit)
        )
