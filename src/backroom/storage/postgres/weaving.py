"""Flows as they are made, added to, looked at, cancelled and retried."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final
from uuid import UUID

import msgspec

from backroom.flow import (
    KINDS,
    POLICIES,
    FlowRecord,
    FlowView,
    Kept,
    Member,
    Piece,
    Predecessor,
    Role,
    kept,
)
from backroom.flowing import followed, keyed, no_flow, stranger, told_to_stop, too_late
from backroom.inspecting import Filter
from backroom.job import JobId, JobRecord, State, status_of
from backroom.ports import Wake
from backroom.stepping import lost
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.connecting import LONGEST
from backroom.storage.postgres.flows import CHUNK, close, ended, name_queues, weave
from backroom.storage.postgres.keys import Keys
from backroom.storage.postgres.looking import Inspector, identity
from backroom.storage.postgres.reopening import retry
from backroom.storage.postgres.texts import from_text, to_id, to_text
from backroom.storage.postgres.turns import begun_in_turn, take_later, turns_of

__all__ = ["Weaving"]

EDGES: Final = 10_000
"""Edges a statement."""


class Weaving:
    """`backroom.flowing.Flowing`, over `_base`."""

    _base: Base

    # -- changes ---------------------------------------------------------------------------------

    async def insert_flow(self, flow: FlowRecord, piece: Piece, now: int) -> None:
        """See the protocol."""
        text = self._base.statements
        if turns_of([one.record for one in piece.members]):
            turned = await self._base.links.run(lambda link: begun_in_turn(link, text, piece, now))
        else:
            turned = piece

        async def insert(link: Any) -> None:
            await name_queues(link, text, _records(turned))
            await self._take_keys(link, turned, now)
            await self._begin_flow(link, flow, turned, now)

        await self._base.change(insert, self._within(turned))
        self._arrived(turned)

    async def _begin_flow(self, link: Any, flow: FlowRecord, piece: Piece, now: int) -> None:
        """Keeps it, on a connection in a transaction. The queues have a row."""
        text = self._base.statements
        if not await link.fetch(
            text["add_flow"], flow.id, to_text(flow.name), KINDS.index(flow.kind),
            POLICIES.index(flow.on_failure), flow.created_at,
        ):  # fmt: skip
            return
        await self._weave(link, flow.id, piece, {})
        await ended(link, text, await close(link, text, [UUID(flow.id)], now), now)

    async def extend_flow(self, piece: Piece, key: int, token: int, now: int) -> None:
        """See the protocol."""
        text, job = self._base.statements, to_id(key)

        async def extend(link: Any) -> None:
            await self._take_keys(link, piece, now)
            await link.fetch(text["lock_flows"], [job])
            rows = await link.fetch(text["holds_member"], job, token)
            if not rows:
                raise lost()
            [(flow, role, cancelled)] = rows
            if cancelled:
                raise told_to_stop()
            await name_queues(link, text, _records(piece))
            await self._add_to_flow(link, job, flow, role, piece)

        await self._base.change(extend, self._within(piece))
        self._arrived(piece)

    async def _add_to_flow(self, link: Any, job: UUID, flow: Any, role: int, piece: Piece) -> None:
        """Adds what a job adds to its flow, which is locked; what it is to that. The queues have a
        row."""
        text = self._base.statements
        new = {member.record.id for member in piece.members}
        outside = {parent for parent, _ in piece.edges} - new
        if role != Role.JOB:
            raise too_late()
        if any(identity(id_) is None for id_ in outside):
            raise stranger(next(id_ for id_ in outside if identity(id_) is None))
        rows = await link.fetch(text["members_by_id"], sorted(new | outside))
        there = followed(piece, {str(id_): (its, state) for id_, its, state in rows}, flow)
        if there is None:
            return
        ready = await self._weave(link, flow, piece, there)
        await take_later(link, text, ready)  # Who schedules does not wait for this.
        parents = {parent for parent, _ in piece.edges}
        last = [one.record.id for one in piece.members if one.record.id not in parents]
        await link.execute(text["graft"], job, last, sorted(new), sorted(outside))

    async def _take_keys(self, link: Any, piece: Piece, now: int, *, within: bool = False) -> None:
        """The unique keys of new members are theirs. To be said before a flow is locked: who waits
        for somebody's transaction holds no flow, whose jobs end meanwhile. `within`: a transaction
        of the application's.

        Raises:
            DuplicateJobError: another job holds one; nothing of the transaction may stay.
        """
        text, keys = self._base.statements, keyed(piece)
        new = sorted(member.record.id for member in piece.members)
        if keys and not await link.fetch(text["present"], new):
            await Keys(text, within).take_all(link, keys, now)

    async def _weave(
        self, link: Any, flow: Any, piece: Piece, there: dict[str, bool]
    ) -> list[JobRecord]:
        """Keeps new members; `there`: other jobs that some of them wait for, and whether these
        have completed. Returns those that wait for nothing."""
        text, members = self._base.statements, piece.members
        waits = Counter(child for parent, child in piece.edges if not there.get(parent, False))
        for member in members:
            if member.role == Role.CALLBACK:
                waits[member.record.id] = 1
        await weave(
            link, text, flow, [one.record for one in members], [one.role for one in members],
            [one.anyway for one in members], [waits[one.record.id] for one in members],
            [_undo_of(one) for one in members],
        )  # fmt: skip
        for at in range(0, len(piece.edges), EDGES):
            edges = piece.edges[at : at + EDGES]
            await link.execute(
                text["add_edges"], [parent for parent, _ in edges], [child for _, child in edges],
                [there.get(parent, False) for parent, _ in edges],
            )  # fmt: skip
        jobs = sum(1 for member in members if member.role == Role.JOB)
        await link.execute(text["more_jobs"], flow, jobs, len(members) - jobs)
        return [one.record for one in members if not waits[one.record.id]]

    def _within(self, piece: Piece) -> float:
        """Seconds that the server has for it."""
        size = len(piece.members) + len(piece.edges)
        return self._base.links.answer * (1 + size // CHUNK)

    def _arrived(self, piece: Piece) -> None:
        moments = [member.record.run_at for member in piece.members]
        self._base.ring(Wake.JOBS, since=min(moments, default=None))

    async def cancel_flow(self, flow_id: str, now: int) -> int:
        """See the protocol."""
        text = self._base.statements

        async def cancel(link: Any) -> int:
            await self._lock_flow(link, flow_id)
            jobs = [row[0] for row in await link.fetch(text["going_on"], UUID(flow_id))]
            return await Inspector(text, link).cancel_some(Filter(), jobs, now)

        wakes = (Wake.CONTROL, Wake.FINISHED, Wake.JOBS)
        return await self._base.change(cancel, LONGEST, wakes=wakes)

    async def retry_flow(self, flow_id: str, now: int) -> int:
        """See the protocol."""

        async def again(link: Any) -> int:
            undone = await self._lock_flow(link, flow_id)
            return await retry(link, self._base.statements, UUID(flow_id), undone, now)

        return await self._base.change(again, LONGEST, wakes=(Wake.JOBS,))

    async def _lock_flow(self, link: Any, flow_id: str) -> bool:
        if identity(flow_id) is None:
            raise no_flow(flow_id)
        rows = await link.fetch(self._base.statements["lock_flow"], UUID(flow_id))
        if not rows:
            raise no_flow(flow_id)
        return bool(rows[0][0])

    # -- looks -----------------------------------------------------------------------------------

    async def flow(self, flow_id: str, now: int, limit: int) -> FlowView | None:
        """See the protocol."""
        if identity(flow_id) is None:
            return None
        text = self._base.statements

        async def look(link: Any) -> FlowView | None:
            async with link.transaction(isolation="repeatable_read", readonly=True):
                row = await link.fetchrow(text["flow"], UUID(flow_id))
                if row is None:
                    return None
                jobs = await link.fetch(text["flow_jobs"], UUID(flow_id), limit)
                ids = [one["job"] for one in jobs]
                edges = await link.fetch(text["flow_edges"], ids)
            shown = set(ids)
            return FlowView(
                _kept(row),
                [
                    (
                        str(one["job"]), from_text(one["type"]),
                        status_of(_state(one), one["run_at"], now), one["role"],
                        from_text(one["reason"]),
                    )
                    for one in jobs
                ],
                [(str(parent), str(child)) for parent, child in edges if parent in shown],
            )  # fmt: skip

        return await self._base.links.run(look, within=LONGEST)

    async def flows(self, limit: int, before: str | None) -> list[Kept]:
        """See the protocol."""
        return [_kept(row) for row in await self._base.fetch("flows", limit, before)]

    async def open_flows(self) -> int:
        """See the protocol."""
        [(count,)] = await self._base.fetch("open_flows")
        return int(count)

    async def predecessors(
        self, key: int, type_: str | None, after: str | None, limit: int
    ) -> list[Predecessor]:
        """See the protocol."""
        name, whose = "parents", to_id(key)
        for role, flow, _ in await self._base.fetch("role_of", whose):
            if role == Role.CALLBACK:
                name, whose = "jobs_of_flow", flow
        rows = await self._base.fetch(
            name, whose, None if type_ is None else to_text(type_),
            UUID(int=0) if after is None else UUID(after), limit,
        )  # fmt: skip
        return [
            Predecessor(
                JobId(str(id_)), from_text(kind),
                status_of(State.WAITING if state is None else state, 0, 0), result,
                from_text(reason),
            )
            for id_, kind, state, result, reason in rows
        ]  # fmt: skip


def _records(piece: Piece) -> list[JobRecord]:
    return [member.record for member in piece.members]


def _undo_of(member: Member) -> str | None:
    return None if member.undo is None else msgspec.json.encode(member.undo).decode()


def _state(row: Any) -> int:
    if row["state"] is not None:
        return int(row["state"])
    if row["active"]:
        return State.ACTIVE
    if row["blocked"]:
        return State.BLOCKED
    return State.PARKED if row["parked"] else State.WAITING


def _kept(row: Any) -> Kept:
    id_, name, *rest = row
    return kept(str(id_), from_text(name), *rest)
