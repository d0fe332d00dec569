"""Random workflows with random outcomes, crashes, cancellations and retries, beside a model of
them: never stuck, never begun before what is waited for has ended, never twice."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from backroom.errors import JobStateError
from backroom.flow import OnFailure, Piece
from backroom.transition import Claim
from tests.contract.flows import Flows
from tests.contract.parts import Bench, Place, SettableClock
from tests.contract.storages import STORAGES
from tests.property.flow_model import FlowModel, Job

PROGRAMS = {"memory": 80, "file": 10, "postgres": 10}
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
        self.model = FlowModel(jobs, policy == "compensate")
        self.said.append(f"{policy} {[(j.name, j.parents, j.anyway, j.undo) for j in jobs]}")
        piece = self.flows.piece(
            " ".join(names),
            " ".join(f"{parent}>{job.name}" for job in jobs for parent in job.parents),
            anyway=" ".join(job.name for job in jobs if job.anyway),
            undo=" ".join(job.name for job in jobs if job.undo),
            callbacks=" ".join(job.name for job in jobs if job.role == "callback"),
        )
        await self.flows.put(Piece(piece.members, piece.edges), policy)
        self.worker = await self.bench.enlist()

    async def step(self) -> None:
        verbs = ["claim"] * 4 + ["end"] * 8 + ["crash", "give_back", "cancel", "retry", "retry"]
        verb = self.chance.choice([*verbs, "cancel_all", "retry_all"])
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
        self._all_come_back()

    async def give_back(self) -> None:
        self.said.append("give back")
        await self.bench.storage.give_back(self.worker, ())
        self._all_come_back()

    def _all_come_back(self) -> None:
        for name in list(self.held):
            del self.held[name]
            self.model.end(name, "again")

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
