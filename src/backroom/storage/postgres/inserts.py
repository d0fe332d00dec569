"""New jobs: many callers' in one transaction, under one key, and where nothing waits straight to
a worker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, ClassVar, Final

import asyncpg
import msgspec

from backroom.job import JobRecord
from backroom.ports import Inserted
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import from_text, to_text
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


class Addition(msgspec.Struct, eq=False):
    """Jobs of one `insert` call."""

    jobs: Sequence[JobRecord]
    now: int
    worker: int | None
    start: bool
    waits: bool = False
    """Whether some of them wait now, for anybody."""

    def size(self) -> int:
        return len(self.jobs)

    @property
    def plain(self) -> bool:
        """None of them needs more than to be kept."""
        return self.worker is None and all(job.unique_key is None for job in self.jobs)


class Inserts:
    """Adds jobs, on a connection in a transaction."""

    MOST: ClassVar = 1000
    """Jobs a group."""

    def __init__(
        self,
        statements: Statements,
        queues: Collection[str],
        marks: Callable[[], list[list[Any]]],
    ) -> None:
        """`queues`: the names that are known to have a row. `marks`: from where to look for who
        waits in front."""
        self._statements = statements
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
            and jobs <= (min(CHUNK, BULK - 1) if plain else LANE)
            and all(job.queue in self._queues for one in additions for job in one.jobs)
        )

    async def add(
        self, link: Any, additions: Sequence[Addition], word: str | None, copy: bool
    ) -> list[list[Inserted]]:
        """Keeps all jobs of all of them, or none. `word`: what the transaction says to those
        who listen, if jobs wait then. `copy`: by COPY, which fails where a job is there."""
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
        admitted = await self._admit(link, others, word) if others else iter(())
        for one in additions:
            if one.plain:
                one.waits = True
                if known is None:
                    answers.append([Inserted(job.id, True) for job in one.jobs])
                else:
                    answers.append([_answer(job.id, known) for job in one.jobs])
            else:
                answers.append([next(admitted) for _ in one.jobs])
                one.waits = any(said.created and said.claim is None for said in answers[-1])
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
        self, link: Any, additions: Sequence[Addition], word: str | None
    ) -> Iterator[Inserted]:
        asked = [(job, one) for one in additions for job in one.jobs]
        answers: list[Inserted] = []
        for at in range(0, len(asked), LANE):
            answers += await self._admit_part(link, asked[at : at + LANE], word)
        return iter(answers)

    async def _admit_part(
        self, link: Any, asked: Sequence[tuple[JobRecord, Addition]], word: str | None
    ) -> list[Inserted]:
        jobs = [job for job, _ in asked]
        now = max(one.now for _, one in asked)
        rows = await link.fetch(
            self._statements["admit"], *_columns(jobs), [to_text(job.unique_key) for job in jobs],
            [one.worker for _, one in asked], [one.start for _, one in asked], now,
            word, self._statements.channel, *self._marks(),
        )  # fmt: skip
        made = {str(row[0]): row[1] for row in rows}
        twins = await self._twins(link, [job for job in jobs if job.id not in made])
        answers: list[Inserted] = []
        for job in jobs:
            if job.id not in made:
                answers.append(Inserted(twins.get(job.id, job.id), False))
                continue
            token = made.pop(job.id)  # The same id again is the same job.
            twins[job.id] = job.id
            claim = None if token is None else _claim(job, token)
            answers.append(Inserted(job.id, True, claim))
        return answers

    async def _twins(self, link: Any, jobs: Sequence[JobRecord]) -> dict[str, str]:
        """By the id of a job that was not made: the live one with its key, if that is another
        one. A job that was inserted before answers for itself, whoever holds its key by now."""
        keyed = [job for job in jobs if job.unique_key is not None]
        if not keyed:
            return {}
        there = {str(row[0]) for row in await link.fetch(
            self._statements["present"], [job.id for job in keyed])}  # fmt: skip
        rows = await link.fetch(
            self._statements["twins"],
            [to_text(job.type) for job in keyed],
            [to_text(job.unique_key) for job in keyed],
        )
        holders = {(from_text(row[0]), from_text(row[1])): str(row[2]) for row in rows}
        return {
            job.id: holders.get((job.type, job.unique_key), job.id)
            for job in keyed
            if job.id not in there
        }


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


def _claim(job: JobRecord, token: int) -> Claim:
    return Claim(
        int(job.id.replace("-", ""), 16), token, job.id, job.type, job.queue, job.priority,
        job.run_at, job.created_at, job.data, job.options, job.expires_at,
    )  # fmt: skip
