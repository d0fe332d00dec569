"""Outcomes of many jobs travel in one transaction; one that cannot be written harms no other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from backroom.errors import StorageError
from backroom.job import State
from backroom.ports import Report, Wake
from backroom.storage.groups import Group, Groups
from backroom.storage.postgres.adding import Adding
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.connecting import LONGEST
from backroom.storage.postgres.links import is_of_values
from backroom.storage.postgres.outcomes import Outcomes, Results
from backroom.storage.postgres.steps import waits
from backroom.transition import Transition

__all__ = ["Ending"]

log = logging.getLogger("backroom.storage")

ENOUGH: Final = 600
"""Outcomes that travel while others do."""


class Ending:
    """Group commit of outcomes: one group for each loop."""

    def __init__(self, base: Base, adding: Adding) -> None:
        self._base = base
        self._adding = adding
        self._ending = Outcomes(
            base.statements, lambda link, jobs, now: adding.beside(link, jobs, now, None)
        )
        self._groups: Groups[Results, list[bool]] = Groups(
            lambda: Group(self._end, Results.size, Outcomes.MOST, 2, ENOUGH)
        )
        self._slow: dict[tuple[int, int], float] = {}
        """Outcomes that were not written in time, by key and token: the seconds that they have the
        next time."""

    async def finish(self, worker: int, transitions: Sequence[Transition]) -> list[bool]:
        """See `JobStorage.finish`."""
        return await self._groups.add(Results(worker, transitions))

    async def _end(self, results: Sequence[Results]) -> list[list[bool] | BaseException]:
        now, plain = self._base.clock.now(), self._ending.is_one(results)
        word = self._base.bells.along(Wake.FINISHED) if plain else None
        pairs = [] if plain else [(t.key, t.token) for one in results for t in one.transitions]
        within = max((self._slow[pair] for pair in pairs if pair in self._slow), default=None)
        self._base.commits.add(len(results))
        follows = [job for one in results for t in one.transitions for job in t.follows or ()]
        try:
            await self._adding.know({job.queue for job in follows})
            answers = await self._base.carry(
                lambda link: self._ending.finish(link, results, now, word), plain, within
            )
        except Exception as error:
            self._base.bells.failed_with(Wake.FINISHED, word)
            if isinstance(error.__cause__, TimeoutError):
                # With one job that ends, a hundred thousand may that wait for it.
                longer = min(2 * (within or self._base.links.answer), LONGEST)
                self._slow.update(dict.fromkeys(pairs, longer))
            if not is_of_values(error):
                return [error] * len(results)
            if len(results) == 1:
                return [await self._end_apart(results[0], now)]
            apart: list[list[bool] | BaseException] = []
            for one in results:  # Whose fault it was is not known.
                apart += await self._end([one])
            return apart
        if self._slow:
            for pair in pairs:
                self._slow.pop(pair, None)
        for said, stands in zip(results, answers, strict=True):
            self._base.of(said.worker).finished(said.transitions, stands)
        stood = any(any(stands) for stands in answers)
        self._base.bells.committed_with(Wake.FINISHED, word if stood else None)
        states = {t.state for one in results for t in one.transitions}
        self._base.parked = self._base.parked or State.PARKED in states
        if State.PARKED in states or State.WAITING in states:
            self._base.bells.ring((Wake.JOBS,))
            for t in (t for one in results for t in one.transitions):
                if t.state == State.WAITING:
                    self._base.marks.lower(0 if t.run_at is None else t.run_at)
            if waits([t for one in results for t in one.transitions]):
                self._base.marks.lower(now)
        if follows:
            self._base.ring(Wake.JOBS, since=min(job.run_at for job in follows))
        if any(t.tied for one in results for t in one.transitions):  # Others may be let through.
            self._base.ring(Wake.JOBS)
        return list(answers)

    async def _end_apart(self, results: Results, now: int) -> list[bool]:
        """Each outcome by itself: one that cannot be written fails its job, and says so."""
        stands: list[bool] = []
        for one in results.transitions:
            for last, transition in ((False, one), (True, one.unkept(now))):
                alone = [Results(results.worker, [transition])]
                try:
                    [answer] = await self._base.change(
                        partial(self._ending.finish, results=alone, now=now)
                    )
                except Exception as error:
                    if not is_of_values(error):
                        raise  # Asked again: what was written before stands.
                    log.exception("what was said of one job could not be kept")
                    if last:
                        stands.append(False)
                else:
                    self._base.of(results.worker).finished([one], answer)
                    stands.append(answer[0] and not last)
                    break
        self._base.ring(Wake.FINISHED)
        if any(t.tied or t.follows for t in results.transitions):
            self._base.ring(Wake.JOBS)
        return stands

    async def stood(self, transition: Transition) -> bool:
        """See `Transactional.stood`."""

        async def ask(link: Any) -> bool:
            await link.fetch(self._base.statements["wait_for"], [transition.token])
            return bool(await self._ending.stood(link, [transition]))

        return await self._base.change(ask)

    def finished(self, worker: int, transition: Transition) -> None:
        """See `Transactional.finished`."""
        self._base.of(worker).finished([transition], [True])
        self._base.ring(Wake.FINISHED)
        if transition.tied or transition.follows:
            self._base.ring(Wake.JOBS)

    async def report(self, worker: int, reports: Sequence[Report]) -> None:
        """See `JobStorage.report`."""
        try:
            await self._base.change(lambda link: self._ending.report(link, reports))
        except StorageError as error:
            if not is_of_values(error):
                raise
            for one in reports if len(reports) > 1 else ():
                await self.report(worker, [one])

    async def close(self) -> None:
        """When all is done."""
        await self._groups.settled()
        self._groups.clear()
