"""The real storage, telling a recording what it is asked and what it promises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from backroom import FileJobStorage
from backroom.job import JobRecord
from backroom.ports import Claimed, Inserted, Pruned, Reclaimed, Want
from backroom.transition import Claim, Transition
from tests.crash.power_cuts.notes import (
    Began,
    Ended,
    Ending,
    Handed,
    Opened,
    Pruning,
    Reclaiming,
)
from tests.crash.power_cuts.recording import Recording

__all__ = ["WatchedStorage"]


class WatchedStorage(FileJobStorage):
    """What the engine asks of it is noted before, what it answers after."""

    def __init__(self, recording: Recording, store: str, **settings: Any) -> None:
        """Keeps what has ended, so that what is gone is lost."""
        super().__init__(recording.root / store, **{"retention": None, **settings})
        self._note = recording.note
        self._numbers: dict[int, int] = {}
        """By key: the number of each job that was claimed."""

    async def open(self) -> None:
        await super().open()
        self._note(Opened())

    def _handed(self, claims: Sequence[Claim | None]) -> None:
        for claim in claims:
            if claim is not None:
                self._numbers[claim.key] = number = json.loads(claim.data)["n"]
                self._note(Handed(number, claim.token))

    def insert(
        self, jobs: Sequence[JobRecord], now: int, *, worker: int | None = None, start: bool = False
    ) -> asyncio.Future[list[Inserted]]:
        future = super().insert(jobs, now, worker=worker, start=start)
        future.add_done_callback(self._inserted)  # Runs before whoever waits for it.
        return future

    def _inserted(self, future: asyncio.Future[list[Inserted]]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._handed([inserted.claim for inserted in future.result()])

    async def claim(self, worker: int, want: Want, now: int) -> Claimed:
        claimed = await super().claim(worker, want, now)
        self._handed(claimed.claims)
        return claimed

    def note_start(self, worker: int, claim: Claim) -> None:
        self._note(Began(self._numbers[claim.key], claim.token, claim.attempt + 1))
        super().note_start(worker, claim)

    async def finish(self, worker: int, transitions: Sequence[Transition]) -> list[bool]:
        numbers = [self._numbers[one.key] for one in transitions]
        for number, one in zip(numbers, transitions, strict=True):
            self._note(Ending(number, one.token, one.state, one.result))
        stands = await super().finish(worker, transitions)
        for number, one, stood in zip(numbers, transitions, stands, strict=True):
            if stood:
                self._note(Ended(number, one.state, one.result, one.attempt))
        return stands

    async def reclaim(self, now: int) -> Reclaimed:
        self._note(Reclaiming())
        return await super().reclaim(now)

    async def prune(self, now: int, limit: int) -> Pruned:
        if self.retention is not None:
            self._note(Pruning())
        return await super().prune(now, limit)
