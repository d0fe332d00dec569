"""What workflows cost a store in SQLite, counted in its own steps: in proportion to the jobs, and
nothing where there are none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import apsw
import pytest

from backroom.job import SECOND
from backroom.limit import Need
from backroom.storage import MemoryJobStorage
from backroom.tie import tied
from tests.contract.flows import Flows
from tests.contract.parts import Bench, SettableClock

GROUP = 50
TURN = 20
"""Steps of SQLite's machine that are counted as one."""


class Counted:
    """A bench whose store counts what it is asked."""

    def __init__(self, bench: Bench, connection: apsw.Connection) -> None:
        self.bench = bench
        self.statements = 0
        self.turns = 0
        connection.exec_trace = self._said
        connection.set_progress_handler(self._turned, TURN)

    def _said(self, *_: object) -> bool:
        self.statements += 1
        return True

    def _turned(self) -> bool:
        self.turns += 1
        return False

    async def fan_in(self, count: int) -> tuple[int, int]:
        """What it costs to end so many jobs, in groups, that one waits for: statements, turns."""
        flows = Flows(self.bench)
        names = [f"j{n}" for n in range(count)]
        worker = await self.bench.enlist()
        await flows.make(" ".join([*names, "z"]), " ".join(f"{name}>z" for name in names))
        claims = list((await flows.claim(worker)).values())
        assert len(claims) == count
        return await self._end(flows, worker, claims)

    async def _end(self, flows: Flows, worker: int, claims: list[object]) -> tuple[int, int]:
        self.statements = self.turns = 0
        for at in range(0, len(claims), GROUP):
            some = claims[at : at + GROUP]
            await self.bench.finish(worker, *(self.bench.completed(one) for one in some))  # type: ignore[arg-type]
        cost = self.statements, self.turns
        assert list(await flows.claim(worker)) == ["z"]
        return cost


@pytest.fixture
async def counted() -> AsyncIterator[Counted]:
    clock = SettableClock()
    storage = MemoryJobStorage(clock=clock)
    await storage.open()
    yield Counted(Bench(storage, clock), storage._opened().connection)
    await storage.close()


async def test_a_fan_in_costs_in_proportion_to_its_jobs(counted: Counted) -> None:
    few = await counted.fan_in(400)
    many = await counted.fan_in(1600)
    assert many[0] <= 4 * few[0]
    assert many[1] <= 4.6 * few[1]  # A tree of an index grows a little higher.


async def test_jobs_that_are_blocked_elsewhere_cost_an_end_nothing(counted: Counted) -> None:
    """Nor a retry."""
    bench = counted.bench
    costs = []
    for blocked in (10, 1000):
        others = Flows(bench)
        names = [f"j{n}" for n in range(blocked)]
        edges = " ".join(f"a>{name}" for name in names)
        await others.make(" ".join(["a", *names]), edges, queue="elsewhere")
        flows = Flows(bench)
        await flows.make("a b", "a>b", callbacks="done")
        worker = await bench.enlist()
        claim = await bench.claim_one(worker)
        counted.turns = 0
        await flows.end(worker, claim, "failed")
        await flows.storage.retry_flow(flows.id, bench.now)
        costs.append(counted.turns)
        await flows.storage.cancel_flow(flows.id, bench.now)
    assert costs[1] <= 1.5 * costs[0]


async def test_jobs_that_are_blocked_cost_no_start_by_a_rate(counted: Counted) -> None:
    """The next of them are told when they may start, whatever stands behind them."""
    bench = counted.bench
    costs = []
    for name, waiting in (("few", 20), ("many", 1000)):
        need = Need(name, "", 1, 1, SECOND)
        worker = await bench.enlist()
        await bench.add_many(waiting, queue=name, options=tied(None, limits=[need]))
        await bench.claim(worker, queues=(name,))
        counted.turns = 0
        for _ in range(5):
            bench.clock.advance(1)
            assert len(await bench.claim(worker, queues=(name,))) == 1
        costs.append(counted.turns)
    assert costs[1] <= 1.5 * costs[0], costs


async def test_keys_of_a_rate_that_nobody_uses_are_not_looked_for_among_all_that_is_blocked(
    counted: Counted,
) -> None:
    bench = counted.bench
    worker = await bench.enlist()
    for key in range(50):
        await bench.add(options=tied(None, limits=[Need("api", str(key), 1, 1, SECOND)]))
    claims = await bench.claim(worker)
    assert len(claims) == 50
    await bench.finish(worker, *map(bench.completed, claims))
    full = [Need("full", "", 1, 1)]
    await bench.add_many(1000, queue="elsewhere", options=tied(None, limits=full))
    assert len(await bench.claim(worker, queues=("elsewhere",))) == 1
    bench.clock.advance(2 * 3600)
    counted.turns = 0
    await bench.storage.free_up(bench.now)
    assert counted.turns < 1000


async def test_what_waits_in_vain_costs_in_proportion_to_its_jobs(counted: Counted) -> None:
    """Cancelled behind one that failed, called back as that is retried, and cancelled by people."""
    costs: list[list[int]] = []
    for count in (200, 800):
        flows = Flows(counted.bench)
        names = [f"j{n}" for n in range(count)]
        edges = [f"a>{name}" for name in names] + [f"{name}>z" for name in names]
        await flows.make(" ".join(["a", *names, "z"]), " ".join(edges))
        worker = await counted.bench.enlist()
        turns = []
        for what in ("fail", "retry", "cancel"):
            claims = await flows.claim(worker) if what == "fail" else {}
            counted.turns = 0
            if what == "fail":
                await flows.end(worker, claims["a"], "failed")
            elif what == "retry":
                assert await flows.storage.retry_flow(flows.id, counted.bench.now) == 1
            else:
                assert await flows.storage.cancel_flow(flows.id, counted.bench.now) == count + 2
            turns.append(counted.turns)
        costs.append(turns)
    few, many = costs
    assert all(more <= 5 * less for less, more in zip(few, many, strict=True)), costs


async def test_a_group_of_outcomes_is_so_many_statements_whatever_waits_for_it(
    counted: Counted,
) -> None:
    """Fan-out: one job that so many wait for."""
    costs = []
    for count in (10, 500):
        flows = Flows(counted.bench)
        names = [f"j{n}" for n in range(count)]
        worker = await counted.bench.enlist()
        await flows.make(" ".join(["a", *names]), " ".join(f"a>{name}" for name in names))
        claims = await flows.claim(worker)
        counted.statements = 0
        await counted.bench.finish(worker, counted.bench.completed(claims["a"]))
        costs.append(counted.statements)
        assert len(await flows.claim(worker)) == count
    assert costs[1] <= costs[0] + 3  # Rows are bound to statements of a few sizes.


async def test_what_ends_a_plain_job_asks_nothing_of_workflows(counted: Counted) -> None:
    bench = counted.bench
    worker = await bench.enlist()
    costs = []
    for flow in (False, True):
        if flow:
            await Flows(bench).make("a b", "a>b")
        await bench.add_many(5, queue="plain")
        claims = await bench.claim(worker, 5, queues=("plain",))
        counted.statements = 0
        await bench.finish(worker, *map(bench.completed, claims))
        costs.append(counted.statements)
    assert costs[0] == costs[1]
