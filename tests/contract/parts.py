"""What the contract is written with: a clock that tests set, and a bench around a storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from backroom.errors import StorageClosedError
from backroom.identity import JobIds
from backroom.inspecting import Filter
from backroom.job import SECOND, JobInfo, JobRecord, JobStatus
from backroom.ports import Claimed, Clock, Inserted, Reclaimed, Store, Want, WorkerSpec
from backroom.transition import Claim, Failure, Transition

__all__ = ["DAY", "LEASE", "START", "WEEK", "Bench", "MakeStore", "Place", "SettableClock"]

DAY = 86_400.0
WEEK = 7 * DAY
LEASE = 30.0
"""Seconds; no test waits for them."""

MakeStore = Callable[[Clock, float | None], Store]
"""Makes a storage, unopened, from a clock and a retention in seconds. All that one maker makes
look at the same jobs, if that kind of storage is durable or shared."""


_IDS = JobIds()


START = 1_750_000_000 * SECOND


class SettableClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self._now = START
        self._uptime = 5000.0

    def now(self) -> int:
        return self._now

    def uptime(self) -> float:
        return self._uptime

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._now += round(seconds * SECOND)
        self._uptime += seconds

    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock; no time passes."""
        self._now += round(seconds * SECOND)


class Bench:
    """A storage with the defaults that most tests want: one queue, priority normal, due now."""

    def __init__(self, storage: Store, clock: SettableClock) -> None:
        self.storage = storage
        self.clock = clock
        self._ids = _IDS

    @property
    def now(self) -> int:
        return self.clock.now()

    def later(self, seconds: float) -> int:
        """The moment so many seconds from now; a negative number is in the past."""
        return self.now + round(seconds * SECOND)

    # -- jobs --------------------------------------------------------------------------------

    def record(self, *, delay: float = 0.0, **fields: Any) -> JobRecord:
        """A job of its own id; `delay` in seconds from now, where `run_at` is not given."""
        said = {
            "id": self._ids(self.now),
            "type": "SEND_EMAIL",
            "queue": "default",
            "priority": 2,
            "run_at": self.later(delay),
            "created_at": self.now,
            "data": "{}",
        }
        return JobRecord(**{**said, **fields})

    def records(self, count: int, **fields: Any) -> list[JobRecord]:
        return [self.record(**fields) for _ in range(count)]

    async def insert(self, jobs: Sequence[JobRecord], **options: Any) -> list[Inserted]:
        return await self.storage.insert(jobs, self.now, **options)

    async def add(self, **fields: Any) -> str:
        """Inserts one job; returns its id."""
        [inserted] = await self.insert([self.record(**fields)])
        assert inserted.created
        return inserted.id

    async def add_many(self, count: int, **fields: Any) -> list[str]:
        return [inserted.id for inserted in await self.insert(self.records(count, **fields))]

    # -- workers -----------------------------------------------------------------------------

    async def enlist(self, name: str = "host:1", lease: float = LEASE) -> int:
        return (await self.storage.enlist(WorkerSpec(name, lease))).worker

    async def look(
        self,
        worker: int,
        room: int = 100,
        *,
        rooms: tuple[int, int, int, int] | None = None,
        queues: tuple[str, ...] | None = ("default",),
        but: tuple[str, ...] = (),
        **options: Any,
    ) -> Claimed:
        """Claims, and returns all that the storage says of it."""
        want = Want(queues, but, rooms or (room, room, room, room), **options)
        return await self.storage.claim(worker, want, self.now)

    async def claim(self, worker: int, room: int = 100, **options: Any) -> list[Claim]:
        return (await self.look(worker, room, **options)).claims

    async def claim_one(self, worker: int, **options: Any) -> Claim:
        [claim] = await self.claim(worker, 1, **options)
        return claim

    async def begin(self, worker: int, *claims: Claim) -> None:
        """User code of these claims begins, as a worker does it."""
        await self.storage.start(worker, [claim.key for claim in claims])
        for claim in claims:
            self.storage.note_start(worker, claim)

    async def running(self, **fields: Any) -> tuple[str, int, Claim]:
        """A job whose user code has begun, on a worker of its own."""
        job, worker = await self.add(**fields), await self.enlist()
        claim = await self.claim_one(worker, queues=None)
        assert claim.id == job
        await self.begin(worker, claim)
        return job, worker, claim

    async def reclaim(self) -> Reclaimed:
        return await self.storage.reclaim(self.now)

    async def end_leases(self, *, but: Sequence[int] = ()) -> Reclaimed:
        """Every worker but these stays silent until its lease is over; then somebody sweeps."""
        self.clock.advance(LEASE + 0.001)
        for worker in but:
            await self.storage.extend(worker)
        return await self.reclaim()

    # -- people ------------------------------------------------------------------------------

    async def info(self, job_id: str) -> JobInfo:
        info = await self.storage.find(job_id, self.now)
        assert info is not None, f"{job_id} is gone"
        return info

    async def status(self, job_id: str) -> JobStatus:
        return (await self.info(job_id)).status

    async def page(
        self, limit: int = 1000, cursor: str | None = None, **which: Any
    ) -> tuple[list[str], str | None]:
        """The ids of a page, and the cursor of the next one."""
        jobs, following = await self.storage.page(Filter(**which), self.now, limit, cursor)
        return [job.id for job in jobs], following

    async def prune(self, limit: int = 100) -> int:
        """How many it touched."""
        return (await self.storage.prune(self.now, limit)).touched

    async def prune_all(self, limit: int = 100) -> int:
        """How many it touched, until there was no more."""
        touched = 0
        for _ in range(1000):
            pruned = await self.storage.prune(self.now, limit)
            touched += pruned.touched
            if not pruned.more:
                return touched
        raise AssertionError("it always has more to look at")

    # -- outcomes ----------------------------------------------------------------------------

    def completed(self, claim: Claim, result: str = "null") -> Transition:
        return Transition.completed(claim, self.now, self.now, result)

    def failure(self, claim: Claim, message: str = "no route to host") -> Failure:
        return Failure(claim.attempt + 1, self.now, "OSError", message, "Traceback ...")

    def retried(self, claim: Claim, delay: float = 0.0, message: str = "boom") -> Transition:
        failure = self.failure(claim, message)
        return Transition.retry(claim, self.now, self.later(delay), failure)

    def failed(self, claim: Claim, message: str = "boom") -> Transition:
        failure = self.failure(claim, message)
        return Transition.failed(claim, self.now, self.now, claim.attempt + 1, failure)

    def snoozed(self, claim: Claim, delay: float = 60.0) -> Transition:
        return Transition.snoozed(claim, self.now, self.later(delay))

    def cancelled(self, claim: Claim, reason: str = "not needed") -> Transition:
        return Transition.cancelled(claim, self.now, self.now, reason)

    async def finish(self, worker: int, *transitions: Transition) -> list[bool]:
        return await self.storage.finish(worker, transitions)


class Place:
    """Where the jobs of one test live. Opens benches at it, and closes what is still open."""

    def __init__(self, make: MakeStore, clock: SettableClock) -> None:
        self._make = make
        self._clock = clock
        self._opened: list[Store] = []

    async def open(self, *, retention: float | None = WEEK) -> Bench:
        storage = self._make(self._clock, retention)
        self._opened.append(storage)
        await storage.open()
        return Bench(storage, self._clock)

    async def benches(self, count: int) -> list[Bench]:
        """So many benches at the same jobs; of a storage that cannot be shared, one bench."""
        first = await self.open()
        if not first.storage.capabilities.shared:
            return [first] * count
        return [first, *[await self.open() for _ in range(count - 1)]]

    async def close(self) -> None:
        """Whatever the test has done to the jobs, the numbers that are kept are those that are
        there, and each that has not ended is where somebody comes for it."""
        try:
            for storage in self._opened[:1]:
                with suppress(StorageClosedError):
                    assert await storage.miscounted() == []
                    assert (await storage.stranded(None, 10**6)).ids == ()
        finally:
            while self._opened:
                await self._opened.pop().close()
