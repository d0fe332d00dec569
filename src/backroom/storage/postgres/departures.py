"""Flows that leave this store for another one, or come from there: first their rows, then their
edges, then their jobs, which arrive in the reverse order.

A flow on its way has no row in either store, and is listed in `away`. As long as that is so its
jobs are nobody's: none is claimed, cancelled, retried, expired or removed. Whoever ends jobs of a
flow holds its row, and so does who takes that away: it waits for them, and after it they find none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
from msgspec.structs import astuple

from backroom.baggage import Edge, FlowBaggage, Freight, Parcel, encode, encode_freight, fitting
from backroom.errors import StorageError
from backroom.ports import Wake
from backroom.storage.arriving import flows_mark, some_flows
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.connecting import LONGEST
from backroom.storage.postgres.flows import CHUNK
from backroom.storage.postgres.moving import has_parcels, read
from backroom.storage.postgres.texts import from_text, to_text

__all__ = ["Departures"]


class Departures:
    """What `Movable` says of flows, over `_base`."""

    _base: Base

    # -- from here -------------------------------------------------------------------------------

    async def pack_flows(self, limit: int, history: bool, target: int, label: str) -> Parcel | None:
        """See `Movable.pack_flows`."""
        text = self._base.statements

        async def pack(link: Any) -> Parcel | None:
            rows = await link.fetch(text["flows_to_pack"], history, limit)
            rows = rows[: some_flows(row["jobs"] for row in rows)]
            if not rows:
                return None
            ids = [row["id"] for row in rows]
            if not await has_parcels(link, text):
                await link.execute(text["make_parcels"])
            await self._hold_still(link, ids)
            sizes = {id_: counts for id_, *counts in await link.fetch(text["sizes"], ids)}
            flows = tuple(_flow(row, sizes[row["id"]]) for row in rows)
            await link.execute(text["drop_flows"], ids)
            return await self._parcel(link, Freight(flows=flows), target, label)

        return await self._base.change(pack, LONGEST)

    async def _hold_still(self, link: Any, flows: Sequence[Any]) -> None:
        """Nobody claims a job of these any more."""
        text = self._base.statements
        members = [row[0] for row in await link.fetch(text["members_of"], flows)]
        for at in range(0, len(members), CHUNK):
            some = members[at : at + CHUNK]
            # Who was called from a line since is seen by the statement after it.
            in_line = [row[0] for row in await link.fetch(text["leave_lines"], some)]
            await link.execute(text["hold_still"], some, in_line)
            if await link.fetch(text["unplaced"], some):
                raise asyncpg.SerializationError("somebody has claimed it just now")  # Done again.

    async def pack_edges(
        self, flows: Sequence[str], limit: int, target: int, label: str
    ) -> Parcel | None:
        """See `Movable.pack_edges`."""

        async def pack(link: Any) -> Parcel | None:
            rows = await link.fetch(self._base.statements["take_edges"], flows, limit)
            edges = tuple((str(parent), str(child), done) for parent, child, done in rows)
            if not edges:
                return None
            return await self._parcel(link, Freight(edges=edges), target, label)

        return await self._base.change(pack, LONGEST)

    async def pack_members(
        self, flows: Sequence[str], limit: int, target: int, label: str
    ) -> Parcel | None:
        """See `Movable.pack_members`."""

        async def pack(link: Any) -> Parcel | None:
            text = self._base.statements
            rows = await link.fetch(text["take_members"], flows, limit)
            ids = [row["id"] for row in rows[: fitting(rows)]]
            if not ids:
                return None
            jobs = await read(link, text, ids, members=True)
            await link.execute(text["drop_waiting"], ids)
            await link.execute(text["forget"], ids)
            number = await link.fetchval(text["add_parcel"], target, label, encode(jobs))
            return Parcel(number, target, label, jobs)

        return await self._base.change(pack, LONGEST)

    async def _parcel(self, link: Any, freight: Freight, target: int, label: str) -> Parcel:
        text = self._base.statements["add_parcel"]
        number = await link.fetchval(text, target, label, encode_freight(freight))
        return Parcel(number, target, label, (), freight)

    # -- to here ---------------------------------------------------------------------------------

    async def unpack_edges(self, edges: Sequence[Edge]) -> None:
        """See `Movable.unpack_edges`."""
        ids = sorted({id_ for parent, child, _ in edges for id_ in (parent, child)})

        async def unpack(link: Any) -> None:
            text = self._base.statements
            if len(await link.fetch(text["memberships"], ids)) < len(ids):
                raise StorageError("an edge came before the jobs that it is between")
            await link.execute(text["bring_edges"], *map(list, zip(*edges, strict=True)))

        await self._base.change(unpack, LONGEST)

    async def unpack_flows(self, source: int, parcel: Parcel) -> int:
        """See `Movable.unpack_flows`."""
        text = self._base.statements

        async def unpack(link: Any) -> int:
            mark = flows_mark(source, parcel)
            if not await link.fetch(text["mark_parcel"], mark, parcel.number):
                return 0
            ids = [flow.id for flow in parcel.flows]
            here = {str(row[0]) for row in await link.fetch(text["flows_here"], ids)}
            sizes = {str(id_): counts for id_, *counts in await link.fetch(text["sizes"], ids)}
            new = [flow for flow in parcel.flows if flow.id not in here]
            for flow in new:
                flow.check(*sizes[flow.id])
            if new:
                columns = zip(*map(_row, new), strict=True)
                await link.execute(text["bring_flows"], *map(list, columns))
                await link.fetch(text["let_move"], [flow.id for flow in new])
                await link.execute(text["not_away"], [flow.id for flow in new])
            return len(new)

        count = await self._base.change(unpack, LONGEST)
        self._base.ring(Wake.JOBS, Wake.FINISHED)
        return count


def _flow(row: Any, counts: Sequence[int]) -> FlowBaggage:
    id_, name, *rest = row
    return FlowBaggage(*(str(id_), from_text(name), *rest, *counts))


def _row(flow: FlowBaggage) -> tuple[Any, ...]:
    id_, name, *rest = astuple(flow)[:-2]
    return (id_, to_text(name), *rest)
