"""How SQLite goes about the statements of the embedded storages: never through all jobs, where
others wait for it meanwhile, or where an index knows better."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import apsw
import pytest

from backroom.inspecting import Filter
from backroom.job import JobStatus
from backroom.ports import Report
from backroom.storage import MemoryJobStorage
from backroom.transition import Transition
from tests.contract.parts import Bench, SettableClock
from tests.contract.plans import Plans

TABLES = ("j", "job", "job_error", "job_log", "schedule", "tick")
"""As the statements call them."""

Act = Callable[[Bench], Awaitable[Any]]


class Watched:
    """A storage with jobs of every state, and the statements that it is asked to carry out."""

    def __init__(self, bench: Bench, connection: apsw.Connection) -> None:
        self.bench = bench
        self._connection = connection
        self._said: dict[str, Any] = {}
        self._writing = False

    async def plans(self, act: Act, *, writing: bool = False) -> dict[str, list[str]]:
        """By statement: the steps of its plan. `writing`: only of those in transactions."""
        self._said.clear()
        self._writing = writing
        self._connection.exec_trace = self._note
        await act(self.bench)
        self._connection.exec_trace = None
        return {
            " ".join(sql.split()): [
                row[3] for row in self._connection.execute("EXPLAIN QUERY PLAN " + sql, bindings)
            ]
            for sql, bindings in self._said.items()
            if not sql.lstrip().startswith(("SAVEPOINT", "RELEASE", "ROLLBACK"))
        }

    def _note(self, cursor: Any, sql: str, bindings: Any) -> bool:
        if self._connection.in_transaction or not self._writing:
            self._said[sql] = bindings
        return True


def goes_through_all(steps: list[str]) -> bool:
    """Whether every job, error, line, schedule or tick is read. The index of a few of them may
    be, and that of schedules in the order in which they are due, from its beginning."""
    return any(
        step.split()[:2] in (["SCAN", name] for name in TABLES)
        and not any(f"INDEX {few}" in step for few in ("job_active", "job_parked", "schedule_due"))
        for step in steps
    )


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    clock = SettableClock()
    storage = MemoryJobStorage(clock=clock)
    await storage.open()
    bench = Bench(storage, clock)
    worker = await bench.enlist()
    for _ in range(5):
        for outcome in (bench.completed, bench.failed, bench.cancelled, Transition.parked):
            await bench.add(expires_at=bench.later(600))
            await bench.finish(worker, outcome(await bench.claim_one(worker)))
        await bench.add(priority=0)
        await bench.claim_one(worker)
        await bench.add(delay=60)
    await bench.add_many(5, unique_key=None)
    assert storage._ledger is not None
    yield Watched(bench, storage._ledger.connection)
    await storage.close()


async def work(bench: Bench) -> None:
    worker = await bench.enlist()
    await bench.add(unique_key="k")
    await bench.insert(bench.records(2), worker=worker)
    claims = await bench.claim(worker, types={"SEND_EMAIL": 1}, starving=1, queues=None)
    await bench.begin(worker, *claims)
    report = Report(claims[0].key, claims[0].token, 1, 0.5, None, [(bench.now, "info", "a")])
    await bench.storage.report(worker, [report])
    await bench.finish(worker, bench.completed(claims[0]), bench.failed(claims[1]))
    await bench.storage.extend(worker)
    await bench.storage.give_back(worker, [])
    await bench.storage.retire(worker)


async def tidy(bench: Bench) -> None:
    bench.clock.advance(8 * 86_400)
    await bench.prune()
    await bench.reclaim()


async def plan(bench: Bench) -> None:
    plans = Plans(bench)
    records = [await plans.put(f"s{n}") for n in range(5)]
    await plans.put("s0", data="[]")
    await plans.storage.pause_schedule("s1", True, None, revision=1)
    await plans.due()
    await plans.fire(*[plans.firing(record) for record in records])
    await plans.ticks("s3")
    await plans.kept("s3")
    await plans.storage.drop_schedule("s4")


def look(**which: Any) -> Act:
    return lambda bench: bench.page(**which)


@pytest.mark.parametrize(
    "act",
    [
        work,
        plan,
        tidy,
        look(status=JobStatus.ACTIVE),
        look(status=JobStatus.ACTIVE, queue="default", type="SEND_EMAIL"),
        look(status=JobStatus.BLOCKED),
        look(status=JobStatus.BLOCKED, queue="default"),
        look(status=JobStatus.FAILED),
        look(status=JobStatus.COMPLETED, type="SEND_EMAIL"),
        look(queue="no such queue"),
        look(queue="no such queue", status=JobStatus.PENDING),
        lambda bench: bench.storage.cancel(Filter(status=JobStatus.ACTIVE), bench.now),
        lambda bench: bench.storage.cancel(Filter(queue="no such queue"), bench.now),
        lambda bench: bench.storage.retry(Filter(status=JobStatus.FAILED), bench.now),
    ],
)
async def test_what_an_index_knows_is_not_looked_for_among_all_jobs(
    watched: Watched, act: Act
) -> None:
    plans = await watched.plans(act)
    assert plans
    assert {sql: steps for sql, steps in plans.items() if goes_through_all(steps)} == {}


async def test_parked_jobs_that_a_worker_does_not_know_are_not_in_its_way(
    watched: Watched,
) -> None:
    """Each type and version is a range of an index of its own."""
    plans = await watched.plans(work)
    used = {
        step.partition("USING ")[2]
        for steps in plans.values()
        for step in steps
        if "job_parked_kind" in step and step.startswith("SEARCH")
    }
    assert {step for step in used if "run_at" in step or "priority" in step} == {
        "INDEX job_parked_kind (queue=? AND type=? AND <expr>=? AND priority=? AND run_at<?)",
        "INDEX job_parked_kind (queue=? AND type=? AND <expr>=? AND priority=?)",
    }
    assert "INDEX job_parked_kind (queue=? AND type=? AND <expr>>? AND <expr><?)" in used


@pytest.mark.parametrize(
    "which",
    [
        Filter(),
        Filter(type="SEND_EMAIL"),
        Filter(queue="default"),
        Filter(tag="no such tag"),
        *[Filter(status=status) for status in JobStatus],
    ],
)
async def test_nobody_waits_to_write_while_a_bulk_change_looks_for_its_jobs(
    watched: Watched, which: Filter
) -> None:
    """It may look through all jobs where they are read, and not where they are written."""

    async def change(bench: Bench) -> None:
        await bench.storage.cancel(which, bench.now)
        await bench.storage.retry(which, bench.now)

    plans = await watched.plans(change, writing=True)
    assert {sql: steps for sql, steps in plans.items() if goes_through_all(steps)} == {}
    assert not any(sql.startswith("SELECT j.key") for sql in plans)
