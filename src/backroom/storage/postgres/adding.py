"""What many callers schedule at once travels in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from typing import Any, Final

from backroom.errors import StorageError
from backroom.job import JobRecord
from backroom.ports import Inserted, Wake
from backroom.storage.groups import Group, Groups
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.inserts import Inserts, queues_of
from backroom.storage.postgres.keys import Addition, Refused
from backroom.storage.postgres.links import is_of_values
from backroom.storage.postgres.texts import to_text
from backroom.storage.postgres.turns import in_turn, turns_of

__all__ = ["Adding"]

AT_ONCE: Final = 2000
"""Jobs that the server is given the usual time for; for each so many more, that time more."""


class Adding:
    """Group commit of new jobs: two groups for each loop. Jobs with a unique key may have to wait
    for somebody's transaction that holds it; those without one never wait with them."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._queues: set[str] = set()
        """Those that have a row for good."""
        self._adding = Inserts(base.statements, self._queues, lambda: base.marks.columns())
        self._plain = self._groups()
        self._keyed = self._groups()

    def _groups(self) -> Groups[Addition, list[Inserted]]:
        return Groups(lambda: Group(self._add, Addition.size, Inserts.MOST, 2))

    def insert(
        self, jobs: Sequence[JobRecord], now: int, *, worker: int | None = None, start: bool = False
    ) -> Awaitable[list[Inserted]]:
        """See `JobStorage.insert`."""
        if turns_of(jobs):
            return self._insert_in_turn(jobs, now, worker, start)
        return self._insert(jobs, now, worker, start)

    async def _insert_in_turn(
        self, jobs: Sequence[JobRecord], now: int, worker: int | None, start: bool
    ) -> list[Inserted]:
        text = self._base.statements
        jobs = await self._base.links.run(lambda link: in_turn(link, text, jobs, now))
        return await self._insert(jobs, now, worker, start)

    def _insert(
        self, jobs: Sequence[JobRecord], now: int, worker: int | None, start: bool
    ) -> Awaitable[list[Inserted]]:
        keyed = any(job.unique_key is not None for job in jobs)
        return (self._keyed if keyed else self._plain).add(Addition(jobs, now, worker, start))

    async def _add(
        self, additions: Sequence[Addition], *, again: bool = False
    ) -> list[list[Inserted] | BaseException]:
        answers: list[list[Inserted] | BaseException]
        copy = not again and self._adding.copies(additions)
        one_statement = not again and self._adding.is_one(additions)
        word = self._base.bells.along(Wake.JOBS)
        now = asyncio.get_running_loop().time
        began = now()
        self._base.commits.add(len(additions))
        try:
            answers = list(
                await self._base.carry(
                    lambda link: self._adding.add(
                        link, additions, word, copy=copy, whole=not one_statement
                    ),
                    one_statement,
                    self._base.links.answer * (1 + sum(map(Addition.size, additions)) // AT_ONCE),
                )
            )
        except Refused as refused:
            self._base.bells.failed_with(Wake.JOBS, word)
            return await self._without(additions, refused)
        except StorageError as error:
            self._base.bells.failed_with(Wake.JOBS, word)
            # Some were there: an earlier call had kept them. Or a key was taken just now.
            if (copy or (one_statement and not additions[0].plain)) and is_of_values(error):
                return await self._add(additions, again=True)
            if len(additions) == 1 or not is_of_values(error):
                return [error] * len(additions)
            answers = []
            for one in additions:  # Whose fault it was is not known.
                answers += await self._add([one])
            return answers
        self._base.bells.committed(now() - began)
        self._queues |= queues_of(additions)
        for one, said in zip(additions, answers, strict=True):
            if one.worker is not None and isinstance(said, list):
                claims = [made.claim for made in said if made.claim is not None]
                self._base.of(one.worker).claimed.update((c.key, c.token) for c in claims)
        waits = any(one.waits for one in additions)
        if waits:
            moments = [job.run_at for one in additions for job in one.jobs]
            if moments:
                self._base.marks.lower(min(moments))
            self._base.bells.committed_with(Wake.JOBS, word)
        left = [one for one in additions if one.open]
        if left:  # Who has their keys does not hold them until its end: that takes a transaction.
            if not waits:
                self._base.bells.failed_with(Wake.JOBS, word)
            found = dict(zip(left, await self._add(left, again=True), strict=True))
            answers = [found.get(one, said) for one, said in zip(additions, answers, strict=True)]
        return answers

    async def _without(
        self, additions: Sequence[Addition], refused: Refused
    ) -> list[list[Inserted] | BaseException]:
        """The others, once more; then, each by itself, those that depend on what becomes of
        them."""
        answers: dict[Addition, list[Inserted] | BaseException] = {}
        others = [one for one in additions if one not in refused.additions]
        if others:
            answers.update(zip(others, await self._add(others, again=True), strict=True))
        for one, refusal in refused.additions.items():
            answers[one] = refusal or (await self._add([one], again=True))[0]
        return [answers[one] for one in additions]

    async def know(self, queues: Collection[str]) -> None:
        """Makes sure that workers look for jobs in these queues, before somebody's transaction
        does it: until the end of one that names a queue first, all others that name it wait."""
        new = set(queues) - self._queues
        if new:
            await self._base.fetch("new_queues", [to_text(name) for name in sorted(new)])
            self._queues |= new

    async def beside(
        self, link: Any, jobs: Sequence[JobRecord], now: int, word: str | None
    ) -> list[Inserted]:
        """Adds jobs along with the other changes of a transaction on a connection of ours, which
        says a word as it commits, if one is given. To be followed by `arrived`."""
        jobs = await in_turn(link, self._base.statements, jobs, now, aside=True)
        addition = Addition(jobs, now, None, False)
        copy = self._adding.copies([addition])
        [answers] = await self._adding.add(link, [addition], word, copy=copy, whole=True)
        return answers

    def arrived(self, jobs: Sequence[JobRecord], word: str | None) -> None:
        """Jobs of others' changes are committed, and that word with them: those who wait for some
        are told."""
        if jobs:
            self._base.marks.lower(min(job.run_at for job in jobs))
            self._base.bells.committed_with(Wake.JOBS, word)

    async def settled(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """What was asked on this loop, or on any, has been carried out."""
        for groups in (self._plain, self._keyed):
            await groups.settled(loop)

    async def close(self) -> None:
        """When all is done."""
        await self.settled()
        self._plain.clear()
        self._keyed.clear()
