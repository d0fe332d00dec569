"""What becomes of claims, and what their handlers say on the way. All of it is fenced."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeAlias
from uuid import UUID

import msgspec

from backroom.job import JobRecord, State
from backroom.ports import Report
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.steps import put_aside
from backroom.storage.postgres.texts import to_id, to_key, to_text
from backroom.storage.postgres.ties import hold, loosen
from backroom.transition import Transition

__all__ = ["Outcomes", "Results"]


Follow: TypeAlias = Callable[[Any, Sequence[JobRecord], int], Awaitable[object]]


class Results(msgspec.Struct, eq=False):
    """Outcomes of one `finish` call."""

    worker: int
    transitions: Sequence[Transition]

    def size(self) -> int:
        return len(self.transitions)


class Outcomes:
    """Writes outcomes, on a connection in a transaction."""

    MOST: ClassVar = 1000
    """Outcomes a group."""
    ERRORS: ClassVar = 50
    """Errors that are kept of a job."""
    LINES: ClassVar = 1000
    """Lines of its log."""

    def __init__(self, statements: Statements, follow: Follow) -> None:
        """`follow` makes the jobs that outcomes bring about, along with them; their queues have
        a row."""
        self._statements = statements
        self._follow = follow

    def is_one(self, results: Sequence[Results]) -> bool:
        """Whether `finish` will say one statement that changes something."""
        return all(
            _is_plain(t) and not t.tied and not t.follows
            for one in results
            for t in one.transitions
        )

    async def finish(
        self, link: Any, results: Sequence[Results], now: int, word: str | None = None
    ) -> list[list[bool]]:
        """Applies the transitions whose token stands; says which stand. `word`: what is said to
        those who listen, if some have completed."""
        asked: dict[tuple[int, int], Transition] = {}
        for one in results:
            for t in one.transitions:
                asked.setdefault((t.key, t.token), t)
        refused = await self.write(link, list(asked.values()), now, word)
        if not refused:
            return [[True] * len(one.transitions) for one in results]
        # An earlier call whose answer was lost may have written them.
        refused -= await self.stood(link, [t for pair, t in asked.items() if pair in refused])
        return [[(t.key, t.token) not in refused for t in one.transitions] for one in results]

    async def stood(self, link: Any, transitions: Sequence[Transition]) -> set[tuple[int, int]]:
        """Those that were written before, by key and token."""
        rows = await link.fetch(self._statements["stood"], *_ids(transitions))
        return {(to_key(id_), token) for id_, token in rows}

    async def write(
        self, link: Any, transitions: Sequence[Transition], now: int, word: str | None = None
    ) -> set[tuple[int, int]]:
        """Writes those whose claim stands; the others, by key and token."""
        await hold(link, self._statements, [to_id(t.key) for t in transitions if t.tied])
        plain = [t for t in transitions if _is_plain(t)]
        others = [t for t in transitions if not _is_plain(t)]
        refused: set[tuple[int, int]] = set()
        if plain:
            rows = await link.fetch(
                self._statements["complete"], *_ids(plain), [t.attempt for t in plain],
                [t.started_at for t in plain], [t.finished_at for t in plain],
                [t.result for t in plain], word, self._statements.channel,
            )  # fmt: skip
            refused.update((to_key(id_), token) for id_, token, _ in rows if id_ is not None)
        if others:
            rows = await link.fetch(self._statements["take_out"], *_ids(others))
            out = {(to_key(id_), token) for id_, token in rows}
            await self._settle(link, [t for t in others if (t.key, t.token) in out], now)
            refused.update(pair for t in others if (pair := (t.key, t.token)) not in out)
        tied = [to_id(t.key) for t in transitions if t.tied and (t.key, t.token) not in refused]
        await loosen(link, self._statements, tied, now)
        following = [
            job
            for t in transitions
            if t.follows and (t.key, t.token) not in refused
            for job in t.follows
        ]
        if following:
            await self._follow(link, following, now)
        return refused

    async def _settle(self, link: Any, transitions: Sequence[Transition], now: int) -> None:
        if not transitions:
            return
        await link.execute(
            self._statements["settle"], *_ids(transitions), [t.state for t in transitions],
            [t.run_at for t in transitions], [t.attempt for t in transitions],
            [t.started_at for t in transitions], [t.finished_at for t in transitions],
            [t.result for t in transitions], [to_text(t.reason) for t in transitions],
            [t.progress for t in transitions], [to_text(t.progress_message) for t in transitions],
            [t.crashed for t in transitions], now, [t.options for t in transitions],
        )  # fmt: skip
        await put_aside(link, self._statements, transitions, now)
        failed = [(t, t.failure) for t in transitions if t.failure is not None]
        if failed:
            await link.execute(
                self._statements["add_errors"], [to_id(t.key) for t, _ in failed],
                [f.attempt for _, f in failed], [f.at for _, f in failed],
                [to_text(f.kind) for _, f in failed], [to_text(f.message) for _, f in failed],
                [to_text(f.traceback) for _, f in failed], [t.started_at for t, _ in failed],
            )  # fmt: skip
            many = [to_id(t.key) for t, f in failed if f.attempt > self.ERRORS]
            if many:
                await link.execute(self._statements["trim_errors"], many, self.ERRORS)
        await self._add_log(link, ((t.key, t.attempt, t.log) for t in transitions))

    async def report(self, link: Any, reports: Sequence[Report]) -> None:
        """Keeps progress and log lines of claims whose token stands."""
        rows = await link.fetch(self._statements["held_now"], *_ids(reports))
        held = {row[0].int for row in rows}
        mine = [one for one in reports if one.key in held]
        if not mine:
            return
        await link.execute(
            self._statements["progress"], [to_id(one.key) for one in mine],
            [one.progress for one in mine], [to_text(one.progress_message) for one in mine],
        )  # fmt: skip
        await self._add_log(link, ((one.key, one.attempt, one.log) for one in mine))

    async def _add_log(self, link: Any, said: Iterable[tuple[int, int, Any]]) -> None:
        lines = [
            (to_id(key), attempt, at, level, to_text(message))
            for key, attempt, log in said
            for at, level, message in log or ()
        ]
        if lines:
            await link.execute(self._statements["add_logs"], *map(list, zip(*lines, strict=True)))
            jobs = list({line[0] for line in lines})
            await link.execute(self._statements["trim_logs"], jobs, self.LINES)


def _is_plain(transition: Transition) -> bool:
    """It went well, and nothing more is said."""
    return (
        transition.state == State.COMPLETED and transition.progress is None and not transition.log
    )


def _ids(items: Sequence[Transition] | Sequence[Report]) -> tuple[list[UUID], list[int]]:
    return [to_id(one.key) for one in items], [one.token for one in items]
