"""What is kept of the steps of jobs, and of the signals that wait for them.

Who puts a job aside, sends it a signal, or takes one for it, holds its row in the table of jobs
meanwhile, and looks at the rest in a statement behind that. So each of them sees what the others
have done, whoever comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backroom.errors import JobNotFoundError
from backroom.ports import Wake
from backroom.step import MAX_SIGNALS, SignalRecord, StepKind, StepRecord
from backroom.stepping import active, ended, lost, too_many
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.looking import identity
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import to_id
from backroom.transition import Transition

__all__ = ["Stepping", "put_aside", "waits"]


class Stepping:
    """`backroom.stepping.Stepping`, over `_base`."""

    _base: Base

    async def steps_of(self, key: int) -> list[StepRecord]:
        """See the protocol."""
        return [StepRecord(*row) for row in await self._base.fetch("steps_of", to_id(key))]

    async def keep_step(self, key: int, token: int, step: StepRecord) -> None:
        """See the protocol."""
        if not await self._base.fetch(
            "keep_step", to_id(key), token, step.number, step.kind, step.name, step.begun_at,
            step.until, step.ended_at, step.result, step.signal,
        ):  # fmt: skip
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
            job = await self._lock(link, job_id)
            [row] = await link.fetch(
                text["send_signal"], job, signal.id, signal.name, signal.value, signal.at, now,
                MAX_SIGNALS,
            )  # fmt: skip
            if row["known"]:
                return True  # Whether it woke the job, nobody has heard.
            if row["ended"]:
                raise ended(job_id)
            if row["full_"]:
                raise too_many(job_id)
            return bool(row["woken"])

        if await self._base.change(send):
            self._base.ring(Wake.JOBS, since=now)

    async def forget_steps(self, job_id: str, number: int) -> None:
        """See the protocol."""

        async def forget(link: Any) -> None:
            job = await self._lock(link, job_id)
            if await link.fetchval(self._base.statements["forget_steps"], job, number):
                raise active(job_id)

        await self._base.change(forget)

    async def _lock(self, link: Any, job_id: str) -> Any:
        job = identity(job_id)
        if job is None or not await link.fetch(self._base.statements["lock_job"], job):
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
