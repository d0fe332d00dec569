"""What is decided of ticks, carried out: a batch of schedules in one transaction."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from backroom.ports import Wake
from backroom.schedule import Firing
from backroom.storage.decided import Kept, Move, due_jobs, jobs_to_make, settled
from backroom.storage.postgres.adding import AT_ONCE, Adding
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.links import is_of_values
from backroom.storage.postgres.texts import to_text

__all__ = ["Firings", "columns"]

log = logging.getLogger("backroom.storage")


class Firings:
    """Fires."""

    def __init__(self, base: Base, adding: Adding) -> None:
        self._base = base
        self._adding = adding

    async def fire(self, firings: Sequence[Firing], now: int) -> list[bool]:
        """See `Planning.fire`. Those whose jobs have unique keys have a transaction of their own:
        they may have to wait for somebody's that holds one, and the others need not."""
        groups: dict[tuple[int, bool], list[int]] = {}
        seen: Counter[str] = Counter()
        for n, firing in enumerate(firings):  # Of two of one schedule, one comes after the other.
            keyed = any(job.unique_key is not None for job in firing.jobs)
            groups.setdefault((seen[firing.schedule], keyed), []).append(n)
            seen[firing.schedule] += 1
        answers = [False] * len(firings)
        for _, group in sorted(groups.items()):
            for n, answer in zip(group, await self._fire([firings[n] for n in group], now),
                                 strict=True):  # fmt: skip
                answers[n] = answer
        return answers

    async def _fire(self, firings: Sequence[Firing], now: int) -> list[bool]:
        """In one transaction. Where one of them cannot be kept, it is looked for by halves."""
        jobs = [job for firing in firings for job in firing.jobs]
        within = self._base.links.answer * (1 + len(firings) // AT_ONCE)
        word = self._base.bells.along(Wake.JOBS) if jobs else None
        try:
            await self._adding.know({job.queue for job in jobs})
            answers = await self._base.change(partial(self._carry_out, firings, now, word), within)
        except Exception as error:
            self._base.bells.failed_with(Wake.JOBS, word)
            if not is_of_values(error):
                raise
            if len(firings) == 1:
                log.exception("a tick of the schedule %r could not be kept", firings[0].schedule)
                return [False]
        else:
            self._adding.arrived(jobs, word)
            return answers
        half = len(firings) // 2
        return await self._fire(firings[:half], now) + await self._fire(firings[half:], now)

    async def _carry_out(
        self, firings: Sequence[Firing], now: int, word: str | None, link: Any
    ) -> list[bool]:
        rows = await link.fetch(
            self._base.statements["seize_schedules"],
            [to_text(one.schedule) for one in firings],
            [one.revision for one in firings],
            [one.expected for one in firings],
        )
        keys = {row["n"] - 1: row["id"] for row in rows}
        if keys:
            await self._keep(link, [(keys[n], firings[n]) for n in sorted(keys)], now, word)
        others = {n: one for n, one in enumerate(firings) if n not in keys}
        before = await self._fired_before(link, others) if others else set()
        return [n in keys or n in before for n in range(len(firings))]

    async def _keep(
        self, link: Any, firings: Sequence[tuple[int, Firing]], now: int, word: str | None
    ) -> None:
        text, fired = self._base.statements, due_jobs(firings)
        decided: set[str] = set()
        if fired:
            rows = await link.fetch(
                text["decided"], [key for key, _, _ in fired], [tick.at for _, tick, _ in fired],
                [tick.until for _, tick, _ in fired], [job for _, _, job in fired],
            )  # fmt: skip
            decided = {str(row[0]) for row in rows}
        jobs = jobs_to_make(firings, decided)
        answers = await self._adding.beside(link, jobs, now, word) if jobs else []
        made = {job.id: answer.id for job, answer in zip(jobs, answers, strict=True)}
        kept, moves = settled(firings, decided, made)
        await link.execute(text["move_on"], *columns(kept, moves))

    async def _fired_before(self, link: Any, firings: Mapping[int, Firing]) -> set[int]:
        """Those that an earlier call has carried out."""
        numbers, ticks = list(firings), [one.witness for one in firings.values()]
        rows = await link.fetch(
            self._base.statements["fired_before"],
            [to_text(tick.schedule) for tick in ticks], [tick.at for tick in ticks],
            [tick.until for tick in ticks], [tick.outcome for tick in ticks],
            [tick.job for tick in ticks], [tick.decided_at for tick in ticks],
        )  # fmt: skip
        return {numbers[row["n"] - 1] for row in rows}


def columns(kept: Sequence[Kept], moves: Mapping[int, Move]) -> list[list[Any]]:
    """Of `move_on`."""
    ticks = [one.tick for one in kept]
    return [
        [one.schedule for one in kept],
        [tick.at for tick in ticks],
        [tick.until for tick in ticks],
        [tick.count for tick in ticks],
        [tick.outcome for tick in ticks],
        [one.job for one in kept],
        [one.asked for one in kept],
        [tick.decided_at for tick in ticks],
        list(moves),
        [move.next_at for move in moves.values()],
        [move.last_at for move in moves.values()],
        [move.last_job for move in moves.values()],
        [move.kept for move in moves.values()],
    ]
