"""What the rooms of one store share: its connections, its statements, its bells, its clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg

from backroom.errors import LeaseLostError
from backroom.ports import Clock, Wake
from backroom.sizes import Sizes
from backroom.storage.postgres.begun import Begun
from backroom.storage.postgres.links import Links
from backroom.storage.postgres.marks import Marks
from backroom.storage.postgres.presence import Presence
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.wakeup import Bells

__all__ = ["Base"]

T = TypeVar("T")


class Base:
    """One store, as one process sees it."""

    def __init__(
        self, links: Links, statements: Statements, clock: Clock, commits: Sizes, *, virtual: bool
    ) -> None:
        """`virtual`: `clock` is that of a test, and tells lease time to all. `commits` counts how
        many calls each group has."""
        self.links = links
        self.statements = statements
        self.clock = clock
        self.commits = commits
        self.bells = Bells(links, statements.channel)
        self.presence = Presence(links, statements, virtual)
        self.marks = Marks()
        self.parked = True
        """Some jobs may be parked."""
        self.begun: dict[int, Begun] = {}
        self._here: tuple[int, str] | None = None
        self.virtual = virtual

    def lease_now(self) -> float | None:
        """Where a test tells it."""
        return self.clock.uptime() if self.virtual else None

    def of(self, worker: int) -> Begun:
        """What this worker holds."""
        return self.begun.setdefault(worker, Begun())

    async def fetch(self, name: str, *arguments: Any) -> list[Any]:
        """The rows of one statement."""
        text = self.statements[name]
        return await self.links.run(lambda link: link.fetch(text, *arguments))

    async def here(self) -> str:
        """Which server, database and table these are; asked anew after a connection was cut, since
        another server may have taken over."""
        if self._here is None or self._here[0] != self.links.cuts:
            cuts = self.links.cuts
            [(here, _, _)] = await self.fetch("here", self.statements.name("jobs"))
            self._here = cuts, str(here)
        return self._here[1]

    async def change(
        self,
        work: Callable[[asyncpg.Connection], Awaitable[T]],
        within: float | None = None,
        apart: bool = True,
        wakes: Sequence[Wake] = (),
    ) -> T:
        """In a transaction of its own, within so many seconds; `apart` as in `Links.run`. `wakes`:
        whom to wake when it stands, also where its caller has gone by then."""

        async def whole(link: asyncpg.Connection) -> T:
            async with link.transaction():
                answer = await work(link)
            if wakes:
                self.ring(*wakes)
            return answer

        return await self.links.run(whole, within=within, apart=apart)

    async def carry(
        self,
        work: Callable[[asyncpg.Connection], Awaitable[T]],
        one_statement: bool,
        within: float | None = None,
    ) -> T:
        """What a group asks, in its own task. One statement is a transaction by itself: no word
        more on the way."""
        if one_statement:
            return await self.links.run(work, within=within, apart=False)
        return await self.change(work, within, apart=False)

    def ring(self, *wakes: Wake, since: int | None = None) -> None:
        """Wakes those who listen, here and elsewhere. Jobs may have come back, that wait since
        this moment, or any."""
        if Wake.JOBS in wakes:
            if since is None:
                self.marks.forget()
            else:
                self.marks.lower(since)
        self.bells.ring(wakes)

    def declared_dead(self, worker: int) -> LeaseLostError:
        """What a worker is told that is no more, and of which we remember nothing."""
        self.begun.pop(worker, None)
        return LeaseLostError(
            f"worker {worker} was declared dead: it had no connection left, or did not extend its"
            " lease in time, and its jobs went to others"
        )
