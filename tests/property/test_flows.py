"""Random workflows with random outcomes, crashes, cancellations and retries, beside a model of
them: never stuck, never begun before what is waited for has ended, never twice; and no two have one
unique key."""

from __future__ import annotations

import os
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from backroom.errors import DuplicateJobError, JobStateError
from backroom.flow import OnFailure, Piece
from backroom.job import Hold, JobRecord
from backroom.moving import Move
from backroom.ports import House
from backroom.transition import Claim
from backroom.unique import OnConflict
from tests.contract.flows import KEYED, Flows
from tests.contract.parts import Bench, Place, SettableClock
from tests.contract.storages import STORAGES
from tests.property.flow_model import FlowModel, Job

PROGRAMS = {"memory": 80, "file": 10, "postgres": 10}
MOVED = {"file-postgres": 8, "file-file": 8, "postgres-postgres": 4}
FIRST = int(os.environ.get("BACKROOM_FLOWS_FROM", "0"))
"""The number of the first program: others are found with another one."""
STEPS = 25


class Program:
    """One workflow, and what happens to it."""

    def __init__(self, bench: Bench, number: int) -> None:
        self.chance = random.Random(number)
        self.flows = Flows(bench)
        self.bench = bench
        self.held: dict[str, tuple[int, Claim]] = {}
        self.number = number
        self.said: list[str] = []
        """For who has to find out."""
        self.retried = False

    async def begin(self) -> None:
        chance = self.chance
        count = chance.randint(0, 7)
        policy: OnFailure = chance.choice(["stop", "continue", "compensate"])
        names = [f"j{n}" for n in range(count)]
        jobs = [
            Job(
                name, parents=tuple(p for p in names[:n] if chance.random() < 0.4),
                anyway=policy == "continue" or chance.random() < 0.2,
                undo=policy == "compensate" and chance.random() < 0.7,
            )
            for n, name in enumerate(names)
        ]  # fmt: skip
        if chance.random() < 0.5:
            jobs += [Job("success", "callback"), Job("complete", "callback", anyway=True)]
        for job in jobs:
            if chance.random() < 0.6:
                job.key, job.until = f"{self.number}-{job.name}", self._until()
        self.model = FlowModel(jobs, policy == "compensate", lambda: self.bench.now)
        self.said.append(
            f"{policy} {[(j.name, j.parents, j.anyway, j.undo, j.key, j.until) for j in jobs]}"
        )
        piece = self.flows.piece(
            " ".join(names),
            " ".join(f"{parent}>{job.name}" for job in jobs for parent in job.parents),
            anyway=" ".join(job.name for job in jobs if job.anyway),
            undo=" ".join(job.name for job in jobs if job.undo),
            callbacks=" ".join(job.name for job in jobs if job.role == "callback"),
        )
        held = {self.flows.ids[j.name]: self.flows.holding(j.key, j.until) for j in jobs if j.key}
        members = [
            replace(one, record=replace(one.record, **held.get(one.record.id, {})))
            for one in piece.members
        ]
        await self._put(Piece(members, piece.edges), policy)
        self.worker = await self.bench.enlist()

    async def _put(self, piece: Piece, policy: OnFailure) -> None:
        """At times another job has one of its keys at first."""
        keyed = [job for job in self.model.jobs.values() if job.key]
        if keyed and self.chance.random() < 0.3:
            other = Job("before", "outside", key=self.chance.choice(keyed).key, until=self._until())
            [made] = await self.bench.insert([self._plain(other, "existing")])
            with pytest.raises(DuplicateJobError) as refused:
                await self.flows.put(piece, policy)
            assert refused.value.job_id == made.id
            assert await self.flows.storage.flow(self.flows.id, self.bench.now, 1) is None
            await self.bench.storage.delete(made.id)
        await self.flows.put(piece, policy)
        if self.chance.random() < 0.2:  # The answer was lost: it is said again.
            await self.flows.put(piece, policy)

    def _until(self) -> int | None:
        return self.chance.choice([None, None, 0, self.bench.later(0.003), self.bench.later(1e6)])

    def _plain(self, job: Job, how: OnConflict) -> JobRecord:
        """Of no workflow, and not to run."""
        record = self.bench.record(
            type=KEYED, unique_key=job.key, hold=Hold(job.until, how), run_at=2**60
        )
        self.flows.ids[job.name], self.flows.names[record.id] = record.id, job.name
        return record

    async def step(self) -> None:
        verbs = ["claim"] * 4 + ["end"] * 8 + ["crash", "give_back", "cancel", "retry", "retry"]
        verbs += ["come"] * 4 + ["leave"] * 2 + ["prune", "cancel_all"] + ["retry_all"] * 3
        verb = self.chance.choice(verbs)
        await getattr(self, verb)()
        await self.compare()

    async def compare(self) -> None:
        view = await self.flows.view()
        found = {self.flows.names[id_]: str(status) for id_, _, status, *_ in view.jobs}
        assert found == self.model.statuses(), self.said
        counts = view.kept.counts
        main = self.model.main
        assert counts.left == sum(not job.over for job in main), self.said
        assert (counts.completed, counts.failed, counts.cancelled) == tuple(
            sum(job.state == how for job in main) for how in ("completed", "failed", "cancelled")
        ), self.said
        assert await self.bench.storage.miscounted() == [], self.said
        over = all(job.over for job in self.model.jobs.values())
        assert (view.kept.finished_at is not None) == over, self.said

    # -- what happens ----------------------------------------------------------------------------

    async def claim(self) -> None:
        claims = await self.flows.claim(self.worker)
        self.said.append(f"claim {list(claims)}")
        due = {name for name, job in self.model.jobs.items() if job.state == "ready"}
        assert set(claims) == due, self.said
        for name, claim in claims.items():
            job = self.model.jobs[name]
            # What was let go stays so, if people run again what it waited for.
            assert self.retried or self.model.may_begin(job), self.said
            job.starts += 1
            assert job.starts == 1, self.said
            job.state = "active"
            self.held[name] = self.worker, claim
        await self.bench.begin(self.worker, *claims.values())

    async def end(self) -> None:
        if not self.held:
            await self.claim()
        names = self.chance.sample(sorted(self.held), self.chance.randint(0, len(self.held)))
        outcomes: list[Any] = []
        for name in names:
            _, claim = self.held.pop(name)
            how = self.chance.choice(["completed"] * 6 + ["failed"] * 2 + ["cancelled", "again"])
            outcomes.append((name, how, claim))
        self.said.append(f"end {[(name, how) for name, how, _ in outcomes]}")
        if self.chance.random() < 0.5:
            await self._finish(outcomes)
            return
        for one in outcomes:
            await self._finish([one])

    async def _finish(self, outcomes: list[tuple[str, str, Claim]]) -> None:
        if not outcomes:
            return
        transitions = []
        for _, how, claim in outcomes:
            self.bench.clock.advance(0.001)
            again = how == "again"
            transitions.append(
                self.bench.retried(claim) if again else self.flows.outcome(claim, how)
            )
        finish = self.bench.storage.finish
        assert all(await finish(self.worker, transitions)), self.said
        if self.chance.random() < 0.2:  # The answer was lost: it is said again.
            await finish(self.worker, transitions)
        for name, how, _ in outcomes:
            self.model.end(name, how)

    async def crash(self) -> None:
        self.said.append("crash")
        await self.bench.end_leases()
        self.worker = await self.bench.enlist()
        self._all_come_back(charged=True)

    async def give_back(self) -> None:
        self.said.append("give back")
        await self.bench.storage.give_back(self.worker, ())
        self._all_come_back(charged=False)

    def _all_come_back(self, *, charged: bool) -> None:
        for name in list(self.held):
            del self.held[name]
            self.model.end(name, "again", charged)

    async def come(self) -> None:
        """A job of no workflow, with the key of one that there is."""
        keyed = [job for job in self.model.jobs.values() if job.key]
        doomed = [job for job in keyed if job.doomed]
        keys = [job.key for job in doomed or keyed]
        if not keys:
            return
        job = Job(f"x{len(self.said)}", "outside", state="ready", key=self.chance.choice(keys))
        job.until = self._until()
        how: OnConflict = self.chance.choice(["existing", "replace", "raise", "raise"])
        self.said.append(f"come {job.name} {job.key} {job.until} {how}")
        record = self._plain(job, how)
        expected = self.model.come(job, how)
        if how == "raise" and expected is not job:
            with pytest.raises(DuplicateJobError) as refused:
                await self.bench.insert([record])
            answer = refused.value.job_id
        else:
            answer = (await self.bench.insert([record]))[0].id
        assert self.flows.names[answer] == expected.name, self.said

    async def leave(self) -> None:
        if self.model.outside:
            job = self.chance.choice(self.model.outside)
            self.said.append(f"leave {job.name}")
            await self.bench.storage.delete(self.flows.ids[job.name])
            self.model.leave(job)

    async def prune(self) -> None:
        """Upkeep changes nothing."""
        await self.bench.prune_all()

    async def cancel(self) -> None:
        name = self._any()
        if name is not None:
            self.said.append(f"cancel {name}")
            await self.bench.storage.cancel(self.flows.ids[name], self.bench.now)
            self.model.cancel(name)

    async def retry(self) -> None:
        name = self._any()
        if name is not None:
            self.said.append(f"retry {name}")
            await self._agree(
                lambda: self.bench.storage.retry(self.flows.ids[name], self.bench.now),
                lambda: self.model.retry(name),
            )

    async def cancel_all(self) -> None:
        if self.chance.random() < 0.3:
            self.said.append("cancel all")
            count = await self.flows.storage.cancel_flow(self.flows.id, self.bench.now)
            assert count == self.model.cancel_all(), self.said

    async def retry_all(self) -> None:
        self.said.append("retry all")
        await self._agree(
            lambda: self.flows.storage.retry_flow(self.flows.id, self.bench.now),
            self.model.retry_all,
        )

    async def move(self, other: Bench) -> None:
        """Everything goes to another store, and goes on there."""
        self.said.append("move")
        await self.give_back()
        await self.bench.storage.retire(self.worker)
        source, target = cast(House, self.bench.storage), cast(House, other.storage)
        moved = await Move(source, target, history=True).run()
        assert moved.whole, self.said
        flows = Flows(other)
        flows.id, flows.ids, flows.names = self.flows.id, self.flows.ids, self.flows.names
        self.flows, self.bench = flows, other
        self.worker = await other.enlist()

    def _any(self) -> str | None:
        return self.chance.choice(sorted(self.model.jobs)) if self.model.jobs else None

    async def _agree(self, act: Any, expected: Any) -> None:
        self.retried = True
        try:
            expected()
        except JobStateError:
            with pytest.raises(JobStateError):
                await act()
        else:
            await act()

    async def to_the_end(self) -> None:
        """Whatever was done to it, it comes to its end."""
        for _ in range(100):
            await self.claim()
            if not self.held:
                break
            names = list(self.held)
            await self._finish([(name, "completed", self.held.pop(name)[1]) for name in names])
            await self.compare()
        assert all(job.over for job in self.model.jobs.values()), self.said
        while self.model.outside:
            await self.leave()
        await self.bench.storage.retire(self.worker)


@pytest.mark.parametrize("name", STORAGES)
async def test_a_workflow_does_what_the_model_does(name: str, tmp_path: Path) -> None:
    async with STORAGES[name](tmp_path) as make:
        place = Place(make, SettableClock())
        bench = await place.open()
        for number in range(FIRST, FIRST + PROGRAMS[name]):
            program = Program(bench, number)
            program.said.append(f"program {number}")
            await program.begin()
            await program.compare()
            for _ in range(STEPS):
                await program.step()
            await program.to_the_end()
        await place.close()


@pytest.mark.parametrize("names", ["file-postgres", "file-file", "postgres-postgres"])
async def test_one_that_moves_does_what_the_model_does(names: str, tmp_path: Path) -> None:
    clock = SettableClock()
    async with AsyncExitStack() as stack:
        benches: list[Bench] = []
        for side, name in enumerate(names.split("-")):
            make = await stack.enter_async_context(STORAGES[name](tmp_path / str(side)))
            place = Place(make, clock)
            stack.push_async_callback(place.close)
            benches.append(await place.open())
        for number in range(FIRST, FIRST + MOVED[names]):
            program = Program(benches[0], number)
            program.said.append(f"program {number}")
            await program.begin()
            for step in range(STEPS):
                await program.step()
                if step % 5 == number % 5:
                    benches.reverse()
                    await program.move(benches[0])
                    await program.compare()
            await program.to_the_end()
