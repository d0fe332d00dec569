"""Jobs that leave this store for another one, or come from there."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from msgspec.structs import astuple

from backroom.baggage import (
    Baggage,
    Membership,
    Parcel,
    PastError,
    Refusal,
    Unpacked,
    compare,
    encode,
    fitting,
)
from backroom.job import State
from backroom.ports import Wake
from backroom.step import SignalRecord, StepRecord
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.looking import identity
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import from_text, to_text

__all__ = ["Moving", "has_parcels", "read"]

Key = tuple[str, str]

_TEXTS = (1, 2, 8, 17, 19)
"""The columns of a job that hold any text; the others hold JSON, which has no zero byte."""


class Moving:
    """`Movable`, over `_base`."""

    _base: Base

    async def number(self) -> int:
        """See `Movable.number`."""
        await self._base.fetch("store", 1 + secrets.randbelow(2**62))
        [(number,)] = await self._base.fetch("store_number")
        return int(number)

    # -- looks -----------------------------------------------------------------------------------

    async def copies(
        self, after: str | None, limit: int, history: bool
    ) -> tuple[list[Baggage], str | None]:
        """See `Movable.copies`."""

        async def look(link: Any) -> tuple[list[Baggage], str | None]:
            async with link.transaction(isolation="repeatable_read", readonly=True):
                ids = await self._next(link, after, limit, history)
                return await read(link, self._base.statements, ids), str(ids[-1]) if ids else None

        return await self._base.links.run(look)

    async def keyed(self, after: str | None, limit: int) -> tuple[list[Key], str | None]:
        """See `Movable.keyed`."""
        rows = await self._base.fetch(
            "keys_after", after or UUID(int=0), limit, self._base.clock.now()
        )
        keys = [(from_text(type_), from_text(key)) for type_, key, _ in rows]
        return keys, str(rows[-1][2]) if rows else None

    async def holders(self, keys: Sequence[Key]) -> dict[Key, str]:
        """See `Movable.holders`."""
        return await self._base.links.run(lambda link: self._holders(link, keys))

    async def parcel(self, after: int = 0) -> Parcel | None:
        """See `Movable.parcel`."""
        if not await self._has_parcels():
            return None
        for number, target, label, jobs in await self._base.fetch("oldest_parcel", after):
            return Parcel.opened(number, target, label, jobs)
        return None

    async def _has_parcels(self) -> bool:
        return await self._base.links.run(lambda link: has_parcels(link, self._base.statements))

    async def _next(self, link: Any, after: str | None, limit: int, history: bool) -> list[Any]:
        rows = await link.fetch(
            self._base.statements["what_is_next"], after or UUID(int=0), limit, history
        )
        return [row[0] for row in rows[: fitting(rows)]]

    async def _holders(self, link: Any, keys: Sequence[Key]) -> dict[Key, str]:
        rows = await link.fetch(
            self._base.statements["holders"],
            [to_text(type_) for type_, _ in keys],
            [to_text(key) for _, key in keys],
            self._base.clock.now(),
        )
        return {(from_text(type_), from_text(key)): str(job) for type_, key, job in rows}

    # -- changes ---------------------------------------------------------------------------------

    async def pack(
        self, after: str | None, limit: int, history: bool, target: int, label: str
    ) -> tuple[Parcel | None, str | None]:
        """See `Movable.pack`."""
        ids = await self._base.links.run(lambda link: self._next(link, after, limit, history))
        if not ids:
            return None, None
        if not await self._has_parcels():
            await self._base.fetch("make_parcels")

        async def pack(link: Any) -> Parcel | None:
            text = self._base.statements
            mine = [row[0] for row in await link.fetch(text["take_place"], ids, history)]
            jobs = await read(link, text, mine)
            if not jobs:
                return None
            await link.execute(text["drop_waiting"], mine)
            await link.execute(text["forget"], mine)
            number = await link.fetchval(text["add_parcel"], target, label, encode(jobs))
            return Parcel(number, target, label, jobs)

        return await self._base.change(pack), str(ids[-1])

    async def unpack(self, jobs: Sequence[Baggage]) -> Unpacked:
        """See `Movable.unpack`."""
        unpacked = await self._base.change(lambda link: self._unpack(link, jobs))
        self._ring(unpacked)
        return unpacked

    async def unload(self, parcel: Parcel, back: Sequence[Baggage] = ()) -> Sequence[Refusal]:
        """See `Movable.unload`."""
        if not await self._has_parcels():
            return ()
        now = self._base.clock.now()

        async def unload(link: Any) -> Unpacked | None:
            if not await link.fetch(self._base.statements["drop_parcel"], parcel.number):
                return None
            await link.execute(
                self._base.statements["not_away"], [flow.id for flow in parcel.flows]
            )
            if not back:
                return None
            returned = await self._unpack(link, back)
            # Their keys went to others meanwhile. What was acknowledged is not forgotten all the
            # same.
            await self._unpack(link, [one.job.cancelled(now, one.why) for one in returned.refused])
            return returned

        returned = await self._base.change(unload)
        if returned is None:
            return ()
        self._ring(returned)
        return returned.refused

    async def _unpack(self, link: Any, jobs: Sequence[Baggage]) -> Unpacked:
        possible = [job for job in jobs if identity(job.id) is not None]
        refused = [
            Refusal(job, "PostgreSQL holds UUIDs as ids, in small letters")
            for job in jobs
            if identity(job.id) is None
        ]
        there = await link.fetch(self._base.statements["there"], [job.id for job in possible])
        known = {str(row[0]) for row in there}
        known |= await self._removed_since(link, [job for job in possible if job.id not in known])
        now = self._base.clock.now()
        new = [job.settled(now) for job in possible if job.id not in known]
        for job, holder in await self._twins(link, new):
            if holder == job.id:  # Somebody brings it at the same moment.
                known.add(job.id)
            else:
                refused.append(Refusal.twin(job, holder))
        out = known | {one.job.id for one in refused}
        new = [job for job in new if job.id not in out]
        added = await self._keep(link, new) if new else set()
        known |= {job.id for job in new} - added
        kept = [job for job in new if job.id in added]
        ids = [job.id for job in kept]
        text = self._base.statements
        compare(kept, await read(link, text, ids, members=any(job.member for job in kept)))
        return Unpacked(kept, sorted(known), refused)

    async def _removed_since(self, link: Any, jobs: Sequence[Baggage]) -> set[str]:
        """Of jobs that are not here, those whose flow has arrived before: they were here."""
        flows = {job.member.flow for job in jobs if job.member is not None}
        if not flows:
            return set()
        rows = await link.fetch(self._base.statements["flows_here"], sorted(flows))
        here = {str(row[0]) for row in rows}
        return {job.id for job in jobs if job.member is not None and job.member.flow in here}

    async def _twins(self, link: Any, jobs: Sequence[Baggage]) -> list[tuple[Baggage, str]]:
        """Gives each its key; those that another one holds, and which."""
        now, text = self._base.clock.now(), self._base.statements
        keyed = {job.id: (job, key) for job in jobs if (key := job.key_at(now)) is not None}
        if not keyed:
            return []
        kept = [one for one in keyed.values() if one[0].held is None]
        held = [one for one in keyed.values() if one[0].held is not None]
        await link.execute(text["let_go_of"], *_names(list(keyed.values())), now)
        taken: list[Any] = []
        if kept:
            ids = [job.id for job, _ in kept]
            taken += await link.fetch(text["take_keys"], *_names(kept), ids)
        if held:
            ids, until = [job.id for job, _ in held], [job.held[1] for job, _ in held if job.held]
            taken += await link.fetch(text["hold"], *_names(held), ids, until)
        for row in taken:
            del keyed[str(row[0])]
        if not keyed:
            return []
        holders = await self._holders(link, [key for _, key in keyed.values()])
        if not all(key in holders for _, key in keyed.values()):
            raise asyncpg.SerializationError("who held a key has ended just now")  # Done again.
        return [(job, holders[key]) for job, key in keyed.values()]

    async def _keep(self, link: Any, jobs: Sequence[Baggage]) -> set[str]:
        text = self._base.statements
        await link.execute(text["new_queues"], sorted({to_text(job.queue) for job in jobs}))
        rows = await link.fetch(text["bring"], *_columns(jobs))
        added = {str(row[0]) for row in rows}
        if len(added) < len(jobs):  # Somebody brought them ended at the same moment.
            gone = [job.id for job in jobs if job.id not in added]
            await link.execute(text["free_keys"], gone)
        errors = [
            (
                job.id,
                one.attempt,
                one.at,
                to_text(one.kind),
                to_text(one.message),
                to_text(one.traceback),
                one.began,
            )
            for job in jobs
            if job.id in added
            for one in job.errors
        ]
        if errors:
            await link.execute(text["add_errors"], *map(list, zip(*errors, strict=True)))
        log = [
            (job.id, attempt, at, level, to_text(message))
            for job in jobs
            if job.id in added
            for at, attempt, level, message in job.log
        ]
        if log:
            await link.execute(text["add_logs"], *map(list, zip(*log, strict=True)))
        new = [job for job in jobs if job.id in added]
        steps = [(job.id, *astuple(one)) for job in new for one in job.steps]
        if steps:
            await link.execute(text["add_steps"], *map(list, zip(*steps, strict=True)))
        signals = [(job.id, *astuple(one)) for job in new for one in job.signals]
        if signals:
            await link.execute(text["add_signals"], *map(list, zip(*signals, strict=True)))
        members = [_member(job, job.member) for job in new if job.member is not None]
        if members:
            await link.execute(text["expect_flows"], sorted({flow for _, flow, *_ in members}))
            await link.execute(text["bring_members"], *map(list, zip(*members, strict=True)))
        return added

    def _ring(self, unpacked: Unpacked) -> None:
        if unpacked.kept:
            parked = any(job.state == State.PARKED for job in unpacked.kept)
            self._base.parked = self._base.parked or parked
            self._base.ring(Wake.JOBS, Wake.FINISHED)


async def has_parcels(link: Any, text: Statements) -> bool:
    """Whether something was ever packed: else there is no table of parcels."""
    return bool(await link.fetchval("SELECT to_regclass($1) IS NOT NULL", text.name("parcels")))


async def read(
    link: Any, text: Statements, ids: Sequence[Any], *, members: bool = False
) -> list[Baggage]:
    """These jobs as they travel; `members`: also what they are to flows."""
    if not ids:
        return []
    rows = await link.fetch(text["whole"], ids)
    errors = _by_job(await link.fetch(text["errors_of"], ids))
    log = _by_job(await link.fetch(text["log_of"], ids))
    steps = _by_job(await link.fetch(text["steps_of_all"], ids))
    signals = _by_job(await link.fetch(text["signals_of_all"], ids))
    jobs = [
        _baggage(
            row,
            errors.get(row[0], ()),
            log.get(row[0], ()),
            tuple(StepRecord(*one) for one in steps.get(row[0], ())),
            tuple(SignalRecord(*one) for one in signals.get(row[0], ())),
        )
        for row in rows
    ]
    if not members:
        return jobs
    of = {
        str(job): Membership(str(flow), *rest)
        for job, flow, *rest in await link.fetch(text["memberships"], ids)
    }
    return [_of_flow(job, of.get(job.id)) for job in jobs]


def _of_flow(job: Baggage, member: Membership | None) -> Baggage:
    waits = member is not None and member.waits > 0
    state = int(State.BLOCKED) if waits else job.state
    return msgspec.structs.replace(job, member=member, state=state)


def _member(job: Baggage, member: Membership) -> tuple[Any, ...]:
    """Nobody claims it before its flow has arrived."""
    waits = None if job.ended else member.waits
    return (
        job.id, member.flow, member.role, member.anyway, waits, member.counted, member.doomed,
        member.undo, job.due_until,
    )  # fmt: skip


def _columns(jobs: Sequence[Baggage]) -> list[list[Any]]:
    rows = [
        (
            job.id, to_text(job.type), to_text(job.queue), job.priority, job.run_at,
            job.created_at, job.data, job.options, to_text(job.unique_key), job.expires_at,
            job.kept_as, job.attempt, job.crashes, job.budget, job.started_at, job.finished_at,
            job.result, to_text(job.reason), job.progress, to_text(job.progress_message),
            job.due_until,
        )
        for job in jobs
    ]  # fmt: skip
    return [list(column) for column in zip(*rows, strict=True)]


def _names(keyed: Sequence[tuple[Baggage, Key]]) -> tuple[list[str], list[str]]:
    keys = [key for _, key in keyed]
    return [to_text(type_) for type_, _ in keys], [to_text(key) for _, key in keys]


def _baggage(
    row: Any,
    errors: Iterable[Any],
    log: Iterable[Any],
    steps: tuple[StepRecord, ...],
    signals: tuple[SignalRecord, ...],
) -> Baggage:
    *values, key, until = row
    values[0] = str(values[0])
    for at in _TEXTS:
        values[at] = from_text(values[at])
    return Baggage(
        *(
            *values,
            tuple(
                PastError(a, at, from_text(k), from_text(m), from_text(t), began)
                for a, at, k, m, t, began in errors
            ),
            tuple((at, a, level, from_text(m)) for at, a, level, m in log),
            steps,
            signals,
            None if until is None else (from_text(key), until),
        )
    )


def _by_job(rows: Iterable[Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for job, *row in rows:
        found.setdefault(job, []).append(row)
    return found
