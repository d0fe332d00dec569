"""Whose turn it is to write: several folders, and locks that the system refuses."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import sys
import threading
from asyncio.subprocess import PIPE
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from backroom import FileJobStorage, JobService, StorageClosedError, StorageError
from backroom.ports import WorkerSpec
from backroom.storage import folder as folder_module
from backroom.storage import writer as writer_module
from backroom.storage.changes import Change
from backroom.storage.folder import Folder
from tests.contract.parts import Bench, SettableClock
from tests.process.parts import Child, Family, eventually, state_of

HANGS = """
import fcntl, sys, time
with open(sys.argv[1], "r+b") as locks:
    fcntl.lockf(locks, fcntl.LOCK_EX, 1, 0)
    print("its turn", flush=True)
    time.sleep(100)
"""


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    clock = SettableClock()
    storage = FileJobStorage(tmp_path / "jobs", clock=clock)
    await storage.open()
    return Bench(storage, clock)


# -- two processes, two folders ----------------------------------------------------------------


def test_two_processes_that_share_two_folders_only_wait_for_each_other(family: Family) -> None:
    """The kernel sees two processes of which each waits for what the other has."""
    first = Folder.enter(family.folder / "first")
    second = Folder.enter(family.folder / "second")
    got: list[str] = []

    def take_second() -> None:
        try:
            with second.writing():
                got.append("second")
        except OSError as error:
            got.append(repr(error))

    with first.writing():
        child = family.program("take_turns")
        child.says("has the second")
        eventually(lambda: _waits_for_a_lock(child.pid), "it waits for the first")
        thread = threading.Thread(target=take_second)
        thread.start()
        thread.join(0.2)
        assert got == []
    child.says("has both")
    thread.join(10)
    assert got == ["second"]
    assert child.ends() == 0, child.text
    first.leave()
    second.leave()


def _waits_for_a_lock(pid: int) -> bool:
    """Whether the kernel has it in a queue."""
    waits = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return any(str(pid) in line for line in waits)


# -- a lock that the system refuses --------------------------------------------------------------


class Locks:
    """`fcntl` for the folder, with planned errors."""

    def __init__(self) -> None:
        self.fails: Callable[[int, int], bool] = lambda command, byte: False

    def __getattr__(self, name: str) -> object:
        return getattr(fcntl, name)

    def lockf(self, file: int, command: int, length: int, byte: int) -> None:
        if self.fails(command, byte):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        fcntl.lockf(file, command, length, byte)


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Locks]:
    locks = Locks()
    monkeypatch.setattr(folder_module, "fcntl", locks)
    yield locks
    locks.fails = lambda command, byte: False


def no_turn(command: int, byte: int) -> bool:
    return bool(command & fcntl.LOCK_EX) and byte == 0


def no_end_of_turn(command: int, byte: int) -> bool:
    return command == fcntl.LOCK_UN and byte == 0


@pytest.mark.parametrize("fails", [no_turn, no_end_of_turn])
async def test_an_outcome_that_met_an_error_of_the_system_is_unknown_and_not_refused(
    bench: Bench, locks: Locks, fails: Callable[[int, int], bool]
) -> None:
    job, worker, claim = await bench.running()
    locks.fails = fails
    for _ in range(3):
        with pytest.raises(StorageError, match="whether this call was kept is not known"):
            await bench.finish(worker, bench.completed(claim))
    locks.fails = lambda command, byte: False
    assert await bench.finish(worker, bench.completed(claim)) == [True]
    assert await bench.status(job) == "completed"
    await bench.storage.close()


async def test_outcomes_that_are_tried_apart_and_meet_an_error_of_the_system_are_unknown(
    bench: Bench, locks: Locks
) -> None:
    """One of them cannot be written, so each is tried alone, when its turn is refused."""
    ids, worker = await bench.add_many(2), await bench.enlist()
    first, second = await bench.claim(worker)
    outcomes = bench.completed(first), bench.cancelled(second, reason="\ud800")
    turns = count(1)
    locks.fails = lambda command, byte: no_turn(command, byte) and next(turns) > 1
    with pytest.raises(StorageError, match="whether this call was kept is not known"):
        await bench.finish(worker, *outcomes)
    locks.fails = lambda command, byte: False
    assert await bench.finish(worker, *outcomes) == [True, False]
    assert [await bench.status(job) for job in ids] == ["completed", "failed"]
    await bench.storage.close()


async def test_all_callers_of_a_group_hear_of_an_error_of_the_system(
    bench: Bench, locks: Locks
) -> None:
    _, worker, claim = await bench.running()
    records = bench.records(20)
    locks.fails = no_turn
    answers = await asyncio.gather(
        bench.finish(worker, bench.completed(claim)),
        *[bench.insert([record]) for record in records],
        bench.storage.extend(worker),
        return_exceptions=True,
    )
    assert {type(answer) for answer in answers} == {StorageError}, answers
    locks.fails = lambda command, byte: False
    assert [one.created for one in await bench.insert(records)] == [True] * 20
    await bench.storage.close()


async def test_a_folder_that_cannot_be_looked_at_is_an_error_of_the_storage(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Folder) -> tuple[int, int]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    _, worker, claim = await bench.running()
    with monkeypatch.context() as broken:
        broken.setattr(Folder, "files", fail)
        with pytest.raises(StorageError, match="Permission denied"):
            await bench.finish(worker, bench.completed(claim))
        with pytest.raises(StorageError, match="Permission denied"):
            await bench.add()
    assert await bench.finish(worker, bench.completed(claim)) == [True]
    await bench.storage.close()


async def test_a_new_store_whose_turn_is_refused_is_an_error_of_the_storage(
    tmp_path: Path, locks: Locks
) -> None:
    locks.fails = no_turn
    storage = FileJobStorage(tmp_path / "jobs")
    with pytest.raises(StorageError, match="No locks available"):
        await storage.open()
    locks.fails = lambda command, byte: False
    await storage.open()
    await storage.close()


# -- a process that stands still in its turn -----------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is long."""
    monkeypatch.setattr(folder_module, "PATIENCE", 1.0)
    monkeypatch.setattr(writer_module, "PATIENCE", 1.0)
    monkeypatch.setattr(writer_module, "WATCH_EVERY", 0.2)


def stopped_in_its_turn(family: Family) -> Child:
    child = family.program("stop_in_its_turn")
    child.says("has its turn")
    eventually(lambda: state_of(child.pid) == "T", "it is stopped")
    return child


@pytest.mark.usefixtures("hasty")
async def test_callers_are_told_who_stands_still_in_its_turn_and_go_on_when_it_does(
    bench: Bench, family: Family, caplog: pytest.LogCaptureFixture
) -> None:
    job, worker, claim = await bench.running()
    child = stopped_in_its_turn(family)
    records = bench.records(30)
    for _ in range(2):
        answers = await asyncio.wait_for(
            asyncio.gather(
                bench.finish(worker, bench.completed(claim)),
                *[bench.insert([record]) for record in records],
                return_exceptions=True,
            ),
            10,
        )
        assert {type(answer) for answer in answers} == {StorageError}
        assert f"kill -CONT {child.pid}" in str(answers[0])
        assert await bench.status(job) == "active"  # Reading goes on.
    assert f"process {child.pid} does not end its turn" in caplog.text
    late = FileJobStorage(family.jobs)
    with pytest.raises(StorageError, match=f"kill -CONT {child.pid}"):
        await late.open()

    child.signal(signal.SIGCONT)
    child.says("ended its turn")
    assert await bench.finish(worker, bench.completed(claim)) == [True]
    # What nobody waited for has not been done behind its caller's back.
    assert [one.created for one in await bench.insert(records)] == [True] * 30
    await late.open()
    await late.close()
    await bench.storage.close()


@pytest.mark.usefixtures("hasty")
async def test_a_storage_closes_though_another_process_stands_still_in_its_turn(
    bench: Bench, family: Family
) -> None:
    child = stopped_in_its_turn(family)
    record = bench.record()
    waiting = asyncio.create_task(bench.insert([record]))
    await asyncio.sleep(0)
    await asyncio.wait_for(bench.storage.close(), 10)
    with pytest.raises(StorageError):
        await asyncio.wait_for(waiting, 10)
    child.signal(signal.SIGCONT)
    child.says("ended its turn")
    await bench.storage.open()
    assert [one.created for one in await bench.insert([record])] == [True]
    await bench.storage.close()


# -- the end of a storage --------------------------------------------------------------------------


class Inbox(deque[Change]):
    """Takes what is put into it only after `before` has come back."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__()
        self._before = before

    def append(self, change: Change) -> None:
        self._before()
        super().append(change)


async def test_a_call_that_meets_the_end_of_the_storage_is_answered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread closes it, between the look whether it is open and what follows."""
    storage = bench.storage
    assert isinstance(storage, FileJobStorage)
    closing = threading.Thread(target=lambda: asyncio.run(storage.close()))

    def close() -> None:
        closing.start()
        closing.join()

    monkeypatch.setattr(storage._writer, "_inbox", Inbox(close))
    with pytest.raises(StorageClosedError):
        await asyncio.wait_for(bench.add(), 10)


async def test_counts_are_told_while_a_process_hangs_in_its_turn(tmp_path: Path) -> None:
    service = JobService(f"file:{tmp_path / 'jobs'}")
    service.declare("MAIL")
    await service.schedule("MAIL")
    hangs = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGS, str(tmp_path / "jobs" / "jobs.lock"), stdout=PIPE
    )
    try:
        assert hangs.stdout is not None
        assert await hangs.stdout.readline() == b"its turn\n"
        stats = await asyncio.wait_for(service.get_stats(), 10)
        assert stats.by_status["pending"] == 1
    finally:
        hangs.kill()
        await hangs.wait()
    await service.stop()


# -- a refusal that had written --------------------------------------------------------------------


async def test_a_worker_that_is_refused_leaves_no_row_and_spoils_nothing(
    bench: Bench, locks: Locks
) -> None:
    """In one group with others: of these, none is lost, and none hears of it."""
    await bench.enlist("first")
    locks.fails = lambda command, byte: command == fcntl.LOCK_EX and byte != 0
    record = bench.record()
    refused, kept, paused = await asyncio.gather(
        bench.storage.enlist(WorkerSpec("ghost", 30)),
        bench.insert([record]),
        bench.storage.pause("default", True),
        return_exceptions=True,
    )
    assert isinstance(refused, StorageError)
    assert "No locks available" in str(refused)
    assert (kept, paused) == ([kept[0]], None)
    assert kept[0].created
    locks.fails = lambda command, byte: False
    stats = await bench.storage.stats(bench.now)
    assert [worker.name for worker in stats.workers] == ["first"]
    assert [queue.paused for queue in stats.queues] == [True]
    await bench.storage.close()


async def test_a_change_that_is_refused_in_a_group_may_succeed_alone(
    bench: Bench, locks: Locks
) -> None:
    """The refusal of the first time is forgotten: the caller hears what became of it at last."""
    record = bench.record()
    locks.fails = lambda command, byte: command == fcntl.LOCK_EX and byte != 0
    answers = await asyncio.gather(
        bench.insert([record]),
        bench.storage.cancel(record.id, bench.now),  # In a group this comes first.
        bench.storage.enlist(WorkerSpec("ghost", 30)),
        return_exceptions=True,
    )
    assert isinstance(answers[2], StorageError)
    assert answers[1] == 1
    assert await bench.status(record.id) == "cancelled"
    locks.fails = lambda command, byte: False
    await bench.storage.close()
