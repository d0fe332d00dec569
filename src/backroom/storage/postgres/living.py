"""The life of a worker: its lease, what it holds, what becomes of that when it goes or dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, TypeVar

import msgspec

from backroom.ports import Heartbeat, Reclaimed, Rescued, Wake, WorkerSpec
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.begun import Begun
from backroom.storage.postgres.outcomes import Outcomes
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import from_text, to_id
from backroom.storage.postgres.ties import hold_all_of, hold_more_of, look_and_loosen
from backroom.storage.postgres.watch import Doomed, Seen, Watch
from backroom.storage.told import begins_of

__all__ = ["Living", "charge"]

T = TypeVar("T")

SHORTEST: Final = 0.5
"""Seconds that an answer to a worker that extends its lease may take, however short that is."""


class Living:
    """Workers."""

    def __init__(self, base: Base, settled: Callable[..., Awaitable[None]]) -> None:
        """`settled`: waits for the inserts that were asked for on a loop."""
        self._base = base
        self._settled = settled
        self._watch = Watch(base.virtual)

    async def enlist(self, spec: WorkerSpec) -> Heartbeat:
        """See `JobStorage.enlist`."""
        self._base.presence.stay()
        asked = self._base.clock.uptime()
        values = (
            spec.name, spec.lease, self._base.clock.now(), self._base.lease_now(),
            self._base.presence.key_for(spec.lease), spec.draining,
        )  # fmt: skip
        text = self._base.statements["enlist"]
        # On a session that holds the key, so that there is no moment without one.
        worker = await self._base.links.run(lambda link: link.fetchval(text, *values), own=True)
        self._base.of(worker).lease = spec.lease
        return Heartbeat(worker, asked + spec.lease, draining=spec.draining)

    async def extend(self, worker: int) -> Heartbeat:
        """See `JobStorage.extend`."""
        self._base.presence.stay()
        asked = self._base.clock.uptime()

        async def extend(link: Any) -> Heartbeat:
            rows = await link.fetch(self._base.statements["extend"], worker, self._base.lease_now())
            if not rows:
                raise self._base.declared_dead(worker)
            cancelled = await link.fetch(self._base.statements["asked_to_end"], worker)
            [(lease, draining)] = rows
            keys = tuple(row[0].int for row in cancelled)
            return Heartbeat(worker, asked + lease, keys, draining)

        # So soon that a connection that is dead costs no lease: there is time for another one.
        links, ours = self._base.links, self._base.begun.get(worker)
        within = max(SHORTEST, min(links.answer, (ours.lease if ours else 0.0) / 8))
        return await links.run(extend, within=within, own=True)

    async def retire(self, worker: int) -> None:
        """See `JobStorage.retire`."""

        async def retire(link: Any) -> tuple[int, int | None] | None:
            gone = await self._let_go(link, worker, ())
            if gone is None:
                return None
            await link.execute(self._base.statements["dismiss"], [worker])
            self._base.begun.pop(worker, None)
            return gone

        self._came_back(*await self._change(retire))

    async def start(self, worker: int, keys: Sequence[int]) -> None:
        """See `JobStorage.start`."""
        begun = self._base.of(worker)
        unknown = [to_id(key) for key in keys if key not in begun.claimed]
        if unknown:
            for id_, token in await self._base.fetch("tokens_of", worker, unknown):
                begun.claimed[id_.int] = token
        begun.mark(keys)
        if not await self._write_begun(worker, begun, keys):
            raise self._base.declared_dead(worker)

    async def _write_begun(
        self, worker: int, begun: Begun, keys: Sequence[int] | None = None
    ) -> bool:
        """Durable that these are marked; without any, who is marked, and nobody else. False where
        the worker was declared dead."""
        async with begun.writing:  # One after the other: a list can make those before it needless.
            listed = begun.listed(keys) if keys is not None else begun.relisted()
            ids, tokens = [to_id(key) for key in listed.keys], [*map(begun.marks.get, listed.keys)]
            rows = await self._base.fetch(
                "start", worker, ids, tokens, listed.number, listed.needless
            )
            begun.wrote(listed)
            return bool(rows)

    async def give_back(self, worker: int, keep: Sequence[tuple[int, int]]) -> int:
        """See `JobStorage.give_back`."""
        # What nobody waits for any more may claim a job.
        await self._settled(asyncio.get_running_loop())
        back, since = await self._change(lambda link: self._let_go(link, worker, keep))
        self._came_back(back, since)
        return back

    def _came_back(self, jobs: int, since: int | None) -> None:
        if jobs:
            self._base.ring(Wake.JOBS, Wake.FINISHED, since=since)

    async def _change(self, work: Callable[[Any], Awaitable[T | None]]) -> T:
        """In a transaction of its own, and anew as long as it says None."""
        while (answer := await self._base.change(work)) is None:
            pass
        return answer

    async def _let_go(
        self, link: Any, worker: int, keep: Collection[tuple[int, int]]
    ) -> tuple[int, int | None] | None:
        """How many have come back, and since when the first of them waits; None, and nothing is
        changed, where it has just claimed a job of a flow that somebody else has."""
        kept = {(to_id(key), token) for key, token in keep}
        tokens, back = [], []
        await hold_all_of(link, self._base.statements, [worker])
        # What it claims from here on waits, and so does its heartbeat: no flow is waited for now.
        await link.execute(self._base.statements["lock_worker"], worker)
        if not await hold_more_of(link, self._base.statements, [worker]):
            return None
        for token, ids in await link.fetch(self._base.statements["holds"], worker):
            gone = [one for one in ids if (one, token) not in kept]
            if gone:
                tokens.append(token)
                back += gone
        since = None
        if back:
            await link.execute(self._base.statements["keep"], tokens, back)
            await link.execute(self._base.statements["drop_empty"], worker)
            now = self._base.clock.now()
            since = await link.fetchval(self._base.statements["release"], back, now)
            since = None if since is None else min(since, now)
            await look_and_loosen(link, self._base.statements, back, now)
            self._base.of(worker).forget(id_.int for id_ in back)
        return len(back), since

    async def disown(self, worker: int, keys: Sequence[int]) -> None:
        """See `JobStorage.disown`."""
        begun = self._base.of(worker)
        begun.unmark(keys)
        await self._write_begun(worker, begun)
        await self._base.fetch(
            "disown", worker, [to_id(key) for key in keys], self._base.clock.now()
        )

    async def reclaim(self, now: int) -> Reclaimed:
        """See `JobStorage.reclaim`."""
        held_here = list(self._base.begun)
        asked = self._base.clock.uptime()
        rows = await self._base.fetch("look_round", self._base.presence.key)
        answered = self._base.clock.uptime()
        verdict = self._watch.look([Seen(*row) for row in rows], asked, answered)
        reclaimed = Reclaimed()
        if verdict.dead:
            reclaimed = await self._change(lambda link: self._seize(link, verdict.dead, now))
        if reclaimed.workers:
            self._base.ring(Wake.JOBS, Wake.FINISHED)
        enlisted = {row[0] for row in rows}
        for worker in held_here:
            if worker not in enlisted:  # Somebody declared it dead.
                self._base.begun.pop(worker, None)
        if self._base.virtual:
            return reclaimed
        return msgspec.structs.replace(reclaimed, doubted=verdict.doubted, again=verdict.again)

    async def _seize(self, link: Any, doomed: Sequence[Doomed], now: int) -> Reclaimed | None:
        """None, and nothing is changed, as in `_let_go`."""
        text = self._base.statements
        # Who is alive may say so while we wait for a flow.
        await hold_all_of(link, text, [one.worker for one in doomed])
        whom = [(one.worker, one.beat, one.silent) for one in doomed]
        dead = dict(await link.fetch(text["dead"], *zip(*whom, strict=True)))
        if not dead:
            return Reclaimed()
        if not await hold_more_of(link, text, list(dead)):
            return None
        back: list[Any] = []
        crashed: list[Any] = []
        for worker, ids, started in await link.fetch(text["seize"], list(dead)):
            back += ids
            if started:
                await charge(link, text, worker, dead[worker], started, now)
                crashed += started
        rescued: list[Rescued] = []
        if back:
            for queue, type_, jobs, started in await link.fetch(text["kinds_of"], back, crashed):
                rescued.append(Rescued(from_text(queue), from_text(type_), jobs, started))
            await link.execute(text["release"], back, now)
            await look_and_loosen(link, text, back, now)
        await link.execute(text["dismiss"], list(dead))
        return Reclaimed(
            tuple(dead.values()), len(crashed), len(back) - len(crashed), rescued=tuple(rescued)
        )


async def charge(
    link: Any, text: Statements, worker: int, name: str, started: Sequence[Any], now: int
) -> None:
    """An attempt of each of these, which may have begun when their worker died."""
    reason = f"the worker {name} died while it ran this job"
    [told] = await link.fetch(text["told_by"], worker) or [(None,)]
    begins = begins_of(told[0])
    await link.execute(
        text["charge"], started, now, reason, [id_ for id_, _ in begins],
        [attempt for _, attempt in begins], list(begins.values()),
    )  # fmt: skip
    await link.execute(text["trim_errors"], started, Outcomes.ERRORS)
