"""Moving house: from one durable storage to another, and never in both at once.

Jobs go parcel by parcel. A parcel is packed in the source (from then on nobody can claim what is
in it), unpacked in the target, and unloaded in the source, each step in one durable change. Who
dies on the way leaves a parcel; the next move to the same target begins with it, and since ids
are what they were, what had arrived already arrives no second time.

Flows go lot by lot. A flow leaves first, without its jobs: these are nobody's from then on. Its
edges and its jobs follow, parcel by parcel, and as soon as all have arrived it arrives itself; with
that its jobs may be claimed in the target. So none of it runs while it is on its way, whatever its
size, and no change holds more than a parcel.

Schedules are packed first, so that no tick is decided in the source any more, and unpacked last: a
job of an earlier tick is there by then, or has ended. What comes in between is late in the target.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final, Literal, cast

import msgspec

from backroom.baggage import Baggage, Parcel, Refusal, checksum
from backroom.errors import ConfigurationError, JobStateError, StorageError
from backroom.flowing import Flowing
from backroom.job import status_of
from backroom.planning import Planning
from backroom.ports import House

__all__ = ["Move", "Moved", "Twins"]

PARCEL: Final = 1000
"""Jobs of one parcel at most."""
EDGES: Final = 10_000
"""Edges of one parcel at most."""
MOST_REFUSED: Final = 1000
"""Jobs that the target may refuse before the move stops."""
SHOWN: Final = 5
"""Jobs, keys or workers that a message names."""
LOOK: Final = 0.2
"""Seconds between two looks at jobs that are waited for."""

Twins = Literal["refuse", "stay", "cancel"]
"""What is to become of jobs whose unique key a job of the target holds: nothing is moved; they
stay where they are, but for those of workflows, for which nothing is moved; they arrive as
cancelled."""


class Moved(msgspec.Struct):
    """What a move did."""

    source: str
    target: str
    moved: Counter[str]
    """By status: jobs that are in the target now, and were not before."""
    known: int = 0
    """Jobs that the target had already, as of a move that had not ended."""
    cancelled: int = 0
    """Of those moved: the ones that arrived as cancelled, for their unique key."""
    stayed: dict[str, str] = {}
    """By id: why a job is still in the source."""
    active: int = 0
    """Jobs that a worker of the source holds, and that stay there."""
    flows: int = 0
    """Workflows and batches that are in the target now, and were in the source."""
    going_on: int = 0
    """Workflows and batches that stay in the source, since a worker holds a job of theirs, or held
    one when they were to leave."""
    schedules: int = 0
    """Schedules that are in the target now, and were in the source."""
    paused: tuple[str, ...] = ()
    """Queues that are paused in the target as they are in the source."""
    limited: tuple[str, ...] = ()
    """Queues whose operators' limits the target has from the source now."""
    checksum: str = ""
    """Over all that is kept of the jobs moved, as they were packed and as they arrived."""
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """Nothing that was to be moved is left behind."""
        return not self.stayed and not self.active and not self.going_on


class Move:
    """One move. Both storages are open, and stay so.

    Args:
        history: also jobs and flows that have ended.
        wait: for jobs that run in the source, until each has ended or waits again; what waits is
            moved first, so its workers find nothing more to begin.
        twins: see `Twins`.
        progress: told how many jobs have arrived, of how many.
    """

    def __init__(
        self,
        source: House,
        target: House,
        *,
        history: bool = False,
        wait: bool = False,
        twins: Twins = "refuse",
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> None:
        self._source = source
        self._target = target
        self._history = history
        self._wait = wait
        self._twins = twins
        self._progress = progress
        self._moved = Moved(source.url, target.url, Counter())
        self._sum = 0
        self._number = 0
        """Of the target."""
        self._total = 0
        self._held_back: list[tuple[Parcel, list[Refusal]]] = []
        """Parcels of which some jobs are to stay, and which: packed until the end, so that no
        look finds them again."""

    async def look(self) -> dict[str, int]:
        """Whether it may begin, and how many jobs it would move, by status. Changes nothing but
        that jobs of dead workers come back.

        Raises:
            ConfigurationError: they are the same store, or one forgets its jobs with the process.
            JobStateError: a job runs; or the target holds unique keys of the source, or has
                schedules of the same names that say something else; or a move from the source to
                another target, or from the target, has not ended.
        """
        source, target = self._source, self._target
        for house in (source, target):
            if not house.capabilities.durable or getattr(house, "pack", None) is None:
                raise ConfigurationError(
                    f"jobs are moved from one durable storage to another, and {house.url} is none;"
                    " use file: or postgresql:"
                )
        self._total = 0
        self._number = await target.number()
        if await source.number() == self._number:
            raise ConfigurationError(f"{source.url} and {target.url} are the same store")
        async for parcel in self._parcels():
            if parcel.target != self._number:
                raise JobStateError(
                    f"a move from {source.url} to {parcel.label} has not ended: its jobs are packed"
                    " for there; run that one again before you move elsewhere"
                )
            self._total += len(parcel.jobs)
        theirs = await target.parcel()
        if theirs is not None:
            raise JobStateError(
                f"a move from {target.url} to {theirs.label} has not ended: run that one again"
                " before you move there"
            )
        packed = self._total
        await source.reclaim(source.clock.now())
        stats = await source.stats(source.clock.now())
        if stats.by_status["active"] and not self._wait:
            busy = [f"{one.name} ({one.active})" for one in stats.workers if one.active]
            raise JobStateError(
                f"jobs of {source.url} are held by {_some(busy) or 'a worker'}: stop these workers,"
                " or wait for them with --wait"
            )
        if self._twins != "cancel":
            await self._refuse_twins()
        await self._refuse_other_schedules()
        which = ("scheduled", "pending", "blocked", "active") + (
            ("completed", "failed", "cancelled") if self._history else ()
        )
        counts = {status: stats.by_status[status] for status in which if stats.by_status[status]}
        self._total += sum(counts.values())
        return {**counts, **({"packed": packed} if packed else {})}

    async def run(self) -> Moved:
        """Moves. Who is interrupted loses nothing: the same move goes on where this one ended.

        Raises: like `look`, and then nothing was changed; StorageError: one of the two does not
            answer, and what was packed waits for the next move.
        """
        began = time.monotonic()
        await self.look()
        try:
            await self._take_over_pauses()
            await self._take_over_limits()
            while await self._source.pack_schedules(PARCEL, self._number, self._target.url):
                pass
            await self._deliver_left()
            await self._carry_flows()
            await self._pass_until_nobody_runs()
            await self._deliver_left()
            await self._carry_flows()
            await self._return_all()
            await self._bring_schedules()
            now = self._source.clock.now()
            self._moved.active = (await self._source.stats(now)).by_status["active"]
            self._moved.going_on = await cast(Flowing, self._source).open_flows()
        except StorageError as error:
            done = sum(self._moved.moved.values())
            raise StorageError(
                f"{error}; {done:,} jobs have arrived, and what was packed is safe: run the same"
                " move again, and it goes on from here"
            ) from error
        self._moved.checksum = f"{self._sum:032x}"
        self._moved.seconds = time.monotonic() - began
        return self._moved

    # -- before -----------------------------------------------------------------------------------

    async def _refuse_twins(self) -> None:
        found: dict[tuple[str, str], str] = {}
        after = None
        while True:
            keys, after = await self._source.keyed(after, PARCEL)
            if not keys:
                break
            held = await self._target.holders(keys)
            found.update(held if self._twins == "refuse" else await self._of_flows(held))
            if len(found) > SHOWN:
                break
        if found and self._twins == "stay":
            raise JobStateError(
                f"jobs of {self._target.url} hold unique keys that jobs of workflows of"
                f" {self._source.url} hold, too: {_keys(found)}; a workflow moves whole or not at"
                " all, so nothing was moved: cancel one of each two, or say --same-keys cancel"
            )
        if found:
            raise JobStateError(
                f"jobs of {self._target.url} hold unique keys that jobs of {self._source.url} hold,"
                f" too: {_keys(found)}; nothing was moved: cancel one of each two, or say"
                " --same-keys stay or --same-keys cancel"
            )

    async def _of_flows(self, held: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
        """Those of these keys that a job of a workflow holds in the source."""
        now, found = self._source.clock.now(), {}
        for key, job in (await self._source.holders(list(held))).items():
            info = await self._source.find(job, now)
            if info is not None and info.workflow is not None:
                found[key] = held[key]
        return found

    async def _refuse_other_schedules(self) -> None:
        theirs = cast(Planning, self._target)
        found = []
        for one in await cast(Planning, self._source).schedules():
            there = await theirs.schedule(one.name)
            if there is not None and not there.says(one):
                found.append(one.name)
        if found:
            raise JobStateError(
                f"schedules of {self._target.url} have names of schedules of {self._source.url},"
                f" and say something else: {_some(found)}; nothing was moved: drop one of each two"
            )

    async def _take_over_pauses(self) -> None:
        """Before the jobs: none is to run in between."""
        queues = await self._source.queues()
        self._moved.paused = tuple(sorted(name for name, paused in queues.items() if paused))
        for name in self._moved.paused:
            await self._target.pause(name, True)

    async def _take_over_limits(self) -> None:
        """What operators have said of queues; what they have said of them in the target stands."""
        there = await self._target.operated()
        said = await self._source.operated()
        new = {queue: most for queue, most in said.items() if queue not in there}
        self._moved.limited = tuple(sorted(new))
        for queue in self._moved.limited:
            await self._target.limit_queue(queue, new[queue])

    async def _parcels(self, after: int = 0) -> AsyncIterator[Parcel]:
        """Those of the source, behind the one of this number."""
        while (parcel := await self._source.parcel(after)) is not None:
            yield parcel
            after = parcel.number

    # -- on the way -------------------------------------------------------------------------------

    async def _pass(self) -> bool:
        """Once through the source; whether there was anything to move."""
        found, after = await self._pass_flows(), None
        while True:
            parcel, after = await self._source.pack(
                after, PARCEL, self._history, self._number, self._target.url
            )
            if after is None:
                return found
            if parcel is not None:
                found = True
                await self._deliver(parcel)

    async def _deliver_left(self) -> None:
        """Jobs that were packed, by a move that did not end or one whose answer was lost."""
        held_back = {parcel.number for parcel, _ in self._held_back}
        async for parcel in self._parcels():
            if parcel.freight is None and parcel.number not in held_back:
                await self._deliver(parcel)

    async def _pass_flows(self) -> bool:
        found = False
        these = PARCEL, self._history, self._number, self._target.url
        while (lot := await self._source.pack_flows(*these)) is not None:
            found = True
            await self._carry_flows(lot.number - 1)
        return found

    async def _carry_flows(self, after: int = 0) -> None:
        """Flows that were packed, one lot after the other: they arrive when all of theirs has."""
        source, target = self._source, self._target
        async for lot in self._parcels(after):
            if not lot.flows:
                continue
            these = [flow.id for flow in lot.flows], EDGES, self._number, target.url
            while await source.pack_edges(*these) is not None:
                pass
            these = these[0], PARCEL, *these[2:]
            while (jobs := await source.pack_members(*these)) is not None:
                await self._deliver(jobs)
            await self._bring_edges(lot.number)
            self._moved.flows += await target.unpack_flows(await source.number(), lot)
            await source.unload(lot)

    async def _bring_edges(self, after: int) -> None:
        async for parcel in self._parcels(after):
            if parcel.edges:
                await self._target.unpack_edges(parcel.edges)
                await self._source.unload(parcel)

    async def _pass_until_nobody_runs(self) -> None:
        while True:
            # Before the look: what waits again as it ends is found by the next one.
            someone_runs = self._wait and await self._someone_runs()
            if await self._pass():
                continue
            if not someone_runs:
                return
            await asyncio.sleep(LOOK)

    async def _someone_runs(self) -> bool:
        now = self._source.clock.now()
        await self._source.reclaim(now)
        return bool((await self._source.stats(now)).by_status["active"])

    async def _bring_schedules(self) -> None:
        source = await self._source.number()
        async for parcel in self._parcels():
            if parcel.schedules:
                self._moved.schedules += await self._target.unpack_schedules(source, parcel)
                await self._source.unload(msgspec.structs.replace(parcel, freight=None))

    async def _deliver(self, parcel: Parcel) -> None:
        unpacked = await self._target.unpack(parcel.jobs)
        self._arrived(unpacked.kept)
        self._moved.known += len(unpacked.known)
        refused = list(unpacked.refused)
        if refused and self._twins == "cancel":
            refused = await self._cancel(refused)
        if any(one.job.member is not None for one in refused):
            raise JobStateError(
                f"{self._target.url} refused job {refused[0].job.id} of a workflow, because"
                f" {refused[0].why}; the workflow is packed and safe: mend that, and run the same"
                " move again"
            )
        if refused:
            self._held_back.append((msgspec.structs.replace(parcel, jobs=()), refused))
            count = sum(len(refusals) for _, refusals in self._held_back)
            if count > MOST_REFUSED:
                await self._return_all()
                raise JobStateError(
                    f"{self._target.url} refused {count:,} jobs, more than {MOST_REFUSED:,}, the"
                    f" last one ({refused[-1].job.id}) because {refused[-1].why}; these are in"
                    f" {self._source.url} again, and the move stopped: mend that, and run it again"
                )
        else:
            await self._source.unload(parcel)
        done = sum(self._moved.moved.values()) + self._moved.known
        self._progress(done, max(done, self._total))

    async def _cancel(self, refused: list[Refusal]) -> list[Refusal]:
        """They arrive as cancelled; returns those that cannot even do that."""
        now = self._target.clock.now()
        unpacked = await self._target.unpack([one.job.cancelled(now, one.why) for one in refused])
        self._arrived(unpacked.kept)
        self._moved.cancelled += len(unpacked.kept)
        return list(unpacked.refused)

    def _arrived(self, jobs: Sequence[Baggage]) -> None:
        now = self._target.clock.now()
        self._moved.moved.update(str(status_of(job.state, job.run_at, now)) for job in jobs)
        self._sum = (self._sum + checksum(jobs)) % 2**128

    async def _return_all(self) -> None:
        """What is to stay is in the source again."""
        for parcel, refusals in self._held_back:
            await self._source.unload(parcel, [one.job for one in refusals])
            self._moved.stayed.update({one.job.id: one.why for one in refusals})


def _keys(found: Mapping[tuple[str, str], str]) -> str:
    return _some([f"{type_} {key!r} (job {job})" for (type_, key), job in found.items()])


def _some(names: list[str]) -> str:
    more = ["..."] if len(names) > SHOWN else []
    return ", ".join(names[:SHOWN] + more)
