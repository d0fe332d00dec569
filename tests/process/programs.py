"""Programs that the tests start beside workers: `python -m tests.process.programs NAME ...`."""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import itertools
import json
import os
import resource
import shutil
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import apsw

import backroom.storage
from backroom import (
    BackroomError,
    FileJobStorage,
    Job,
    JobId,
    JobRequest,
    JobService,
    StorageClosedError,
    StorageError,
)
from backroom.storage.folder import Folder
from tests.process.parts import (
    Journal,
    die_with_parent,
    eventually_async,
    none_left,
    read_journals,
    scheduling,
)

FOLDER = Path(os.environ["PROCESS_TEST_FOLDER"])


def say(*words: object) -> None:
    print(*words, flush=True)


# -- producers ---------------------------------------------------------------------------------


async def produce(count: str) -> None:
    """Schedules so many jobs: half of them one by one from fifty coroutines, half in batches."""
    singles = int(count) // 2
    async with scheduling(FOLDER / "jobs") as service:

        async def some(number: int) -> None:
            for _ in range(number):
                await service.schedule("QUICK")

        async def batches() -> None:
            for start in range(singles, int(count), 500):
                size = min(500, int(count) - start)
                await service.schedule_many([JobRequest("QUICK", {})] * size)

        await asyncio.gather(batches(), *(some(singles // 50) for _ in range(50)))


# -- stops and forks ---------------------------------------------------------------------------


async def linger() -> None:
    """Stops its service while a handler's thread runs on, and goes on itself."""
    from tests.process.app import service

    await service.start()
    await eventually_async(lambda: read_journals(FOLDER, "started"), "the job runs")
    say("stopped:", await service.stop(grace=0.1))
    await eventually_async(lambda: read_journals(FOLDER, "finished"), "the thread ends", 60)
    await asyncio.Event().wait()


async def fork_while_open() -> None:
    """Forks while its service works, as a handler may: what does each side see?"""
    from tests.process.app import service

    await service.start()
    child = os.fork()
    if not child:
        try:
            asyncio.run(_use_what_the_parent_had(service))
        except BaseException as error:
            say(f"child failed: {error!r}")
        os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)
    job_id = await service.schedule("QUICK")
    say("parent ran", await service.result(job_id, timeout=10))
    await eventually_async(lambda: (FOLDER / "calm").exists(), "the test is done")
    say("parent stopped:", await service.stop())


async def _use_what_the_parent_had(inherited: JobService) -> None:
    for name, call in {
        "schedule": inherited.schedule("QUICK"),
        "schedule_many": inherited.schedule_many([JobRequest("QUICK", {})]),
        "get_jobs": inherited.get_jobs(),
        "cancel_jobs": inherited.cancel_jobs(status="pending"),
        "result": inherited.result(JobId("none"), timeout=1),
    }.items():
        try:
            await call
        except StorageClosedError as error:
            say(f"child {name} refused: {error}")
    say("child stopped:", await inherited.stop(0))
    async with scheduling(FOLDER / "jobs") as own:
        say("child scheduled", await own.schedule("GATE"))


def fork_while_opening() -> None:
    """Forks while a thread opens a storage, again and again, and uses it in the child."""
    for number in range(20):
        storage = FileJobStorage(FOLDER / f"jobs-{number}")
        opener = threading.Thread(target=lambda: asyncio.run(storage.open()))  # noqa: B023
        opener.start()
        while opener.is_alive() and not storage._opening.locked():
            pass
        child = os.fork()
        if not child:
            signal.alarm(10)  # Its end, should it wait for what never comes.
            try:
                asyncio.run(storage.open())
            except StorageClosedError:
                os._exit(3)
            os._exit(4)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        say("refused" if ended == 3 else "worked" if ended == 4 else f"ended with {ended}")
        opener.join()


def fork_when_closed() -> None:
    """Opens, uses and closes a storage, forks, and uses the same storage in the child."""
    storage = FileJobStorage(FOLDER / "jobs")

    async def use() -> None:
        service = JobService(storage)
        service.declare("QUICK")
        async with asyncio.timeout(10):
            job_id = await service.schedule("QUICK")
            say("looked up:", await service.get_job_status(job_id))
            await service.stop()

    asyncio.run(use())
    child = os.fork()
    if not child:
        try:
            asyncio.run(use())
        except BaseException as error:
            say(f"child failed: {error!r}")
        os._exit(0)
    os.waitpid(child, 0)
    asyncio.run(use())


async def fork_and_leave() -> None:
    """Forks a child that opens the store for itself, and leaves first."""
    async with scheduling(FOLDER / "jobs") as service:
        await service.schedule_many([JobRequest("QUICK", {})] * 10)
        child = os.fork()
        if not child:
            try:
                asyncio.run(_stay())
            except BaseException as error:
                say(f"child failed: {error!r}")
            os._exit(0)
        await eventually_async(lambda: read_journals(FOLDER, "child"), "the child has scheduled")


async def _stay() -> None:
    async with scheduling(FOLDER / "jobs") as own:
        await own.schedule("QUICK")
        journal = Journal(FOLDER)
        journal.write("child", "-", os.getpid())
        await eventually_async(lambda: (FOLDER / "calm").exists(), "its parent has left")
        for _ in range(10):
            await own.schedule("QUICK")
            journal.write("acknowledged")
        os.kill(os.getpid(), signal.SIGKILL)


async def copy_the_folder() -> None:
    """Makes a copy of the store it uses, goes on scheduling, and dies."""
    journal = Journal(FOLDER)
    async with scheduling(FOLDER / "jobs") as service:
        await service.schedule("QUICK")
        shutil.copytree(FOLDER / "jobs", FOLDER / "copy")
        say("copied")
        await eventually_async(lambda: (FOLDER / "calm").exists(), "another has come and gone")
        for _ in range(5):
            with suppress(StorageError):
                await service.schedule("QUICK")
                journal.write("acknowledged")
        os.kill(os.getpid(), signal.SIGKILL)


# -- other users of the folder -----------------------------------------------------------------


async def lock() -> None:
    """Another program that writes to the database, in no hurry."""
    with closing(sqlite3.connect(FOLDER / "jobs" / "jobs.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        say("locked")
        await eventually_async(lambda: (FOLDER / "unlock").exists(), "the test lets it go")
        database.execute("ROLLBACK")


def take_turns() -> None:
    """Takes its turn in the folder "second" and, before it ends that, in the folder "first"."""
    first, second = Folder.enter(FOLDER / "first"), Folder.enter(FOLDER / "second")
    with second.writing():
        say("has the second")
        with first.writing():
            say("has both")


def stop_in_its_turn() -> None:
    """Stands still while it has its turn to write, until somebody sends it on."""
    with Folder.enter(FOLDER / "jobs").writing():
        say("has its turn")
        os.kill(os.getpid(), signal.SIGSTOP)
    say("ended its turn")


async def schedule_without_rights(folder: str) -> None:
    """As root this becomes a user who may write nothing; else its rights are what they are."""
    async with scheduling(FOLDER / "warm") as service:  # Whatever is imported late, is now.
        await service.schedule("QUICK")
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    async with scheduling(Path(folder)) as service:
        try:
            say("scheduled", await service.schedule("QUICK"))
        except BackroomError as error:
            say(f"{type(error).__name__}: {error}")


# -- a kill at every point of the first opening ------------------------------------------------


def die_while_opening() -> None:
    """Kills a process right before each call that its storage makes while it opens a new folder;
    then the next process uses that folder."""
    for point in itertools.count(1):
        folder = FOLDER / f"point-{point}"
        killed = _forked(lambda: _use(folder), _die_before(point))  # noqa: B023
        if killed != -signal.SIGKILL:
            assert killed == 0, "opening it failed by itself"
            say(f"{point} points")
            return
        left = os.listdir(folder) if folder.exists() else "nothing"
        code = _forked(lambda: _use(folder))  # noqa: B023
        if code:
            say(f"killed at point {point}, which left {left}; the next one ended with {code}")
            sys.exit(1)


def _forked(main: Callable[[], object], profile: Callable[..., None] | None = None) -> int:
    child = os.fork()
    if not child:
        code = 2
        try:
            threading.setprofile(profile)
            main()
            code = 0
        except BaseException as error:
            threading.setprofile(None)
            say(repr(error))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _use(folder: Path) -> None:
    async def use() -> None:
        async with scheduling(folder) as service:
            await service.schedule("QUICK")
            assert (await service.get_stats()).by_status["pending"] >= 1

    asyncio.run(use())


TOUCHING = {"open", "write", "fsync", "close", "lockf", "execute", "Connection", "stat", "mkdir"}
"""Calls that read or change what is on disk."""


def _die_before(point: int) -> Callable[[FrameType, str, object], None]:
    """A profile function that kills this process at the so manyth call out of the storage."""
    left = itertools.count(point, -1)
    folder = Path(backroom.storage.__file__).parent
    names = ("folder.py", "sqlite/connect.py", "sqlite/ledger.py")
    rooms = {str(folder / name) for name in names}

    def profile(frame: FrameType, event: str, argument: object) -> None:
        called = getattr(argument, "__name__", "")
        if event != "c_call" or frame.f_code.co_filename not in rooms or called not in TOUCHING:
            return
        if next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    return profile


# -- a full disk -------------------------------------------------------------------------------


class _Disk:
    """A disk that is soon full: a file system of 3 MiB that only this process sees, and that goes
    with it. Where this user may not mount one, a limit on the size of a file, which SQLite
    reports as an error of the disk."""

    def __init__(self) -> None:
        self.folder = FOLDER / "disk"
        self.folder.mkdir()
        self.mounted = self._mount()
        if self.mounted:
            (self.folder / "ballast").write_bytes(bytes(1 << 20))
        else:
            self._limit, self._most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, self._most))

    @property
    def refusal(self) -> str:
        """The error of a call that finds it full."""
        return "StorageFullError" if self.mounted else "StorageError"

    def _mount(self) -> bool:
        libc = ctypes.CDLL(None)
        new_mounts, new_user, private = 0x00020000, 0x10000000, 0x00044000
        return not (
            libc.unshare(new_mounts | (new_user if os.geteuid() else 0))
            or libc.mount(None, b"/", None, private, None)
            or libc.mount(b"none", bytes(self.folder), b"tmpfs", 0, b"size=3m")
        )

    def fill_up(self) -> None:
        """Takes what is left, to the last byte."""
        if self.mounted:
            with (self.folder / "padding").open("wb", buffering=0) as padding:
                for size in (4096, 1):
                    with suppress(OSError):
                        while padding.write(bytes(size)):
                            pass

    def make_room(self) -> None:
        if self.mounted:
            (self.folder / "padding").unlink()
            (self.folder / "ballast").unlink()
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._limit, self._most))


async def _fill(service: JobService) -> tuple[int, list[StorageError]]:
    """Schedules until that is refused for good; how many were acknowledged."""
    acknowledged = 0
    refusals: list[StorageError] = []
    while len(refusals) < 5:
        try:
            await service.schedule("QUICK", {"text": "x" * 4000})
        except StorageError as error:
            refusals.append(error)
        else:
            acknowledged += 1
    return acknowledged, refusals


async def fill_the_disk() -> None:
    """Reports what producers and workers see of a disk that runs full."""
    disk = _Disk()
    seen: dict[str, object] = {"refusal": disk.refusal}
    async with scheduling(disk.folder / "jobs") as service:
        acknowledged, refusals = await _fill(service)
        seen["acknowledged"] = acknowledged
        seen["refused with"] = sorted({type(error).__name__ for error in refusals})
        seen["message"] = str(refusals[0])
        by_status = (await service.get_stats()).by_status
        seen["readable while full"] = by_status["pending"] == acknowledged
        disk.fill_up()
        late = JobService(FileJobStorage(disk.folder / "jobs"))
        try:
            await late.start()
        except BackroomError as error:
            seen["a worker that starts while full"] = type(error).__name__
        await late.stop()
        disk.make_room()
        await service.schedule("QUICK")
        seen["after"] = (await service.get_stats()).by_status["pending"]
        # This process, whose worker could not start, is not in the way of the next one.
        command = ["-m", "backroom", "worker", "tests.process.app:service", "--burst"]
        env = {**os.environ, "PROCESS_TEST_FOLDER": str(disk.folder)}
        worker = await asyncio.create_subprocess_exec(sys.executable, *command, env=env)
        try:
            async with asyncio.timeout(15):
                seen["a worker that starts later ends with"] = await worker.wait()
        finally:
            with suppress(ProcessLookupError):
                worker.kill()
        seen["completed"] = (await service.get_stats()).by_status["completed"]
    with closing(sqlite3.connect(disk.folder / "jobs" / "jobs.db")) as database:
        [(seen["integrity"],)] = database.execute("PRAGMA integrity_check").fetchall()
    say(json.dumps(seen))


async def open_on_a_full_disk() -> None:
    """Reports what a first opening says on a disk with ever more room, and what it leaves."""
    disk = _Disk()
    if not disk.mounted:
        say("no disk of its own")
        return
    said: set[str] = set()
    for pages in itertools.count():
        disk.fill_up()
        with (disk.folder / "padding").open("r+b") as padding:
            padding.truncate(max(0, os.fstat(padding.fileno()).st_size - pages * 4096))
        storage = FileJobStorage(disk.folder / "jobs")
        before = len(os.listdir("/proc/self/fd"))
        try:
            await storage.open()
        except StorageError as error:
            said.add(type(error).__name__)
        else:
            break
        left = len(os.listdir("/proc/self/fd"))
        if left != before:
            say(f"with {pages} pages of room, {left - before} files were left open")
        (disk.folder / "padding").unlink()
        later = FileJobStorage(disk.folder / "jobs")
        await later.open()
        await later.close()
        shutil.rmtree(disk.folder / "jobs")
    await storage.close()
    say(json.dumps({"pages": pages, "said": sorted(said)}))


async def work_on_a_full_disk() -> None:
    """Reports what becomes of jobs that end while the disk is full."""
    disk = _Disk()
    full = asyncio.Event()
    starts: Counter[str] = Counter()
    ends = 0
    service = JobService(FileJobStorage(disk.folder / "jobs"), concurrency=5, poll_interval=0.2)

    @service.handler("QUICK", retries=0)
    async def quick(job: Job[Any]) -> None:
        nonlocal ends
        starts[job.id] += 1
        await full.wait()
        ends += 1

    async def all_ended() -> bool:
        try:
            return await none_left(service)
        except StorageError:  # After an error of the disk, no question is answered either.
            return False

    seen: dict[str, object] = {}
    async with service:
        seen["acknowledged"], _ = await _fill(service)
        disk.fill_up()
        full.set()
        await eventually_async(lambda: ends >= 5, "the handlers have ended")
        seen["held up"] = not await all_ended()
        disk.make_room()
        await eventually_async(all_ended, "all jobs have ended")
        seen["completed"] = (await service.get_stats()).by_status["completed"]
        seen["starts"], seen["most starts of one"] = starts.total(), max(starts.values())
    say(json.dumps(seen))


async def start_on_a_full_disk() -> None:
    """Reports what becomes of jobs that start where there is room in the database, whose log
    begins anew, and nowhere else."""
    disk = _Disk()
    service = JobService(FileJobStorage(disk.folder / "jobs"), concurrency=5, poll_interval=0.2)

    @service.handler("QUICK", retries=0)
    async def quick(job: Job[Any]) -> None:
        pass

    async with service:
        await service.pause_queue("default")
        for _ in range(20):
            await service.schedule_many([JobRequest("QUICK", {})] * 5)
        # A claim makes the row of a job longer: what these took is room in the database.
        for job_id in [await service.schedule("QUICK", {"text": "x" * 9000}) for _ in range(10)]:
            await service.delete_job(job_id)
        with closing(apsw.Connection(str(disk.folder / "jobs" / "jobs.db"))) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        disk.fill_up()
        await service.resume_queue("default")
        await eventually_async(lambda: none_left(service), "all jobs have ended")
        say((await service.get_stats()).by_status["completed"], "completed")


# -- which -------------------------------------------------------------------------------------

PROGRAMS = (
    produce, linger, fork_while_open, fork_while_opening, fork_when_closed, fork_and_leave,
    copy_the_folder,
    lock, take_turns, stop_in_its_turn,
    schedule_without_rights, die_while_opening, fill_the_disk, work_on_a_full_disk,
    start_on_a_full_disk, open_on_a_full_disk,
)  # fmt: skip


def main(name: str, *arguments: str) -> None:
    [program] = [program for program in PROGRAMS if program.__name__ == name]
    if inspect.iscoroutinefunction(program):
        asyncio.run(program(*arguments))
    else:
        program(*arguments)


if __name__ == "__main__":
    die_with_parent()
    main(*sys.argv[1:])
