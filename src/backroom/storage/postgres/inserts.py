"""New jobs: many callers' in one transaction, under one key, and where nothing waits straight to
a worker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, ClassVar, Final

import asyncpg

from backroom.job import JobRecord
from backroom.limit import limits_of
from backroom.ports import Inserted
from backroom.storage.postgres.keys import NOBODY, Addition, Contender, Keys
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import to_text
from backroom.transition import Claim

__all__ = ["Addition", "Inserts", "queues_of"]

CHUNK: Final = 2000
"""Jobs a statement."""
LANE: Final = 200
"""Jobs a statement that may go straight to a worker."""
BULK: Final = 2000
"""From so many jobs on they go by COPY: half the time a job, but more words on the way."""

_JOB: Final = (
    "id", "type", "queue", "priority", "run_at", "created_at", "data", "options", "expires_at",
)  # fmt: skip
_READY: Final = ("queue", "priority", "run_at", "id", "expires_at")


class Inserts:
    """Adds jobs, on a connection in a transaction."""

    MOST: ClassVar = 1000
    """Jobs a group."""

    def __init__(
        self,
        statements: Statements,
        queues: Collection[str],
        marks: Callable[[], list[list[Any]]],
        within: bool = False,
    ) -> None:
        """`queues`: the names that are known to have a row. `marks`: from where to look for who
        waits in front. `within`: a transaction of the application's."""
        self._statements = statements
        self._keys = Keys(statements, within)
        self._queues = queues
        self._marks = marks

    def copies(self, additions: Sequence[Addition]) -> bool:
        """Whether `add` may COPY, which wants all jobs to be new."""
        return sum(len(one.jobs) for one in additions if one.plain) >= BULK

    def is_one(self, additions: Sequence[Addition]) -> bool:
        """Whether `add` will say one statement that changes something."""
        jobs = sum(len(one.jobs) for one in additions)
        plain = additions[0].plain
        return (
            all(one.plain == plain for one in additions)
            and (plain or _apart(additions))
            and jobs <= (min(CHUNK, BULK - 1) if plain else LANE)
            and all(job.queue in self._queues for one in additions for job in one.jobs)
        )

    async def add(
        self,
        link: Any,
        additions: Sequence[Addition],
        word: str | None,
        *,
        copy: bool,
        whole: bool,
    ) -> list[list[Inserted]]:
        """Keeps all jobs of all of them, or none. `word`: what the transaction says to those
        who listen, if jobs wait then. `copy`: by COPY, which fails where a job is there. `whole`:
        in a transaction; else some may be left `open`, of which nothing is kept then.

        Raises:
            Refused: nothing may stay.
        """
        new = queues_of(additions).difference(self._queues)
        if new:
            await link.execute(
                self._statements["new_queues"], [to_text(name) for name in sorted(new)]
            )
        answers: list[list[Inserted]] = []
        known: set[str] | None = None
        plain = [one for one in additions if one.plain]
        if plain:
            jobs = [job for one in plain for job in one.jobs]
            if copy:
                await self._copy(link, jobs, word)
            else:
                known = await self._add(link, jobs, word)
        others = [one for one in additions if not one.plain]
        admitted = await self._admit(link, others, word, whole) if others else iter(())
        for one in additions:
            if one.plain:
                one.waits = True
                if known is None:
                    answers.append([Inserted(job.id, True) for job in one.jobs])
                else:
                    answers.append([_answer(job.id, known) for job in one.jobs])
            else:
                answers.append([next(admitted) for _ in one.jobs])
                one.waits = one.waits or any(
                    said.created and said.claim is None for said in answers[-1]
                )
        return answers

    async def _copy(self, link: Any, jobs: Sequence[JobRecord], word: str | None) -> None:
        """All of them are new."""
        try:
            for part, columns, rows in (
                ("jobs", _JOB, map(_row, jobs)),
                ("ready", _READY, map(_waiting, jobs)),
            ):
                await link.copy_records_to_table(
                    self._statements.bare(part), schema_name=self._statements.schema,
                    records=rows, columns=columns,
                )  # fmt: skip
        except UnicodeEncodeError as error:  # Of arguments, the driver says it so.
            raise asyncpg.DataError(str(error)) from error
        if word is not None:
            await link.execute("SELECT pg_notify($1, $2)", self._statements.channel, word)

    async def _add(self, link: Any, jobs: Sequence[JobRecord], word: str | None) -> set[str] | None:
        """The ids that were there already; None if all jobs are new."""
        if len(jobs) == 1:
            told = word, self._statements.channel
            rows = await link.fetch(self._statements["add_one"], *_row(jobs[0]), *told)
            return None if rows else {jobs[0].id}
        known: set[str] | None = None
        for at in range(0, len(jobs), CHUNK):
            part = jobs[at : at + CHUNK]
            [(made, others, _)] = await link.fetch(
                self._statements["add"], *_columns(part), word, self._statements.channel
            )
            if made < len(part):
                known = (known or set()) | {str(one) for one in others}
        return known

    async def _admit(
        self, link: Any, additions: Sequence[Addition], word: str | None, whole: bool
    ) -> Iterator[Inserted]:
        asked = [(job, one) for one in additions for job in one.jobs]
        answers: list[Inserted] = []
        for one in additions:
            one.open = False
        if not whole and not all(one.at_once for one in additions):
            return iter(await self._admit_checked(link, asked, word))
        for at in range(0, len(asked), LANE):
            part = asked[at : at + LANE]
            answers += await self._admit_part(link, part, additions, word, whole)
        return iter(answers)

    async def _admit_checked(
        self, link: Any, asked: Sequence[tuple[JobRecord, Addition]], word: str | None
    ) -> list[Inserted]:
        """In one statement, which keeps a call whole, or leaves it `open`: it looks who has the
        keys first."""
        calls = {id(one): n for n, one in enumerate({id(one): one for _, one in asked}.values())}
        rows = await self._fetch(
            link, "admit_held", asked, word, [calls[id(one)] for _, one in asked],
            [job.hold is not None and job.hold.on_conflict != "existing" for job, _ in asked],
        )  # fmt: skip
        made = {str(row[0]): row[1] for row in rows if row[3] is None}
        holders = {str(row[0]): str(row[3]) for row in rows if row[3] is not None}
        answers: list[Inserted] = []
        for job, one in asked:
            if job.id in made:
                answers.append(_made(job, made.pop(job.id)))
            else:  # It was there; the same id may come twice.
                holder = holders.get(job.id, job.id)
                one.open = one.open or holder == NOBODY
                answers.append(Inserted(holder, False))
        return answers

    async def _admit_part(
        self,
        link: Any,
        asked: Sequence[tuple[JobRecord, Addition]],
        additions: Sequence[Addition],
        word: str | None,
        whole: bool,
    ) -> list[Inserted]:
        answers: dict[int, Inserted | None] = {}
        left = list(range(len(asked)))
        known: set[str] = set()
        while left:
            made = await self._try(link, [asked[place] for place in left], word)
            met: list[Contender] = []
            for place in left:
                job, addition = asked[place]
                if job.id in made:
                    known.add(job.id)
                    answers[place] = _made(job, made.pop(job.id))
                elif job.unique_key is None or job.id in known:  # The same id is the same job.
                    answers[place] = Inserted(job.id, False)
                else:
                    met.append(Contender(place, job, addition))
            if not met:
                break
            found, left = await self._keys.meet(link, met, whole, additions, word)
            answers.update(found)
        # What stands for an answer that is not known yet is not read.
        return [answers[place] or Inserted("", False) for place in range(len(asked))]

    async def _try(
        self, link: Any, asked: Sequence[tuple[JobRecord, Addition]], word: str | None
    ) -> dict[str, int | None]:
        """By the ids of those that are new: the token of a claim."""
        if any(job.unique_key is not None and job.hold is not None for job, _ in asked):
            nobody = [None] * len(asked)
            rows = await self._fetch(link, "admit_held", asked, word, nobody, nobody)
        else:
            rows = await self._fetch(link, "admit", asked, word)
        return {str(row[0]): row[1] for row in rows}

    async def _fetch(
        self,
        link: Any,
        name: str,
        asked: Sequence[tuple[JobRecord, Addition]],
        word: str | None,
        *calls: Sequence[Any],
    ) -> Sequence[Any]:
        """`calls`: of each job the number of its call, where that is to be made whole or not at
        all; and whether somebody is to decide where its key is held."""
        jobs = [job for job, _ in asked]
        until = [[None if job.hold is None else job.hold.until for job in jobs]] if calls else []
        rows: Sequence[Any] = await link.fetch(
            self._statements[name], *_columns(jobs), [to_text(job.unique_key) for job in jobs],
            [None if limits_of(job.options) else one.worker for job, one in asked],
            [one.start for _, one in asked],
            max(one.now for _, one in asked), word, self._statements.channel, *self._marks(),
            *until, *calls,
        )  # fmt: skip
        return rows


def _apart(additions: Sequence[Addition]) -> bool:
    """Whether none of them has to be decided of by what becomes of another one."""
    if all(one.at_once for one in additions):
        return True
    keyed = [job for one in additions for job in one.jobs if job.unique_key is not None]
    names = {(job.type, job.unique_key) for job in keyed}
    return len(names) == len(keyed) or all(job.hold is None for job in keyed)


def queues_of(additions: Sequence[Addition]) -> set[str]:
    """The names of all queues that get jobs."""
    return {job.queue for one in additions for job in one.jobs}


def _answer(job_id: str, known: set[str]) -> Inserted:
    """Also to a job that came twice: it was made once."""
    made = job_id not in known
    known.add(job_id)
    return Inserted(job_id, made)


def _row(job: JobRecord) -> tuple[Any, ...]:
    return (
        job.id, to_text(job.type), to_text(job.queue), job.priority, job.run_at, job.created_at,
        job.data, job.options, job.expires_at,
    )  # fmt: skip


def _waiting(job: JobRecord) -> tuple[Any, ...]:
    return to_text(job.queue), job.priority, job.run_at, job.id, job.expires_at


def _columns(jobs: Sequence[JobRecord]) -> list[list[Any]]:
    return [
        [job.id for job in jobs],
        [to_text(job.type) for job in jobs],
        [to_text(job.queue) for job in jobs],
        [job.priority for job in jobs],
        [job.run_at for job in jobs],
        [job.created_at for job in jobs],
        [job.data for job in jobs],
        [job.options for job in jobs],
        [job.expires_at for job in jobs],
    ]


def _made(job: JobRecord, token: int | None) -> Inserted:
    if token is None:
        return Inserted(job.id, True)
    claim = Claim(
        int(job.id.replace("-", ""), 16), token, job.id, job.type, job.queue, job.priority,
        job.run_at, job.created_at, job.data, job.options, job.expires_at,
    )  # fmt: skip
    return Inserted(job.id, True, claim)
