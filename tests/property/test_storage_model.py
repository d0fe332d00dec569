"""Every storage behaves like a plain Python model of it, whatever is asked of it in any order."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from backroom import MemoryJobStorage
from backroom.errors import DuplicateJobError
from backroom.identity import JobIds
from backroom.inspecting import Filter
from backroom.job import SECOND, Hold, JobRecord, JobStatus
from backroom.ports import House, Inserted, Pruned, Store, Want, WorkerSpec
from backroom.storage.sqlite import moving
from backroom.transition import Claim, Failure, Transition
from tests.contract.parts import LEASE, SettableClock
from tests.contract.storages import STORAGES, Prepare
from tests.property.model import Model, Worker, of_worker, same_refusal

T = TypeVar("T")

RETENTION = 100.0
QUEUES = ("a", "b")
TYPES = ("A", "B")
VERSIONS = (1, 1, 2)
"""Of their data."""
MOST_WORKERS = 3
EVERYTHING = 1000
"""A page, and a limit, above all that an example makes."""

SETTINGS = settings(
    max_examples=100,
    stateful_step_count=35,
    deadline=None,
    derandomize="CI" in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)

seconds = st.sampled_from([0, 0, 0, -5, -1, 1, 40])
outcomes = st.sampled_from(
    ["completed", "retry", "failed", "snoozed", "cancelled", "released", "parked"]
)

_ids = JobIds()


@st.composite
def job_options(draw: st.DrawFn) -> dict[str, Any]:
    """What is said of a job; moments are in seconds from the moment it is inserted."""
    return {
        "type": draw(st.sampled_from(TYPES)),
        "version": draw(st.sampled_from(VERSIONS)),
        "queue": draw(st.sampled_from(QUEUES)),
        "priority": draw(st.integers(0, 3)),
        "delay": draw(seconds),
        "expires_in": draw(st.sampled_from([None, None, 10, 60])),
        "unique_key": draw(st.sampled_from([None, None, "k"])),
        "held_for": draw(st.sampled_from(["end", "end", "start", 30, 1000])),
        "on_conflict": draw(st.sampled_from(["existing", "existing", "replace", "raise"])),
    }


def options_of(version: int, unique_key: str | None) -> str:
    said: dict[str, Any] = {"retries": 3}
    if version > 1:
        said["version"] = version
    if unique_key is not None:
        said["unique_key"] = unique_key
    return json.dumps(said)


class StorageMachine(RuleBasedStateMachine):
    """Does the same to a storage and to the model, and compares all that is seen."""

    def __init__(self, prepare: Prepare) -> None:
        super().__init__()
        self.clock = SettableClock()
        self.model = Model(round(RETENTION * SECOND))
        self.records: list[JobRecord] = []
        self.claims: list[Claim] = []
        """All there ever were."""
        self.mine: list[int] = []
        """Workers of the present process, in the order they enlisted; the dead ones too."""
        self.crashes = 0
        self._enlisted = 0
        self._loop = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self._stack = AsyncExitStack()
        self._make = self.run(self._stack.enter_async_context(prepare(Path(self._folder.name))))
        self.storage = self._open()

    def run(self, act: Awaitable[T]) -> T:
        async def await_it() -> T:
            return await act

        return self._loop.run(await_it())

    def _open(self) -> Store:
        storage = self._make(self.clock, RETENTION)
        self.run(storage.open())
        return storage

    def teardown(self) -> None:
        try:
            for job_id, job in self.model.jobs.items():
                info = self.run(self.storage.find(job_id, self.now))
                assert info is not None
                assert [(e.attempt, e.kind) for e in info.errors] == job.errors
        finally:
            self.run(self.storage.close())
            self.run(self._stack.aclose())
            self._loop.close()
            self._folder.cleanup()

    @property
    def now(self) -> int:
        return self.clock.now()

    def agree(self, act: Coroutine[Any, Any, T], expected: Any) -> T | None:
        """The storage answers, or refuses, as the model did."""
        _, refusal = expected
        if refusal is None:
            return self.run(act)
        with pytest.raises(refusal):
            self.run(act)
        return None

    # -- what is seen ------------------------------------------------------------------------

    @invariant()
    def all_that_people_see_is_the_same(self) -> None:
        jobs, cursor = self.run(self.storage.page(Filter(), self.now, EVERYTHING, None))
        expected = self.model.page(self.now)
        seen = [
            {name: getattr(job, name) for name in want}
            for job, want in zip(jobs, expected, strict=False)
        ]
        assert seen == expected
        assert (len(jobs), cursor) == (len(expected), None)
        assert self.run(self.storage.miscounted()) == []
        groups = self.run(self.storage.failures(EVERYTHING))
        assert {(one.type, one.kind): one.jobs for one in groups} == self.model.failures()
        stats = self.run(self.storage.stats(self.now))
        assert stats.by_status == self.model.by_status(self.now)
        assert [(worker.name, worker.active) for worker in stats.workers] == self.model.by_worker()
        assert self.run(self.storage.queues()) == self.model.paused
        assert sorted(self.run(self._keyed())) == sorted(self.model.keyed(self.now))

    async def _keyed(self) -> list[tuple[str, str]]:
        """The keys that jobs hold, as who moves house asks for them."""
        if isinstance(self.storage, MemoryJobStorage):  # Nobody moves it, but its tables are those.
            return await self.storage._read(
                lambda jobs: moving.keyed(jobs.connection.execute, None, EVERYTHING, self.now)[0]
            )
        keys, _ = await cast(House, self.storage).keyed(None, EVERYTHING)
        return keys

    # -- insert ------------------------------------------------------------------------------

    @initialize(many=st.lists(job_options(), min_size=1, max_size=6))
    def two_workers_and_some_jobs(self, many: list[dict[str, Any]]) -> None:
        self._replace_the_dead()
        self._insert([self._record(said) for said in many], None, False)

    def _record(self, said: dict[str, Any]) -> JobRecord:
        expires, key, held_for = said["expires_in"], said["unique_key"], said["held_for"]
        until = {"end": None, "start": 0}.get(
            held_for, None if isinstance(held_for, str) else self.now + held_for * SECOND
        )
        return JobRecord(
            id=_ids(self.clock.now()),
            type=said["type"],
            queue=said["queue"],
            priority=said["priority"],
            run_at=self.now + said["delay"] * SECOND,
            created_at=self.now,
            data="{}",
            options=options_of(said["version"], key),
            unique_key=key,
            hold=None if key is None else Hold(until, said["on_conflict"]),
            expires_at=None if expires is None else self.now + expires * SECOND,
        )

    @rule(many=st.lists(job_options(), max_size=3), data=st.data(), start=st.booleans())
    def insert(self, many: list[dict[str, Any]], data: st.DataObject, start: bool) -> None:
        """New jobs, and some that were inserted before."""
        again = data.draw(
            st.lists(st.sampled_from(self.records), max_size=2, unique_by=lambda job: job.id)
        )
        new = [self._record(said) for said in many]
        worker = data.draw(st.sampled_from([None, None, *self.alive, self.mine[0]]))
        self._insert(again + new if data.draw(st.booleans()) else new + again, worker, start)

    def _insert(self, records: list[JobRecord], worker: int | None, start: bool) -> None:
        if worker is not None:
            # One at a time: the contract does not say in which order jobs of a batch stand when
            # some go to the worker and some do not.
            records = records[:1]
        # What is not there, or not any more, comes as a new job: ids grow with every insert.
        records = [
            record
            if record.id in self.model.jobs or self._replaced_last(record.id)
            else msgspec.structs.replace(record, id=_ids(self.clock.now()))
            for record in records
        ]
        # An id from before comes first. Behind one that takes its key it would be a new job with an
        # old id, and a storage that orders by ids would show it in another place.
        records.sort(key=lambda record: not self._replaced_last(record.id))
        self.records += records

        async def insert() -> list[Inserted]:
            return await self.storage.insert(records, self.now, worker=worker, start=start)

        after = copy.deepcopy(self.model)
        expected, holder = _refused(lambda: after.insert(records, self.now, worker))
        if holder is not None:  # Nothing is changed.
            with pytest.raises(DuplicateJobError) as refused:
                self.run(insert())
            assert refused.value.job_id == holder
            return
        answers = self.run(insert())
        self.model = after
        assert [(one.id, one.created, one.claim is not None) for one in answers] == expected
        for answer in answers:
            if answer.claim is not None and worker is not None:
                self._take([answer.claim], worker, int(start))

    def _replaced_last(self, record_id: str) -> bool:
        return any(held.last == record_id for held in self.model.holds.values())

    # -- workers -----------------------------------------------------------------------------

    def _replace_the_dead(self) -> None:
        while len(self.alive) < 2:
            self._enlist()

    def _enlist(self) -> None:
        self._enlisted += 1
        name = f"host:{self._enlisted}"
        beat = self.run(self.storage.enlist(WorkerSpec(name, LEASE)))
        assert beat.worker not in self.mine
        self.mine.append(beat.worker)
        self.model.workers[beat.worker] = Worker(name, self.clock.uptime() + LEASE, LEASE)

    def _someone(self, data: st.DataObject) -> int:
        """A worker of this process, mostly one that is alive."""
        return data.draw(st.sampled_from(self.alive * 3 + self.mine))

    @property
    def alive(self) -> list[int]:
        return [worker for worker in self.mine if worker in self.model.workers]

    @property
    def busy(self) -> list[int]:
        return [worker for worker in self.alive if self._held(worker)]

    @rule(data=st.data(), act=st.sampled_from(["enlist", "extend", "extend", "retire"]))
    def a_worker_comes_beats_or_goes(self, data: st.DataObject, act: str) -> None:
        if act == "enlist" and len(self.alive) < MOST_WORKERS:
            return self._enlist()
        worker = self._someone(data)
        if act == "retire":
            self.run(self.storage.retire(worker))
            self.model.retire(worker, self.now)
            return self._replace_the_dead()
        expected = same_refusal(lambda: self.model.extend(worker, self.clock.uptime()))
        beat = self.agree(self.storage.extend(worker), expected)
        if beat is not None:
            keys = {claim.key: claim.id for claim in self.claims}
            assert {keys[key] for key in beat.cancelled} == expected[0]
        return None

    # -- the way of a claim ------------------------------------------------------------------

    @rule(
        data=st.data(),
        rooms=st.lists(st.integers(0, 5), min_size=4, max_size=4),
        queues=st.sampled_from([None, ("a",), ("b", "a"), ("never",)]),
        but=st.sampled_from([(), ("b",)]),
        starving=st.integers(0, 2),
    )
    def claim_some(
        self,
        data: st.DataObject,
        rooms: list[int],
        queues: tuple[str, ...] | None,
        but: tuple[str, ...],
        starving: int,
    ) -> None:
        critical, high, normal, low = sorted(rooms, reverse=True)
        left_out = but if queues is None else ()
        starts = data.draw(st.integers(0, 3))
        since = self.now - 3 * SECOND
        types = data.draw(st.dictionaries(st.sampled_from(TYPES), st.sampled_from(VERSIONS)))
        rooms_by = (critical, high, normal, low)
        want = Want(queues, left_out, rooms_by, starts, starving, since, types)
        self._claim(self._someone(data), want)

    @precondition(lambda self: self.model.due(QUEUES, self.now))
    @rule(data=st.data(), room=st.integers(1, 5), starts=st.integers(0, 5))
    def claim(self, data: st.DataObject, room: int, starts: int) -> None:
        worker = data.draw(st.sampled_from(self.alive))
        self._claim(worker, Want(None, (), (room, room, room, room), starts))

    @precondition(lambda self: self.model.due(QUEUES, self.now))
    @rule(data=st.data(), room=st.integers(1, 5))
    def work(self, data: st.DataObject, room: int) -> None:
        """Claims, starts and finishes in one go."""
        worker = data.draw(st.sampled_from(self.alive))
        self._claim(worker, Want(None, (), (room, room, room, room), room))
        self._finish(worker, self._held(worker)[-room:], data)

    def _claim(self, worker: int, want: Want) -> None:
        def claimable() -> list[str]:
            self.model.alive(worker)
            return self.model.claimable(want, self.now)

        expected = same_refusal(claimable)
        claimed = self.agree(self.storage.claim(worker, want, self.now), expected)
        if claimed is None:
            return
        given = len(claimed.claims)
        fewer = claimed.more and 0 < given < len(expected[0])
        assert [claim.id for claim in claimed.claims] == expected[0][: given if fewer else None]
        assert claimed.started == min(want.starts, given)
        self._take(claimed.claims, worker, claimed.started)
        if fewer:  # It tells of more: who asks again gets the rest.
            critical, high, normal, low = (max(0, room - given) for room in want.rooms)
            rest = msgspec.structs.replace(
                want, rooms=(critical, high, normal, low), starts=max(0, want.starts - given)
            )  # fmt: skip
            self._claim(worker, rest)
        elif claimed.more:
            assert claimed.next_due is None
        else:
            assert self.model.due(self.model.served(want), self.now) == []
            assert claimed.next_due == self.model.next_due(want)

    def _take(self, claims: list[Claim], worker: int, started: int) -> None:
        for claim in claims:
            self.model.claimed(claim, worker)
        self.claims += claims
        for claim in claims[:started]:
            self.storage.note_start(worker, claim)
        self.model.start(claim.id for claim in claims[:started])

    def _held(self, worker: int) -> list[Claim]:
        return of_worker(self.claims, self.model.jobs, worker)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.busy))
        waiting = [claim for claim in self._held(worker) if not self.model.jobs[claim.id].started]
        self._start(worker, data.draw(some_of(waiting)))

    def _start(self, worker: int, claims: list[Claim]) -> None:
        self.run(self.storage.start(worker, [claim.key for claim in claims]))
        for claim in claims:
            self.storage.note_start(worker, claim)
        self.model.start(claim.id for claim in claims)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Outcomes of claims that stand; people may have asked to cancel one of them."""
        worker = data.draw(st.sampled_from(self.busy))
        claims = data.draw(some_of(self._held(worker)))
        if claims and data.draw(st.booleans()):
            self.run(self.storage.cancel(claims[0].id, self.now))
            self.model.cancel(claims[0].id, self.now)
        self._finish(worker, claims, data)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def overtake(self, data: st.DataObject) -> None:
        """A job that has begun is given back and claimed anew; then its old claim is finished."""
        worker = data.draw(st.sampled_from(self.busy))
        old = data.draw(st.sampled_from(self._held(worker)))
        self._start(worker, [old])
        keep = [(claim.key, claim.token) for claim in self._held(worker) if claim is not old]
        assert self.run(self.storage.give_back(worker, keep)) == 1
        kept = {job.record.id for job in self.model.held(worker)} - {old.id}
        self.model.give_back(worker, kept, self.now)
        types = dict.fromkeys(TYPES, 2)
        self._claim(
            data.draw(st.sampled_from(self.alive)), Want(None, (), (9, 9, 9, 9), types=types)
        )
        if data.draw(st.booleans()):
            self._finish(worker, [old], data)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def finish_late(self, data: st.DataObject) -> None:
        """Outcomes of claims that stand, among some that may not stand any more."""
        worker = self._someone(data)
        claims = data.draw(some_of(self._held(worker)))
        for other in data.draw(
            st.lists(st.sampled_from(self.claims + self._overtaken * 5), max_size=3)
        ):
            theirs = self.model.jobs[other.id].worker if other.id in self.model.jobs else None
            stands = other in self._held(worker if theirs is None else theirs)
            if other not in claims and (theirs in (None, worker) or not stands):
                claims.insert(data.draw(st.integers(0, len(claims))), other)
        self._finish(worker, claims, data)

    @property
    def _overtaken(self) -> list[Claim]:
        """Claims of jobs that somebody else has claimed since, and holds."""
        jobs = self.model.jobs
        return [
            claim
            for claim in self.claims
            if claim.id in jobs and jobs[claim.id].token not in (None, claim.token)
        ]

    def _finish(self, worker: int, claims: list[Claim], data: st.DataObject) -> None:
        transitions = [self._transition(claim, data) for claim in claims]
        stands = self.run(self.storage.finish(worker, transitions))
        expected = [
            self.model.finish(claim.id, transition, self.now)
            for claim, transition in zip(claims, transitions, strict=True)
        ]
        assert stands == expected

    def _transition(self, claim: Claim, data: st.DataObject) -> Transition:
        kind = data.draw(outcomes)
        now, attempt = self.now, claim.attempt + 1
        failure = Failure(attempt, now, "OSError", "boom", None)
        if kind == "completed":
            return Transition.completed(claim, now, now, str(data.draw(st.integers(0, 9))))
        if kind == "retry":
            return Transition.retry(claim, now, now + data.draw(seconds) * SECOND, failure)
        if kind == "failed":
            return Transition.failed(claim, now, now, attempt, failure)
        if kind == "snoozed":
            return Transition.snoozed(claim, now, now + 20 * SECOND)
        if kind == "cancelled":
            return Transition.cancelled(claim, now, now, "no need")
        return Transition.released(claim) if kind == "released" else Transition.parked(claim)

    @precondition(lambda self: self.busy)
    @rule(data=st.data(), disown=st.booleans())
    def give_back_or_disown(self, data: st.DataObject, disown: bool) -> None:
        worker = data.draw(st.sampled_from(self.busy))
        chosen = data.draw(some_of(self._held(worker)))
        if disown:
            self.run(self.storage.disown(worker, [claim.key for claim in chosen]))
            for claim in chosen:
                job = self.model.jobs[claim.id]
                job.started = False
                job.started_at = self.now if job.started_at is None else job.started_at
        else:
            kept = {claim.id for claim in chosen}
            keep = [(claim.key, claim.token) for claim in chosen]
            given = self.run(self.storage.give_back(worker, keep))
            assert given == self.model.give_back(worker, kept, self.now)

    # -- time and upkeep -----------------------------------------------------------------------

    @rule(
        passed=st.sampled_from([0.001, 1, 20, LEASE]),
        step=st.sampled_from([0, 0, 0, 3600, -3600]),
        silent=st.integers(0, MOST_WORKERS),
    )
    def time_passes(self, passed: float, step: int, silent: int) -> None:
        """All workers of this process but the first few extend their leases; and somebody may
        set the wall clock."""
        self.clock.advance(passed)
        self.clock.step(step)
        for worker in self.alive[silent:]:
            self.run(self.storage.extend(worker))
            self.model.extend(worker, self.clock.uptime())

    @rule(passed=st.sampled_from([0, LEASE, LEASE]))
    def reclaim(self, passed: float) -> None:
        self.clock.advance(passed)
        reclaimed = self.run(self.storage.reclaim(self.now))
        expected = self.model.reclaim(self.now, self.clock.uptime())
        found = (sorted(reclaimed.workers), reclaimed.crashed, reclaimed.untouched)
        assert found == expected
        self._replace_the_dead()

    @rule(passed=st.sampled_from([0, 0, 60, RETENTION]))
    def tidy(self, passed: float) -> None:
        self.clock.advance(passed)
        pruned = self.run(self.storage.prune(self.now, EVERYTHING))
        assert pruned == Pruned(self.model.prune(self.now), more=False)

    # -- people ------------------------------------------------------------------------------

    @rule(data=st.data())
    def people_cancel_or_retry(self, data: st.DataObject) -> None:
        by_id = st.sampled_from([record.id for record in self.records])
        by_filter = st.builds(
            Filter,
            status=st.sampled_from([None, *JobStatus]),
            type=st.sampled_from([None, *TYPES]),
            queue=st.sampled_from([None, *QUEUES]),
        )
        which: str | Filter = data.draw(by_id | by_id | by_filter)
        verb = data.draw(st.sampled_from(["cancel", "retry"]))
        expected = same_refusal(lambda: getattr(self.model, verb)(which, self.now))
        act = getattr(self.storage, verb)(which, self.now)
        assert self.agree(act, expected) == expected[0]

    @rule(
        data=st.data(),
        delay=st.sampled_from([None, 0, 60, 600]),
        priority=st.sampled_from([None, 0, 3]),
    )
    def people_rearrange(
        self, data: st.DataObject, delay: float | None, priority: int | None
    ) -> None:
        by_id = st.sampled_from([record.id for record in self.records])
        by_filter = st.builds(Filter, queue=st.sampled_from([None, *QUEUES]))
        which: str | Filter = data.draw(by_id | by_id | by_filter)
        run_at = None if delay is None else self.now + round(delay * SECOND)
        expected = same_refusal(lambda: self.model.rearrange(which, self.now, run_at, priority))
        act = self.storage.rearrange(which, self.now, run_at, priority)
        assert self.agree(act, expected) == expected[0]

    @rule(data=st.data(), paused=st.booleans())
    def people_delete_or_pause(self, data: st.DataObject, paused: bool) -> None:
        queue = data.draw(st.sampled_from([None, *QUEUES]))
        if queue is None:
            job_id = data.draw(st.sampled_from(self.records)).id
            self.agree(self.storage.delete(job_id), same_refusal(lambda: self.model.delete(job_id)))
        else:
            self.run(self.storage.pause(queue, paused))
            self.model.paused[queue] = paused

    # -- crashes -----------------------------------------------------------------------------

    @precondition(lambda self: self.storage.capabilities.durable and self.crashes < 2)
    @rule()
    def crash(self) -> None:
        """The process goes without a word, and another one opens the same jobs. Its workers
        stay enlisted until their lease is over: within one process of the operating system
        nobody can see sooner that they are gone."""
        self.crashes += 1
        self.run(self.storage.close())
        self.storage = self._open()
        self.mine.clear()
        self._replace_the_dead()


def _refused(insert: Callable[[], list[Any]]) -> tuple[list[Any], str | None]:
    """The answers; or the job that holds a key, of which the caller is to be told."""
    try:
        return insert(), None
    except DuplicateJobError as refusal:
        return [], refusal.job_id


def some_of(claims: list[Claim]) -> st.SearchStrategy[list[Claim]]:
    if not claims:
        return st.just([])
    some = st.lists(
        st.sampled_from(claims), unique_by=lambda claim: claim.key, min_size=1, max_size=4
    )
    return some | st.just([])


@pytest.mark.parametrize("name", STORAGES)
def test_a_call_that_has_replaced_a_job_comes_again_with_one_that_takes_the_key(name: str) -> None:
    """Under a clock that was set back, its key is nobody's then."""
    said = {"type": "A", "version": 1, "queue": "a", "priority": 0, "delay": 0, "expires_in": None,
            "unique_key": "k", "held_for": "start", "on_conflict": "existing"}  # fmt: skip
    machine = StorageMachine(STORAGES[name])
    try:
        machine._replace_the_dead()
        machine._insert([machine._record(said)], None, False)
        machine._insert([machine._record({**said, "on_conflict": "replace"})], None, False)
        replaces = machine.records[-1]
        machine._claim(machine.alive[0], Want(None, (), (1, 1, 1, 1), 1))
        machine.clock.step(-3600)
        takes = machine._record({**said, "held_for": 30})
        machine._insert([takes, replaces], None, False)
        machine.all_that_people_see_is_the_same()
        assert len(machine.model.jobs) == 2
    finally:
        machine.teardown()


@pytest.mark.slow
@pytest.mark.parametrize("name", STORAGES)
def test_a_storage_does_what_the_model_does(name: str) -> None:
    class Machine(StorageMachine):
        def __init__(self) -> None:
            super().__init__(STORAGES[name])

    # A server takes long to ask: fewer programs, and what is found is not made shorter.
    far = settings(SETTINGS, max_examples=30, phases=[Phase.generate])
    run_state_machine_as_test(Machine, settings=far if name == "postgres" else SETTINGS)
