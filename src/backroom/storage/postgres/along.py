"""Writing along a connection of the application's own, in its transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from backroom.errors import ConfigurationError, DuplicateJobError
from backroom.flow import FlowRecord, Piece
from backroom.flowing import told_to_stop
from backroom.job import JobRecord
from backroom.ports import Inserted, Wake
from backroom.storage.postgres import ties
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.inserts import Inserts, queues_of
from backroom.storage.postgres.keys import Addition, Refused
from backroom.storage.postgres.line import Line
from backroom.storage.postgres.links import masked
from backroom.storage.postgres.outcomes import Outcomes
from backroom.storage.postgres.texts import to_id
from backroom.storage.postgres.turns import begun_in_turn, in_turn
from backroom.transition import Transition

__all__ = ["Along"]

T = TypeVar("T")

PATIENCE: Final = "10s"
"""Between an outcome that is written and the COMMIT behind it, until the server takes whoever
wrote it for gone."""


class Along:
    """One connection of the application's, and one use of it.

    What is at fault with the connection is raised as its driver raises it.
    """

    def __init__(
        self,
        base: Base,
        line: Line,
        know: Callable[[Collection[str]], Awaitable[None]],
        take_keys: Callable[[Line, Piece, int], Awaitable[None]],
        begin_flow: Callable[[Line, FlowRecord, Piece, int], Awaitable[None]],
        add_to_flow: Callable[[Line, UUID, Any, int, Piece], Awaitable[None]],
    ) -> None:
        """`know`: makes sure that queues have a row. `take_keys`, `begin_flow`, `add_to_flow`: keep
        the unique keys of the jobs of a flow, the flow itself, or what a job adds to its own, on a
        line in a transaction."""
        self._base = base
        self._line = line
        self._know = know
        self._take_keys = take_keys
        self._begin_flow = begin_flow
        self._add_to_flow = add_to_flow
        self._here: str | None = None
        """Which server, database and table the store's own connections have; None: this is one
        of them."""
        self.waits = line.waits

    async def prepare(self, queues: Collection[str]) -> None:
        """See `Along.prepare`."""
        await self._know(queues)
        self._here = await self._base.here()

    @property
    def connection(self) -> Any:
        return self._line.given

    async def insert(self, jobs: Sequence[JobRecord], now: int) -> list[Inserted]:
        """See `Along.insert`; the queues of the jobs have a row."""
        await self._check()

        async def insert() -> list[Inserted]:
            turned = await in_turn(self._line, self._base.statements, jobs, now, aside=True)
            addition = Addition(turned, now, None, False)
            queues, marks = queues_of([addition]), self._base.marks.columns
            inserts = Inserts(self._base.statements, queues, marks, within=True)
            word = Wake.JOBS.value
            try:
                [made] = await inserts.add(self._line, [addition], word, copy=False, whole=True)
            except Refused as refused:
                raise refused.additions[addition] or refused from None
            return made

        return await self._write(insert, jobs)

    async def insert_flow(self, flow: FlowRecord, piece: Piece, now: int) -> None:
        """See `Along.insert_flow`; the queues of the jobs have a row."""
        await self._check()

        async def insert() -> None:
            text = self._base.statements
            await self._take_keys(self._line, piece, now)
            turned = await begun_in_turn(self._line, text, piece, now, aside=True)
            await self._begin_flow(self._line, flow, turned, now)
            await self._line.fetch(text["say"], text.channel, Wake.JOBS.value)

        await self._write(insert, [member.record for member in piece.members])

    async def _write(self, work: Callable[[], Awaitable[T]], jobs: Sequence[JobRecord]) -> T:
        """`work`, which adds these jobs, in the transaction that is open, or one of its own."""
        if await self._line.alone():
            return await self._whole(work)
        may_be_refused = any(
            job.hold is not None and job.hold.on_conflict == "raise" for job in jobs
        )
        return await (self._apart(work) if may_be_refused else work())

    async def _apart(self, work: Callable[[], Awaitable[T]]) -> T:
        """Within the application's transaction, which goes on where this is refused."""
        await self._line.execute("SAVEPOINT backroom")
        try:
            answer = await work()
        except DuplicateJobError:
            await self._line.execute("ROLLBACK TO SAVEPOINT backroom")
            await self._line.execute("RELEASE SAVEPOINT backroom")
            raise
        await self._line.execute("RELEASE SAVEPOINT backroom")
        return answer

    async def _whole(self, work: Callable[[], Awaitable[T]]) -> T:
        await self._line.execute("BEGIN")
        try:
            answer = await work()
        except BaseException:
            await self._line.execute("ROLLBACK")
            raise
        await self._line.execute("COMMIT")
        return answer

    async def _check(self) -> None:
        """Before anything is written: a statement that fails would take the transaction of the
        application with it."""
        if self._here is None:
            return
        name = self._base.statements.name("jobs")
        [(here, known, database)] = await self._line.fetch(self._base.statements["here"], name)
        if here == self._here:
            return
        url = masked(self._base.links.url)
        what = "tables of that name that are not those" if known else f"no table {name}, the one"
        raise ConfigurationError(
            f"the connection is to the database {database}, where it finds {what} of {url}:"
            " schedule along a connection to the database of the jobs, with their schema in its"
            " search_path or given as DatabaseJobStorage(..., schema=...)"
        )

    # -- the end of an attempt -------------------------------------------------------------------

    async def begin(self) -> None:
        """Begins a transaction.

        Raises:
            ConfigurationError: one is open; or these are not the tables of the store.
        """
        if await self._line.busy():
            raise ConfigurationError(
                "job.transaction() begins and commits a transaction of its own, but the"
                " connection is in one: commit it before, or do that work inside"
            )
        await self._line.begin()
        try:
            await self._check()
        except BaseException:
            await self._line.rollback()
            raise

    async def finish(self, transition: Transition, now: int, pieces: Sequence[Piece] = ()) -> bool:
        """Writes an outcome; false where the lease is gone. It is to be committed at once: until
        then, others that hold jobs of the same claim wait, and those that end jobs of the same
        flow."""
        text = self._base.statements
        await self._line.fetch(text["hurry"], PATIENCE)
        if pieces and not await self._extend(transition, pieces, now):
            return False
        return not await Outcomes(text, self._follow).write(self._line, [transition], now)

    async def _follow(self, link: Any, jobs: Sequence[JobRecord], now: int) -> None:
        """The jobs that an outcome brings about; their queues have a row."""
        text = self._base.statements
        turned = await in_turn(link, text, jobs, now, aside=True)
        addition = Addition(turned, now, None, False)
        inserts = Inserts(text, queues_of([addition]), self._base.marks.columns, within=True)
        await inserts.add(link, [addition], Wake.JOBS.value, copy=False, whole=True)

    async def _extend(self, transition: Transition, pieces: Sequence[Piece], now: int) -> bool:
        """Adds to the flow of a job that is about to complete; false where the lease is gone.
        Whether it stands until the commit is for the outcome to find out: to hold the claim here,
        as a reader of it, would be to wait for another one that does, and to be waited for."""
        text, job = self._base.statements, to_id(transition.key)
        for piece in pieces:  # First: who waits for a key holds no flow.
            await self._take_keys(self._line, piece, now)
        await ties.hold(self._line, text, [job])
        if not await self._line.fetch(text["held_now"], [job], [transition.token]):
            return False
        [(role, flow, cancelled)] = await self._line.fetch(text["role_of"], job)
        if cancelled:
            raise told_to_stop()
        for piece in pieces:
            await self._add_to_flow(self._line, job, flow, role, piece)
        return True

    async def commit(self) -> None:
        await self._line.commit()

    async def rollback(self) -> None:
        await self._line.rollback()
