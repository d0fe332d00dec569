"""Where the jobs of a test live: the memory storage, which also tells what happened."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import msgspec

from backroom.flow import FlowRecord, Piece
from backroom.job import JobRecord
from backroom.ports import Claimed, Inserted, Reclaimed, Wake, Want, WorkerSpec
from backroom.schedule import Firing
from backroom.step import FOREVER
from backroom.storage.memory import MemoryJobStorage
from backroom.storage.sqlite import workers
from backroom.storage.sqlite.claims import READ_KEYS, TAKE, UNSTARTED
from backroom.storage.sqlite.ledger import Ledger
from backroom.testing.virtual import VirtualClock
from backroom.transition import Claim, Failure, Transition

__all__ = ["TestStorage"]

MOST_SCHEDULES: Final = 1_000_000
"""Of one test."""

P = ParamSpec("P")
T = TypeVar("T")

# A job whose time to start passes without its being started is cancelled, so that is a moment, too.
# What waits for a signal without a timeout has none.
NEXT_MOMENT: Final = f"""
    SELECT min(moment) FROM (
        SELECT run_at AS moment FROM job WHERE state = 0 AND run_at > ?1 AND run_at < {FOREVER}
        UNION ALL
        SELECT expires_at FROM job WHERE state IN (0, 5) AND expires_at > ?1 AND {UNSTARTED})
"""


class TestStorage(MemoryJobStorage):
    """A service that stops does not take it away from the test: it is there until `forget`."""

    __test__ = False

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.virtual_clock = clock or VirtualClock()
        super().__init__(clock=self.virtual_clock)
        self.inserted: list[JobRecord] = []
        """All jobs that were made, as they were scheduled."""
        self.after_insert: Callable[[], Awaitable[None]] | None = None
        self.changed: Callable[[], None] = lambda: None
        """Called after every change, in the thread that made it."""
        self._outcomes: list[tuple[str, Failure | None]] = []
        self._only: str | None = None
        self._killed: set[tuple[int, int]] = set()
        """Claims whose worker was killed."""

    @staticmethod
    def at_once(verb: Coroutine[Any, Any, T]) -> T:
        """What a verb of a storage in memory answers; it never waits, so this needs no loop."""
        try:
            verb.send(None)
        except StopIteration as answer:
            return answer.value  # type: ignore[no-any-return]
        raise AssertionError("a verb of the memory storage waited")

    async def close(self) -> None:
        return

    def forget(self) -> None:
        """All that `close` does elsewhere."""
        self.at_once(super().close())
        self.inserted.clear()

    async def _write(
        self, change: Callable[Concatenate[Ledger, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        result = await super()._write(change, *args, **kwargs)
        self.changed()
        return result

    # -- what happened ---------------------------------------------------------------------------

    async def insert(
        self, jobs: Sequence[JobRecord], now: int, *, worker: int | None = None, start: bool = False
    ) -> list[Inserted]:
        if self._only is not None:
            worker = None  # Another job is to run, and no other.
        answers = await super().insert(jobs, now, worker=worker, start=start)
        made = zip(jobs, answers, strict=True)
        self.inserted += [job for job, answer in made if answer.created]
        if self.after_insert is not None:
            await self.after_insert()
        return answers

    async def fire(self, firings: Sequence[Firing], now: int) -> list[bool]:
        stands = await super().fire(firings, now)
        for firing, stood in zip(firings, stands, strict=True):
            self.inserted += firing.jobs if stood else ()
        return stands

    async def insert_flow(self, flow: FlowRecord, piece: Piece, now: int) -> None:
        await super().insert_flow(flow, piece, now)
        self.inserted += [member.record for member in piece.members]

    async def extend_flow(self, piece: Piece, key: int, token: int, now: int) -> None:
        await super().extend_flow(piece, key, token, now)
        known = {job.id for job in self.inserted}
        new = [member.record for member in piece.members]
        self.inserted += [record for record in new if record.id not in known]

    async def finish(self, worker: int, transitions: Sequence[Transition]) -> list[bool]:
        # What the code of a dead worker still says, nobody hears.
        heard = [t for t in transitions if (t.key, t.token) not in self._killed]
        stands = await super().finish(worker, heard) if heard else []
        for transition, stood in zip(heard, stands, strict=True):
            if stood:
                row = self._row("SELECT id FROM job WHERE key = ?", transition.key)
                if row is not None:
                    self._outcomes.append((row[0], transition.failure))
        said = iter(stands)
        return [(t.key, t.token) in self._killed or next(said) for t in transitions]

    def outcomes(self) -> list[tuple[str, Failure | None]]:
        """The jobs of which an attempt ended since the last call, and what went wrong in it."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def next_moment(self, now: int) -> int | None:
        """When the next job becomes due, or expires, or the next tick of a schedule comes; None
        if nothing waits for its time."""
        row = self._row(NEXT_MOMENT, now)
        _, tick = self.at_once(self.due_schedules(now, MOST_SCHEDULES))
        moments = [at for at in (*(row or ()), tick) if at is not None]
        return min(moments, default=None)

    def _row(self, query: str, *arguments: Any) -> tuple[Any, ...] | None:
        with self._lock:
            return self._opened().run(query, arguments).fetchone()

    async def reclaim(self, now: int) -> Reclaimed:
        # Asked once a second, also of a handler that sleeps for a virtual day.
        if self._row("SELECT 1 FROM worker WHERE lease_until <= ?", self.clock.uptime()) is None:
            return Reclaimed()
        return await super().reclaim(now)

    # -- what is to happen -----------------------------------------------------------------------

    def nudge(self) -> None:
        """Workers look whether something is due."""
        self._wake((Wake.JOBS, Wake.CONTROL))

    def only(self, job_id: str | None) -> None:
        """The next claim gives this job, whether it is due or not, and nothing else is given;
        None: claims go their usual way."""
        self._only = job_id

    async def claim(self, worker: int, want: Want, now: int) -> Claimed:
        if self._only is None:
            return await super().claim(worker, want, now)
        job_id, self._only = self._only, ""
        return await self._write(_claim_one, worker, job_id)

    def kill(self, job_id: str) -> None:
        """The worker that runs this job dies: what others found, and did, when it was dead.
        Its other jobs stay with it, as if each ran in a worker of its own."""

        def kill(ledger: Ledger) -> None:
            query = "SELECT key, token, worker FROM job WHERE id = ? AND state = 1"
            now = self.clock.now()
            for key, token, worker in list(ledger.run(query, (job_id,))):
                self._killed.add((key, token))
                spec = WorkerSpec("(killed by the test)", 0)
                dead = workers.enlist(ledger, spec, self._boot(), 0, now)
                ledger.run("UPDATE job SET worker = ?2 WHERE key = ?1", (key, dead))
                ledger.unmark(worker, [key])
                ledger.mark(dead, [key])
                ledger.flush()
                workers.reclaim(ledger, {dead: None}, now)

        self.at_once(self._write(kill))


def _claim_one(ledger: Ledger, worker: int, job_id: str) -> Claimed:
    """A job that waits, or is parked, and counts as started."""
    ledger.check_enlisted(worker)
    token = ledger.fresh_token()
    rows = ledger.run("SELECT key FROM job WHERE id = ? AND state IN (0, 6)", (job_id,))
    keys = json.dumps([key for (key,) in rows])
    [(text,)] = ledger.run(READ_KEYS, (keys, token))
    claims = msgspec.json.decode(text, type=list[Claim])
    ledger.run(TAKE, (keys, worker, token))
    ledger.mark(worker, [claim.key for claim in claims])
    return Claimed(claims, len(claims), False, None)
