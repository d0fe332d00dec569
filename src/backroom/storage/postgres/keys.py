"""Unique keys: what becomes of jobs whose key another one has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from backroom.errors import DuplicateJobError
from backroom.job import JobRecord
from backroom.ports import Inserted
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import from_text, to_text

__all__ = ["NOBODY", "Addition", "Keys", "Refused"]

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""Stands for who has a key where that is to be decided."""

LOOKS: Final = 10
"""How often it is asked where a job is that was on its way from one place to another."""

Name: TypeAlias = tuple[str, str]
"""A job type and a unique key."""


class Addition(msgspec.Struct, eq=False):
    """Jobs of one `insert` call."""

    jobs: Sequence[JobRecord]
    now: int
    worker: int | None
    start: bool
    waits: bool = False
    """Whether some of them wait now, for anybody."""
    open: bool = False
    """Some of them were not made, and what becomes of them takes a transaction."""

    def size(self) -> int:
        return len(self.jobs)

    @property
    def plain(self) -> bool:
        """None of them needs more than to be kept."""
        return self.worker is None and all(job.unique_key is None for job in self.jobs)

    @property
    def at_once(self) -> bool:
        """It is kept whole by one statement, whoever has its keys."""
        return all(
            job.unique_key is None or (job.hold is None and len(self.jobs) == 1)
            for job in self.jobs
        )


class Refused(DuplicateJobError):
    """Jobs that are to be told that others hold their keys: nothing of this transaction may
    stay. Those who are at fault, and what each is told; None: that depends on what becomes of
    another one of them."""

    def __init__(self, additions: dict[Addition, DuplicateJobError | None]) -> None:
        super().__init__("unique keys are held by other jobs")
        self.additions = additions


class Contender(NamedTuple):
    """A job that was not made, since another one has its key, or it was made before."""

    place: int
    job: JobRecord
    addition: Addition

    @property
    def name(self) -> Name:
        return self.job.type, self.job.unique_key or ""

    @property
    def how(self) -> str:
        return "existing" if self.job.hold is None else self.job.hold.on_conflict


class _Holder(NamedTuple):
    """Who has a key."""

    id: str
    until: int | None
    """None: it holds it until it ends. Else it is locked, and as `Hold.until`."""
    last: str | None


class _Standing(NamedTuple):
    """Where a job is; one that waits is locked."""

    unstarted: bool
    waits: bool
    held: bool
    ended: bool
    blocked: bool
    """It waits for other jobs, or for room in a limit."""
    begun: bool
    woven: bool
    """It belongs to a flow: what it does, and when, is part of that."""


_GONE: Final = _Standing(False, False, False, True, False, False, False)


class _Decisions:
    """What is to be done."""

    def __init__(self) -> None:
        self.answers: dict[int, Inserted | None] = {}
        self.again: list[int] = []
        self.let_go: dict[Name, str] = {}
        self.replaced: dict[str, Contender] = {}
        self.refused: dict[Addition, DuplicateJobError | None] = {}


class Keys:
    """Decides about jobs that were not made, on a connection. In a transaction, what is decided
    stands at its end: whoever else wants to change that waits, and no claim takes a job that
    this one is about to change, or whose id it has answered with."""

    def __init__(self, statements: Statements, within: bool) -> None:
        """`within`: a transaction of the application's, so what a job that has not begun will see
        is not known before that ends."""
        self._statements = statements
        self._within = within

    async def meet(
        self,
        link: Any,
        contenders: Sequence[Contender],
        whole: bool,
        additions: Iterable[Addition],
        word: str | None,
    ) -> tuple[dict[int, Inserted | None], list[int]]:
        """Who answers for these, by their places; and the places of those that are to be tried
        again, as nobody holds their keys now. `whole`: all of it is one transaction; else None
        stands for an answer that takes one.

        Raises:
            Refused: nothing of the transaction may stay.
        """
        done = _Decisions()
        there = {str(row[0]) for row in await link.fetch(
            self._statements["present"], [one.job.id for one in contenders])}  # fmt: skip
        by_name: dict[Name, list[Contender]] = {}
        for one in contenders:
            if one.job.id in there:  # It answers for itself, whoever has its key by now.
                done.answers[one.place] = Inserted(one.job.id, False)
            else:
                by_name.setdefault(one.name, []).append(one)
        if not by_name:
            return done.answers, []
        holders = await self._holders(link, by_name, "contended" if whole else "twins")
        if not whole:
            return done.answers | _plainly(by_name, holders), []
        standing = await self._standing(link, _in_question(by_name, holders))
        for name, those in by_name.items():
            holder = holders.get(name)
            if holder is None:  # It has ended since.
                done.again += [one.place for one in those]
            else:
                place = standing.get(holder.id, _GONE)
                if self._within:
                    place = place._replace(begun=place.held or place.blocked)
                _decide(done, name, those, holder, place, additions)
        if done.refused:
            raise Refused(done.refused)
        await self._carry_out(link, done, word)
        return done.answers, sorted(done.again)

    async def take_all(self, link: Any, jobs: Sequence[JobRecord], now: int) -> None:
        """Gives these new jobs their keys; no two of them have the same. In a transaction.

        Raises:
            DuplicateJobError: another job holds one; nothing of the transaction may stay.
        """
        addition = Addition(jobs, now, None, False)
        left: Sequence[JobRecord] = jobs
        while left:
            rows = await link.fetch(
                self._statements["hold"], [to_text(job.type) for job in left],
                [to_text(job.unique_key) for job in left], [job.id for job in left],
                [None if job.hold is None else job.hold.until for job in left],
            )  # fmt: skip
            taken = {str(row[0]) for row in rows}
            met = [
                Contender(place, job, addition)
                for place, job in enumerate(left)
                if job.id not in taken
            ]
            if not met:
                return
            try:
                _, again = await self.meet(link, met, True, [addition], None)
            except Refused as refused:
                refusal = refused.additions[addition] or refused
                raise DuplicateJobError(str(refusal), refusal.job_id) from None
            left = [left[place] for place in again]

    async def _holders(
        self, link: Any, names: Collection[Name], statement: str
    ) -> dict[Name, _Holder]:
        rows = await link.fetch(
            self._statements[statement],
            [to_text(type_) for type_, _ in names],
            [to_text(key) for _, key in names],
        )
        return {
            (from_text(type_), from_text(key)): _Holder(
                str(id_), until, str(last[0]) if last and last[0] else None
            )
            for type_, key, id_, until, *last in rows
        }

    async def _standing(self, link: Any, ids: Collection[str]) -> dict[str, _Standing]:
        """Those that are missing are gone."""
        found: dict[str, _Standing] = {}
        left = sorted(ids)
        for _ in range(LOOKS):
            if not left:
                break
            rows = await link.fetch(self._statements["standing"], left)
            found.update({str(id_): _Standing(*row) for id_, *row in rows})
            # One that is nowhere was just taken by somebody, or brought to another place.
            left = [id_ for id_ in left if id_ in found and not any(found[id_][1:5])]
        return found

    async def _carry_out(self, link: Any, done: _Decisions, word: str | None) -> None:
        text = self._statements
        if done.replaced:
            jobs = [one.job for one in done.replaced.values()]
            await link.fetch(
                text["replace"], list(done.replaced), [to_text(job.queue) for job in jobs],
                [job.priority for job in jobs], [job.run_at for job in jobs],
                [job.data for job in jobs], [job.options for job in jobs],
                [job.expires_at for job in jobs], [to_text(job.type) for job in jobs],
                [to_text(job.unique_key) for job in jobs], [job.id for job in jobs],
                word, text.channel,
            )  # fmt: skip
            for one in done.replaced.values():
                one.addition.waits = True
        if done.let_go:
            await link.execute(
                text["let_go"], [to_text(type_) for type_, _ in done.let_go],
                [to_text(key) for _, key in done.let_go], list(done.let_go.values()),
            )  # fmt: skip


def _plainly(
    by_name: dict[Name, list[Contender]], holders: dict[Name, _Holder]
) -> dict[int, Inserted | None]:
    """Without a transaction: who has a key until its end answers."""
    answers: dict[int, Inserted | None] = {}
    for name, those in by_name.items():
        holder = holders.get(name)
        for one in those:
            settled = holder is not None and holder.until is None
            answers[one.place] = Inserted(holder.id, False) if holder and settled else None
            one.addition.open = one.addition.open or not settled
    return answers


def _in_question(by_name: dict[Name, list[Contender]], holders: dict[Name, _Holder]) -> set[str]:
    """The holders of which it is to be known where they are."""
    return {
        holders[name].id
        for name, those in by_name.items()
        if name in holders
        and (holders[name].until == 0 or any(one.how == "replace" for one in those))
    }


def _decide(
    done: _Decisions,
    name: Name,
    those: Sequence[Contender],
    holder: _Holder,
    standing: _Standing,
    additions: Iterable[Addition],
) -> None:
    """What becomes of jobs of one key, in their order."""
    for at, one in enumerate(those):
        if one.job.id in (holder.id, holder.last):  # An earlier call, whose reply was lost.
            done.answers[one.place] = Inserted(holder.id, False)
            continue
        if not _holds(holder, standing, one):
            done.let_go[name] = holder.id
            done.again += [other.place for other in those[at:]]
            return
        if one.how == "raise":
            if one.addition not in done.refused:
                may_not_stay = any(
                    other is not one.addition and any(job.id == holder.id for job in other.jobs)
                    for other in additions
                )
                done.refused[one.addition] = None if may_not_stay else _refusal(one, holder)
            continue
        if one.how == "replace" and standing.waits and standing.unstarted and not standing.woven:
            done.replaced[holder.id] = one
            if holder.until is not None:
                holder = holder._replace(last=one.job.id)
        done.answers[one.place] = Inserted(holder.id, False)


def _holds(holder: _Holder, standing: _Standing, one: Contender) -> bool:
    if holder.until is None:
        return True
    if holder.until:
        return one.job.created_at < holder.until
    if standing.held and (one.how == "replace" or standing.begun):
        return False  # Of one in the lanes of a worker nothing can be replaced any more.
    if standing.woven and one.how == "replace":
        return False  # Nor of one of a flow.
    if standing.begun and one.how != "raise":
        return False  # It may be let go any moment, and begin.
    return standing.unstarted and not standing.ended


def _refusal(one: Contender, holder: _Holder) -> DuplicateJobError:
    jobs = one.addition.jobs
    index = next(at for at, job in enumerate(jobs) if job is one.job) if len(jobs) > 1 else None
    return DuplicateJobError(
        f"{one.job.type}: job {holder.id} holds the unique key {one.job.unique_key!r}",
        holder.id,
        index,
    )
