"""What is kept of the steps of jobs, and of the signals that wait for them.

Who puts a job aside, sends it a signal, or takes one for it, holds its row in the table of jobs
meanwhile, and looks at the rest in a statement behind that. So each of them sees what the others
have done, whoever comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from backroom.errors import JobNotFoundError, StorageError
from backroom.flowing import on_its_way
from backroom.ports import Wake
from backroom.step import MAX_SIGNALS, SignalRecord, StepKind, StepRecord
from backroom.stepping import ended, lost, too_many
from backroom.storage.groups import Group, Groups
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.links import is_of_values
from backroom.storage.postgres.looking import identity
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import to_id, to_key
from backroom.transition import Transition

__all__ = ["Keeping", "Stepping", "put_aside", "waits"]


MOST: Final = 500
"""Steps, or jobs that ask for theirs, of one statement."""


class Keep(msgspec.Struct, frozen=True):
    """A step that is to be kept."""

    key: int
    token: int
    step: StepRecord


class Keeping:
    """What jobs on one loop ask of their steps at once travels in one statement."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._looks: Groups[int, list[StepRecord]] = Groups(
            lambda: Group(self._look, lambda _: 1, MOST, 2)
        )
        self._keeps: Groups[Keep, bool] = Groups(lambda: Group(self._keep, lambda _: 1, MOST, 2))

    async def steps_of(self, key: int) -> list[StepRecord]:
        """See `Stepping.steps_of`."""
        return await self._looks.add(key)

    async def keep(self, one: Keep) -> bool:
        """Whether it is kept; see `Stepping.keep_step`."""
        return await self._keeps.add(one)

    async def close(self) -> None:
        """When all is done."""
        await self._keeps.settled()
        self._looks.clear()
        self._keeps.clear()

    async def _look(self, keys: Sequence[int]) -> list[list[StepRecord]]:
        found: dict[int, list[StepRecord]] = {key: [] for key in keys}
        for job, *row in await self._base.fetch("steps_of_all", [to_id(key) for key in found]):
            found[to_key(job)].append(StepRecord(*row))
        return [found[key] for key in keys]

    async def _keep(self, keeps: Sequence[Keep]) -> list[bool | BaseException]:
        asked = {(one.key, one.token, one.step.number): one for one in keeps}
        try:
            rows = await self._base.fetch("keep_steps", *_columns(list(asked.values())))
        except StorageError as error:
            if len(keeps) == 1 or not is_of_values(error):
                return [error] * len(keeps)
            return [(await self._keep([one]))[0] for one in keeps]  # Whose fault is not known.
        stands = {(to_key(job), token) for job, token in rows}
        return [(one.key, one.token) in stands for one in keeps]


def _columns(keeps: Sequence[Keep]) -> tuple[Sequence[Any], ...]:
    steps = [one.step for one in keeps]
    return (
        [to_id(one.key) for one in keeps], [one.token for one in keeps],
        [step.number for step in steps], [step.kind for step in steps],
        [step.name for step in steps], [step.begun_at for step in steps],
        [step.until for step in steps], [step.ended_at for step in steps],
        [step.result for step in steps], [step.signal for step in steps],
    )  # fmt: skip


class Stepping:
    """`backroom.stepping.Stepping`, over `_base`."""

    _base: Base
    _keeping: Keeping

    async def steps_of(self, key: int) -> list[StepRecord]:
        """See the protocol."""
        return await self._keeping.steps_of(key)

    async def keep_step(self, key: int, token: int, step: StepRecord) -> None:
        """See the protocol."""
        if not await self._keeping.keep(Keep(key, token, step)):
            raise lost()

    async def take_signal(
        self, key: int, token: int, step: StepRecord, now: int
    ) -> StepRecord | None:
        """See the protocol."""
        text = self._base.statements

        async def take(link: Any) -> StepRecord | None:
            if not await link.fetch(text["lock_held"], to_id(key), token):
                raise lost()
            rows = await link.fetch(
                text["take_signal"], to_id(key), step.number, step.kind, step.name, step.begun_at,
                step.until, now,
            )  # fmt: skip
            return StepRecord(*rows[0]) if rows else None

        return await self._base.change(take)

    async def send_signal(self, job_id: str, signal: SignalRecord, now: int) -> None:
        """See the protocol."""
        text = self._base.statements

        async def send(link: Any) -> bool:
            job = await _lock(link, text, job_id)
            [row] = await link.fetch(
                text["send_signal"], job, signal.id, signal.name, signal.value, signal.at, now,
                MAX_SIGNALS,
            )  # fmt: skip
            await self._check_here(link, job, job_id)  # After it: it may have left meanwhile.
            if row["known"]:
                return True  # Whether it woke the job, nobody has heard.
            if row["ended"]:
                raise ended(job_id)
            if row["full_"]:
                raise too_many(job_id)
            return bool(row["woken"])

        if await self._base.change(send):
            self._base.ring(Wake.JOBS, since=now)

    async def _check_here(self, link: Any, job: Any, job_id: str) -> None:
        for _, _, away in await link.fetch(self._base.statements["of_open_flow"], [job]):
            if away:
                raise on_its_way(job_id)


async def _lock(link: Any, text: Statements, job_id: str) -> Any:
    job = identity(job_id)
    if job is None or not await link.fetch(text["lock_job"], job):
        raise JobNotFoundError(f"no job has the id {job_id!r}")
    return job


def waits(transitions: Sequence[Transition]) -> bool:
    """Whether some of these jobs wait for a signal, which may be there."""
    return any(t.step is not None and t.step.kind == StepKind.SIGNAL for t in transitions)


async def put_aside(
    link: Any, statements: Statements, transitions: Sequence[Transition], now: int
) -> None:
    """Jobs whose outcome was written just now wait for a step; where that is a signal which is
    there already, they do not."""
    aside = [(t, t.step) for t in transitions if t.step is not None]
    if aside:
        await link.execute(
            statements["put_aside"], [to_id(t.key) for t, _ in aside],
            [step.number for _, step in aside], [step.kind for _, step in aside],
            [step.name for _, step in aside], [step.begun_at for _, step in aside],
            [step.until for _, step in aside], now,
        )  # fmt: skip
