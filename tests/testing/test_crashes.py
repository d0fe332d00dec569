"""Handlers that are safe to run twice, and those that are not: a crash test tells them apart."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock

import anyio
import pytest

from backroom import Job, StorageError
from backroom.testing import crash_test
from tests.testing.world import World, found


def test_a_charge_that_is_then_written_down_is_found_at_the_lost_reply(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        if job.data["order"] not in world.book:
            await world.charge("A1")
            world.book.add("A1")

    report = world.test(handler)

    # The fake never waits, and run after run the order is in the book: only one moment is wrong.
    assert found(report) == [("crash", 'await world.charge("A1")', "answered")]
    assert (report.safe, report.runs) == (False, 3)
    place = f"{__file__.rpartition('/')[2]}:{handler.__code__.co_firstlineno + 2}"
    assert report.unsafe[0].place.endswith(place)


def test_one_that_does_so_without_looking_is_found_when_its_outcome_is_lost(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        await world.charge("A1")

    assert [moment for *_, moment in found(world.test(handler))] == ["answered", "ended"]


def test_an_idempotency_key_makes_it_safe(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        await world.charge("A1", key=job.id)
        await asyncio.sleep(1)
        await world.charge("A1", key=job.id)

    report = world.test(handler)
    assert report.safe, str(report)
    assert report.runs == 10


def test_what_waits_is_interrupted_before_and_after_it_is_done(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        if "A1" not in world.book:
            await world.charge_slowly("A1")
            world.book.add("A1")

    lines = found(world.test(handler))

    late = "await asyncio.sleep(1)"
    assert lines == [
        ("crash", late, "begun"),  # The second one, when it is charged.
        ("crash", late, "waiting"),
        ("timeout", late, "waiting"),
        ("crash", late, "resumed"),
        ("crash", late, "answered"),
        ("crash", 'await world.charge_slowly("A1")', "answered"),
    ]


class Database:
    def __init__(self, world: World) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("CREATE TABLE paid (id TEXT)")
        self.connection.execute("CREATE TABLE done (id TEXT)")

    def rows(self) -> list[Any]:
        query = "SELECT 'paid', id FROM paid UNION ALL SELECT 'done', id FROM done"
        return list(self.connection.execute(query))

    async def run(self, statement: str) -> Any:
        await asyncio.sleep(0.01)
        return self.connection.execute(statement).fetchone()


@pytest.mark.parametrize("in_transaction", [True, False])
def test_a_row_and_its_mark_are_safe_in_one_transaction_only(
    world: World, in_transaction: bool
) -> None:
    databases: list[Database] = []

    def setup() -> None:
        for database in databases:
            database.connection.close()
        databases[:] = [Database(world)]

    def restart() -> None:
        """The database ends the transactions of a client that has gone."""
        if databases[0].connection.in_transaction:
            databases[0].connection.execute("ROLLBACK")

    async def handler(job: Job[Any]) -> None:
        database = databases[0]
        if await database.run("SELECT 1 FROM done"):
            return
        try:
            if in_transaction:
                await database.run("BEGIN")
            await database.run("INSERT INTO paid VALUES ('A1')")
            await database.run("INSERT INTO done VALUES ('A1')")
            if in_transaction:
                await database.run("COMMIT")
        except BaseException:
            if in_transaction and database.connection.in_transaction:
                database.connection.execute("ROLLBACK")
            raise

    world.service.register_handler("IT", handler)
    report = crash_test(
        world.service, "IT", setup=setup, observe=lambda: databases[0].rows(), restart=restart
    )
    databases[0].connection.close()

    assert report.safe is in_transaction, str(report)
    assert {kind for kind, *_ in found(report)} == (
        set() if in_transaction else {"crash", "timeout"}
    )


def test_a_killed_handler_runs_no_finally_so_what_it_holds_is_held(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        if "A1" in world.locks:
            raise RuntimeError("locked by another")
        world.locks.add("A1")
        try:
            await world.charge("A1", key="A1")
            await asyncio.sleep(1)
        finally:
            world.locks.discard("A1")

    report = world.test(handler)

    # Out of time, `finally` runs, and all is well.
    assert {kind for kind, *_ in found(report)} == {"crash"}
    assert "the job" in str(report)
    assert "failed: RuntimeError: locked by another" in str(report)


def test_except_does_not_run_either(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        try:
            await asyncio.sleep(1)
            await world.charge("A1", key="A1")
        except BaseException:
            world.mails.append("it went wrong")
            raise

    assert {kind for kind, *_ in found(world.test(handler))} == {"timeout"}


@pytest.mark.parametrize("swallows", [True, False])
def test_a_swallowed_cancellation_is_found(world: World, swallows: bool) -> None:
    async def handler(job: Job[Any]) -> None:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            if not swallows:
                raise
            return
        await world.charge("A1", key="A1")

    report = world.test(handler)
    assert found(report) == ([("timeout", "await asyncio.sleep(1)", "waiting")] if swallows else [])


@pytest.mark.parametrize("key", ["A1", None])
def test_a_follow_up_without_a_unique_key_is_found_unobserved(
    world: World, key: str | None
) -> None:
    options: dict[str, Any] = {} if key is None else {"unique_key": key}

    async def handler(job: Job[Any]) -> None:
        await world.service.schedule("FOLLOW_UP", {"order": "A1"}, **options)

    world.service.register_handler("IT", handler)
    report = crash_test(world.service, "IT")

    assert report.safe is (key is not None), str(report)
    if key is None:
        line = 'await world.service.schedule("FOLLOW_UP", {"order": "A1"}, **options)'
        assert found(report) == [
            ("lost reply", line, "inserted"),
            ("crash", line, "answered"),
            ("crash", "", "ended"),
        ]
        assert str(report).endswith(
            "scheduled\n        (- undisturbed, + found)\n"
            '          FOLLOW_UP({"order":"A1"})\n'
            '        + FOLLOW_UP({"order":"A1"})'
        )


def test_a_lost_reply_is_an_error_that_the_handler_may_handle(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        try:
            await world.service.schedule("FOLLOW_UP", unique_key="A1")
        except StorageError:
            world.mails.append("the storage is down")

    assert found(world.test(handler, kinds=["lost reply"])) == [
        ("lost reply", 'await world.service.schedule("FOLLOW_UP", unique_key="A1")', "inserted")
    ]


def test_the_jobs_that_it_schedules_do_not_run(world: World) -> None:
    world.service.register_handler("FOLLOW_UP", lambda job: ran.append(job.id))
    ran: list[str] = []

    async def handler(job: Job[Any]) -> None:
        await world.service.schedule("FOLLOW_UP", {"order": "A1"})
        await asyncio.sleep(1)

    assert not world.test(handler).safe
    assert ran == []


@pytest.mark.parametrize("how", ["gather", "group"])
def test_a_crash_ends_the_tasks_of_a_handler(world: World, how: str) -> None:
    async def pay(order: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if order not in world.book:
            await world.charge(order)
            world.book.add(order)

    async def handler(job: Job[Any]) -> None:
        if how == "gather":
            await asyncio.gather(pay("A", 1), pay("B", 2))
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(pay("A", 1))
                group.create_task(pay("B", 2))

    report = world.test(handler)

    # Only where a charge was not written down: B is not charged by a task of the dead process.
    assert found(report) == [("crash", "await world.charge(order)", "answered")] * 2
    a, b = (finding.differs for finding in report.unsafe)
    assert "['A', 'A', 'B']" in a
    assert "['A', 'B', 'B']" in b


def test_work_that_outlives_its_handler_is_lost_with_the_process(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        if "A1" not in world.book:
            world.book.add("A1")
            background.append(asyncio.create_task(world.send("A1")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    background: list[asyncio.Task[None]] = []
    report = world.test(handler)
    assert "mails" in str(report)
    assert found(report)[0] == ("crash", "await asyncio.sleep(0)", "begun")


def test_a_helper_is_interrupted_at_its_own_awaits(world: World) -> None:
    async def both() -> None:
        await world.charge("A1")
        await world.send("A1")

    async def handler(job: Job[Any]) -> None:
        if not world.mails:
            await both()

    assert found(world.test(handler)) == [
        ("crash", 'await world.charge("A1")', "answered"),
        ("crash", 'await world.send("A1")', "begun"),
    ]


def test_mocks_are_interrupted_before_and_after_they_are_called(world: World) -> None:
    bank = AsyncMock()

    async def handler(job: Job[Any]) -> None:
        if "A1" not in world.book:
            await bank.charge("A1")
            world.book.add("A1")

    def setup() -> None:
        world.setup()
        bank.reset_mock()

    report = world.test(handler, setup=setup, observe=lambda: bank.charge.await_count)
    assert found(report) == [("crash", 'await bank.charge("A1")', "answered")]


def test_awaits_behind_with_and_for(world: World) -> None:
    @asynccontextmanager
    async def session() -> AsyncIterator[None]:
        await world.send("open")
        yield
        await world.charge("A1")

    async def orders() -> AsyncIterator[str]:
        for order in "AB":
            await world.send(order)
            yield order

    async def handler(job: Job[Any]) -> None:
        if not world.charges:
            async with session():
                async for _ in orders():
                    pass
            world.book.add("A1")

    report = world.test(handler, same=lambda calm, now: calm["charges"] == now["charges"])
    assert report.safe, str(report)  # It is charged as the last thing, and then looks at that.

    report = crash_test(world.service, "IT", setup=world.setup, observe=lambda: world.mails)
    assert {line for _, line, _ in found(report)} == {
        "async with session():",
        'await world.send("open")',
        "await world.send(order)",
        'await world.charge("A1")',
    }


def test_a_task_group_of_anyio(world: World) -> None:
    async def pay(order: str, seconds: float) -> None:
        await anyio.sleep(seconds)
        await world.charge(order)

    async def handler(job: Job[Any]) -> None:
        if not world.charges:
            async with anyio.create_task_group() as group:
                group.start_soon(pay, "A", 1)
                group.start_soon(pay, "B", 2)
                group.start_soon(pay, "never", 3600)
                await anyio.sleep(3)
                group.cancel_scope.cancel()

    report = world.test(handler)
    # Only A is charged, when the worker dies between the two, or their time is up.
    assert {finding.differs.splitlines()[-1].strip() for finding in report.unsafe} == {
        "found:       ['A']"
    }


def test_what_is_shielded_goes_on_when_its_time_is_up(world: World) -> None:
    async def handler(job: Job[Any]) -> None:
        await asyncio.shield(world.charge_slowly("A1"))

    report = world.test(handler, kinds=["timeout"])
    assert found(report)
    assert all(finding.differs.endswith("['A1', 'A1']") for finding in report.unsafe)


@pytest.mark.parametrize("way", ["a coroutine", "a future"])
def test_threads_of_a_handler_end_their_work_before_the_next_run(world: World, way: str) -> None:
    def work() -> None:
        never.wait(0.02)
        world.charges.append("A1")

    async def handler(job: Job[Any]) -> None:
        if not world.charges:
            if way == "a future":
                await asyncio.get_running_loop().run_in_executor(None, work)
            else:
                await asyncio.to_thread(work)
            world.book.add("A1")

    never = threading.Event()
    report = world.test(handler, kinds=["crash"])
    # A future that goes on has its answer; a coroutine has more to do.
    moments = ["waiting"] if way == "a future" else ["waiting", "resumed"]
    assert [moment for *_, moment in found(report)] == [*moments, "answered"]
    assert not any("charges" in finding.differs for finding in report.unsafe)


def test_a_plain_handler_loses_its_outcome(world: World) -> None:
    def handler(job: Job[Any]) -> None:
        world.charges.append(threading.current_thread().name)

    report = world.test(handler, observe=lambda: len(world.charges))
    assert found(report) == [("crash", "", "ended")]
    assert report.runs == 1
    assert str(report).endswith("not tried: points inside it, since a thread cannot be killed")


def test_a_safe_plain_handler(world: World) -> None:
    def handler(job: Job[Any]) -> None:
        world.book.add("A1")

    assert world.test(handler).safe
