"""What runs is counted: permits of jobs that are held, and the lines of those that wait for one.

Whoever counts at a gate, or lets somebody in, holds its row, and looks at the rest in a statement
behind that; so each sees what the others have done. Rows are locked in one order by all, see
`ties`: those of claims first, then gates by name and key, then places in line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from backroom.admitting import AHEAD, APART, Admission, Asking, Gate, Line, Place, admit, moments
from backroom.errors import StorageError
from backroom.job import SECOND
from backroom.limit import QUEUE, UNLIMITED, LimitInfo, LimitRecord, Need, limits_of
from backroom.ports import Wake
from backroom.storage.postgres import turns
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.mishaps import Mishap, mishap_of
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import from_text, to_id, to_key, to_text
from backroom.transition import Claim

__all__ = ["Admitting", "Limits", "let_go"]

T = TypeVar("T")

SIFTED: Final = 1000
"""Jobs behind one that found no room that are looked at with it."""
TRIES: Final = 5
"""How often claimed jobs are counted that other transactions were in the way of."""
PATIENCE: Final = 5 * SECOND
"""Microseconds for which room is kept for one that was called."""
HOUR: Final = 3600 * SECOND
PLACES: Final = 200
"""Lines that one call of `free_up` looks at."""
IDLE: Final = 1000
"""Gates that it clears away at most."""


class Limits:
    """`backroom.limiting.Limiting`, over `_base`."""

    _base: Base
    _freed_to: Place = ("", "")
    """The place up to which `free_up` has looked."""

    async def put_limits(self, records: Sequence[LimitRecord]) -> None:
        """See the protocol."""
        await self._base.fetch("put_limits", *_numbers(records))
        await self.free_up(self._base.clock.now())

    async def limits(self) -> list[LimitInfo]:
        """See the protocol."""
        return [
            LimitInfo(
                name=from_text(row["name"]), most=row["most"],
                per=row["per"] / SECOND if row["per"] else None,
                burst=LimitRecord("", row["most"], row["per"], row["burst"]).at_once,
                used=row["used"], blocked=row["blocked"], own=row["own"],
            )
            for row in await self._base.fetch("all_limits", UNLIMITED)
        ]  # fmt: skip

    async def limit_queue(self, queue: str, most: int | None) -> None:
        """See the protocol."""
        text, name = self._base.statements, to_text(f"{QUEUE}{queue}")

        async def say(link: Any) -> None:
            await link.execute(text["limit_queue"], name, UNLIMITED, most)
            if most is not None:
                await lock(link, text, [(name, "")])
                await link.execute(text["count_held"], name, to_text(queue))

        await self._base.change(say)
        await self.free_up(self._base.clock.now())
        self._base.ring(Wake.CONTROL, Wake.JOBS)

    async def operated(self) -> dict[str, int]:
        """See the protocol."""
        rows = await self._base.fetch("operated")
        return {from_text(row["name"]).removeprefix(QUEUE): row["own"] for row in rows}

    async def free_up(self, now: int) -> int:
        """See the protocol."""
        text = self._base.statements
        [(limited,)] = await self._base.fetch("limited")
        if not limited:
            return 0

        async def orphans(link: Any) -> None:
            ids = [row[0] for row in await link.fetch(text["unheld"])]
            if ids and await link.fetch(text["lock_gates_of"], ids):
                await _free(link, text, await link.fetch(text["drop_unheld"], ids), now)

        async def look(link: Any) -> int:
            rows = await link.fetch(text["places_after"], *self._freed_to, PLACES)
            places = [(row[0], row[1]) for row in rows]
            self._freed_to = places[-1] if len(places) == PLACES else ("", "")
            if not places:
                return 0
            await lock(link, text, places)
            gates = await look_at(link, text, places)
            return await let_in(link, text, places, now, [one for one in gates if gates[one].per])

        # Each by itself: what is cleared away is in no order.
        await self._base.fetch("no_answer", now - PATIENCE)
        await self._base.fetch("too_far", now + AHEAD + APART)
        await self._base.change(orphans)
        called = await self._base.change(look)
        if self._freed_to == ("", ""):  # It has seen all.
            await self._base.fetch("idle_gates", IDLE, now - HOUR)
            await self._base.links.run(lambda link: turns.tidy(link, text, now))
        called += await self._base.change(lambda link: turns.take_late(link, text, now))
        if called:
            self._base.ring(Wake.JOBS)
        return called


class Admitting:
    """The second look at what a worker has claimed."""

    def __init__(
        self,
        base: Base,
        hold: Callable[..., Awaitable[None]],
        loosen: Callable[..., Awaitable[None]],
    ) -> None:
        """`hold`, `loosen`: of `ties`, of jobs that end."""
        self._base = base
        self._hold = hold
        self._loosen = loosen
        self._known: set[str] = set()
        """Names that have a row."""

    async def admitted(self, link: Any, worker: int, claims: list[Claim], now: int) -> list[Claim]:
        """Those of these claims that may run; the others wait for room, and are nobody's."""
        limited = [(one, needs) for one in claims if (needs := limits_of(one.options))]
        if not limited:
            return claims
        await self._know(link, [need for _, needs in limited for need in needs])
        gone, asked, called = await self._in_turn(
            link, len(limited), lambda: self._admit(link, worker, limited, now)
        )
        if asked:  # By itself, since the flows that they may belong to come first.
            await self._in_turn(link, len(asked), lambda: self._end(link, worker, asked, now))
            self._base.ring(Wake.FINISHED, Wake.JOBS)
        if called:  # This claim may have looked where they wait now before they did.
            self._base.ring(Wake.JOBS)
        if not gone:
            return claims
        self._base.of(worker).forget(gone)
        return [claim for claim in claims if claim.key not in gone]

    async def _in_turn(self, link: Any, jobs: int, work: Callable[[], Awaitable[T]]) -> T:
        """A transaction about so many claimed jobs, again where another one was in its way: by
        itself, since the claim before it was carried out."""
        for left in reversed(range(TRIES)):
            try:
                async with link.transaction():
                    return await work()
            except Exception as error:
                if mishap_of(error) is not Mishap.AGAIN:
                    raise
                if not left:  # Who hears of this gives back what it does not know of.
                    raise StorageError(
                        f"limits of {jobs} claimed jobs could not be counted: {error};"
                        " they are given back"
                    ) from error
        raise AssertionError("unreachable")

    async def _admit(
        self, link: Any, worker: int, limited: list[tuple[Claim, Sequence[Need]]], now: int
    ) -> tuple[set[int], list[Claim], int]:
        """The keys of those that it does not run; those of them that somebody has cancelled in the
        moment since the claim, and which it holds still; and how many were called."""
        text = self._base.statements
        tokens = list({claim.token for claim, _ in limited})
        rows = await link.fetch(text["lock_claims"], worker, tokens)
        held = {to_key(row[0]): row[1] for row in rows}
        asked = [claim for claim, _ in limited if held.get(claim.key)]
        gone = {claim.key for claim, _ in limited if held.get(claim.key) is not False}
        limited = [one for one in limited if one[0].key not in gone]
        places = sorted({place_of(need) for _, needs in limited for need in needs})
        await lock(link, text, places)
        ids = [to_id(claim.key) for claim, _ in limited]
        await link.execute(text["not_yet"], ids, *_columns(places))
        rows = await link.fetch(text["answer"], ids)
        stood = {to_key(row[0]): row[1] for row in rows}
        asking = [
            Asking(one, needs, (one.priority, stood.get(one.key, one.run_at), one.key))
            for one, needs in limited
        ]
        gates = await look_at(link, text, places)
        named = {need.place: gates[place_of(need)] for one in asking for need in one.needs}
        admission = admit(asking, named, now)
        await self._grant(link, admission, gates)
        aside = admission.blocked
        if aside:
            ids = [to_id(one.claim.key) for one, _ in aside]
            await link.execute(text["keep"], tokens, ids)
            await link.execute(text["hold_none"], ids)
            await link.execute(text["drop_empty"], worker)
            await line_up(
                link, text, [(to_id(one.claim.key), need, one.line[1]) for one, need in aside]
            )
        vacant = sorted(map(_place, admission.vacant))
        rates = [one for one in vacant if gates[one].per]
        called = await let_in(link, text, vacant, now, rates)
        return gone | {one.claim.key for one, _ in aside}, asked, called

    async def _end(self, link: Any, worker: int, asked: Sequence[Claim], now: int) -> None:
        """Those of these that it still holds end, since people have asked for it."""
        text = self._base.statements
        ids = [to_id(claim.key) for claim in asked]
        tokens = list({claim.token for claim in asked})
        await self._hold(link, text, ids)
        rows = await link.fetch(text["lock_claims"], worker, tokens)
        ending = list({row[0] for row in rows}.intersection(ids))
        if ending:
            await link.execute(text["keep"], tokens, ending)
            await link.execute(text["drop_empty"], worker)
            await link.fetch(text["release"], ending, now)
            await self._loosen(link, text, ending, now)

    async def _grant(self, link: Any, admission: Admission, gates: Mapping[Place, Gate]) -> None:
        text = self._base.statements
        permits = [
            (to_id(claim.key), *place_of(need), gates[place_of(need)].taken(need.slots))
            for claim, need in admission.permits
        ]
        if permits:
            await link.execute(text["grant"], *map(list, zip(*permits, strict=True)))
        rates = [place for place, gate in gates.items() if gate.per]
        if rates and admission.granted:
            await link.execute(
                text["pace"], *_columns(rates), [gates[place].free_at for place in rates]
            )

    async def sift(self, link: Any, queue: str, priority: int, now: int) -> int:
        """Puts aside what waits next in a queue and has no room either, without a claim for
        each; how many."""
        text = self._base.statements
        rows = await link.fetch(text["limited_behind"], to_text(queue), priority, now, SIFTED)
        waiting = [(row[0], row[1], limits_of(row[2])) for row in rows]
        places = sorted({place_of(need) for *_, needs in waiting for need in needs})
        if not places:
            return 0
        await self._know(link, [need for *_, needs in waiting for need in needs])
        async with link.transaction():
            await lock(link, text, places)
            gates = await look_at(link, text, places)
            lacking: dict[Any, tuple[int, Need]] = {}
            for id_, run_at, needs in waiting:
                line = priority, run_at, to_key(id_)
                need = next((n for n in needs if gates[place_of(n)].lacks(n, line, now)), None)
                if need is not None:
                    lacking[id_] = run_at, need
            if not lacking:
                return 0
            moments = [run_at for run_at, _ in lacking.values()]
            stepped = await link.fetch(
                text["step_aside"], to_text(queue), priority, list(lacking), moments
            )
            found = [(row[0], *lacking[row[0]]) for row in stepped]
            await line_up(link, text, [(id_, need, run_at) for id_, run_at, need in found])
            lines = sorted({place_of(need) for *_, need in found})
            called = await let_in(link, text, lines, now, [one for one in lines if gates[one].per])
        if called:
            self._base.ring(Wake.JOBS)
        return len(stepped)

    async def _know(self, link: Any, needs: Iterable[Need]) -> None:
        """Before others wait for it: each limit has a number."""
        new = {need.name: need.record for need in needs if need.name not in self._known}
        if new:
            await link.execute(self._base.statements["know_limits"], *_numbers(list(new.values())))
            self._known |= new.keys()


async def let_go(link: Any, text: Statements, ids: Sequence[Any], now: int) -> int:
    """Whatever became of these jobs, nobody holds them, and they wait in no line: what they held
    is free, and as many as have room now are called. How many."""
    if not ids or not await link.fetch(text["lock_gates_of"], ids):
        return 0
    return await _free(link, text, await link.fetch(text["drop_permits"], ids), now)


async def _free(link: Any, text: Statements, rows: Sequence[Any], now: int) -> int:
    """Calls whoever has room now at these places: name, key, whether it is a rate."""
    rates = [(row[0], row[1]) for row in rows if row[2]]
    return await let_in(link, text, [(row[0], row[1]) for row in rows], now, rates)


async def let_in(
    link: Any, text: Statements, places: Sequence[Place], now: int, rates: Sequence[Place]
) -> int:
    """Calls those at the heads of these lines that have room now; how many. The gates are
    locked. `rates`: those of them that are of rates, where those who wait are told when they may
    start."""
    total = 0
    if len(rates) < len(places):
        total = len(await link.fetch(text["let_in"], *_columns(places), now))
    gates = await look_at(link, text, rates) if rates else {}
    for place, gate in gates.items():
        if gate.set_right(now):
            await link.execute(text["pace"], *_columns([place]), [gate.free_at])
        if gate.front is None:
            continue
        heads = await link.fetch(text["heads"], *place, gate.untold)
        ats = moments(gate, [(row[1], row[2], to_key(row[0])) for row in heads], now)
        if ats:
            await link.execute(text["tell"], [row[0] for row in heads[: len(ats)]], ats)
            total += len(ats)
    return total


async def lock(link: Any, text: Statements, places: Sequence[Place]) -> None:
    """Nobody else counts at these gates until the end."""
    columns = _columns(places)
    while True:
        await link.execute(text["new_gates"], *columns)
        if len(await link.fetch(text["lock_gates"], *columns)) == len(places):
            return  # Else one was cleared away in between.


async def look_at(link: Any, text: Statements, places: Sequence[Place]) -> dict[Place, Gate]:
    """How these gates stand, which are locked."""
    return {
        (row["name"], row["key"]): Gate(
            row["most"], row["used"], _called(row),
            None if row["id"] is None else (row["priority"], row["run_at"], to_key(row["id"])),
            row["per"], row["burst"], row["free_at"],
        )
        for row in await link.fetch(text["gates"], *_columns(places))
    }  # fmt: skip


async def line_up(link: Any, text: Statements, jobs: Sequence[tuple[Any, Need, int]]) -> None:
    """They wait for room, each at the moment at which it stands."""
    if jobs:
        places = [place_of(need) for _, need, _ in jobs]
        await link.execute(
            text["line_up"], [id_ for id_, _, _ in jobs], *_columns(places),
            [need.slots for _, need, _ in jobs], [run_at for *_, run_at in jobs],
        )  # fmt: skip


def _called(row: Any) -> list[tuple[Line, int]]:
    if row["ids"] is None:
        return []
    columns = row["priorities"], row["run_ats"], row["ids"], row["slots"]
    return [((p, at, to_key(id_)), slots) for p, at, id_, slots in zip(*columns, strict=True)]


def place_of(need: Need) -> Place:
    """As the tables hold it."""
    return _place(need.place)


def _place(place: Place) -> Place:
    return to_text(place[0]), to_text(place[1])


def _columns(places: Iterable[Place]) -> tuple[list[str], list[str]]:
    return [name for name, _ in places], [key for _, key in places]


def _numbers(limits: Sequence[LimitRecord]) -> list[list[Any]]:
    return [
        [to_text(one.name) for one in limits],
        [one.most for one in limits],
        [one.per for one in limits],
        [one.burst for one in limits],
    ]
