"""A store's folder in every bad state: refused with a clear error, never silently empty."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from backroom import (
    FileJobStorage,
    Job,
    JobNotFoundError,
    JobRequest,
    JobService,
    JobStateError,
    LeaseLostError,
    MemoryJobStorage,
    StorageClosedError,
    StorageCorruptError,
    StorageError,
    StorageVersionError,
)
from backroom.clock import SystemClock
from backroom.ports import WorkerSpec
from backroom.storage import folder as folder_module
from tests.contract.parts import DAY, LEASE, Bench, SettableClock
from tests.process.parts import Family, eventually_async, scheduling

JOBS = 300


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store with jobs; to be copied, never to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "jobs"

    async def fill() -> None:
        async with scheduling(folder) as service:
            text = "many words, so that there are some pages; " * 5
            requests = [JobRequest("QUICK", {"n": n, "text": text}) for n in range(JOBS)]
            await service.schedule_many(requests)

    asyncio.run(fill())
    return folder


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    """A store with jobs, for one test."""
    return Path(shutil.copytree(whole, tmp_path / "jobs"))


async def _refusal(folder: Path, kind: type[StorageError]) -> str:
    """The text with which everything about this folder is refused."""
    service = JobService(FileJobStorage(folder))
    service.declare("QUICK")
    with pytest.raises(kind) as looking:
        await service.get_stats()
    with pytest.raises(kind):
        await service.schedule("QUICK")
    with pytest.raises(kind):
        await service.start()
    await service.stop()
    return str(looking.value)


async def _jobs(folder: Path) -> int:
    async with scheduling(folder) as service:
        return sum((await service.get_stats()).by_status.values())


# -- who may enter -------------------------------------------------------------------------------


async def test_only_its_user_can_read_a_store(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        async with JobService(FileJobStorage(tmp_path / "deep" / "jobs")) as service:
            service.declare("QUICK")
            await service.schedule("QUICK")
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode)
                for path in (tmp_path / "deep" / "jobs").iterdir()
            }
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "deep" / "jobs").stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}, modes
    kinds = {name.partition("-")[0] if "jobs" not in name else name for name in modes}
    expected = {"jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.lock", "store.json"}
    assert kinds == expected | {"wake", "worker"}


async def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert f"{file} is a file" in await _refusal(file, StorageError)
    assert "cannot make the folder" in await _refusal(file / "below", StorageError)
    assert file.read_text() == "mine"


@pytest.fixture
def common(tmp_path: Path) -> Iterator[Path]:
    """A folder that every user can reach: as root, the programs below become another one."""
    folder = Path(tempfile.mkdtemp(prefix="backroom-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_without_the_right_to_write_is_refused(family: Family, common: Path) -> None:
    (common / "jobs").mkdir()
    (common / "jobs").chmod(0o555)
    program = family.program("schedule_without_rights", str(common / "jobs"))
    assert program.ends() == 0, program.text
    assert f"StorageError: the folder {common / 'jobs'} cannot be written" in program.text
    assert list((common / "jobs").iterdir()) == []


def test_a_store_of_another_user_is_refused(family: Family, common: Path, whole: Path) -> None:
    shutil.copytree(whole, common / "jobs")
    for file in (common / "jobs").iterdir():
        file.chmod(0o400)
    program = family.program("schedule_without_rights", str(common / "jobs"))
    assert program.ends() == 0, program.text
    assert "StorageError: " in program.text
    assert "give this user the rights" in program.text


def test_a_folder_in_a_place_that_its_user_cannot_list_works(family: Family, common: Path) -> None:
    (common / "jobs").mkdir()
    if os.geteuid() == 0:
        os.chown(common / "jobs", 65534, 65534)
    common.chmod(0o311)
    program = family.program("schedule_without_rights", str(common / "jobs"))
    assert program.ends() == 0, program.text
    assert "scheduled" in program.text


async def test_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_file_system", lambda path: "nfs4")
    text = await _refusal(tmp_path / "jobs", StorageError)
    assert "network file system (nfs4)" in text
    assert not list((tmp_path / "jobs").glob("jobs.*"))


# -- what is in it -------------------------------------------------------------------------------


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
async def test_a_database_of_another_application_is_refused_and_untouched(
    tmp_path: Path, journal_mode: str
) -> None:
    database = tmp_path / "jobs" / "jobs.db"
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        connection.execute("CREATE TABLE precious (thing)")
        connection.commit()
    before = database.read_bytes()
    text = await _refusal(database.parent, StorageCorruptError)
    assert "a database of another application" in text
    assert database.read_bytes() == before
    assert not (database.parent / "store.json").exists()


@pytest.mark.parametrize("size", [1, 50, 100, 4096, 70_000])
async def test_a_file_that_is_no_database_is_refused_and_untouched(
    tmp_path: Path, size: int
) -> None:
    database = tmp_path / "jobs" / "jobs.db"
    database.parent.mkdir()
    database.write_bytes(random.Random(size).randbytes(size))
    before = database.read_bytes()
    assert "is damaged" in await _refusal(database.parent, StorageCorruptError)
    assert database.read_bytes() == before


async def test_a_store_of_a_newer_version_is_refused_and_untouched(store: Path) -> None:
    database = store / "jobs.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = delete")
        connection.execute("PRAGMA user_version = 99")
        connection.commit()
    before = database.read_bytes()
    text = await _refusal(store, StorageVersionError)
    assert "schema version 99" in text
    assert "upgrade Backroom" in text
    assert database.read_bytes() == before


async def test_a_database_that_has_gone_is_refused_until_somebody_says_that_it_may(
    store: Path,
) -> None:
    (store / "jobs.db").unlink()
    text = await _refusal(store, StorageCorruptError)
    assert "jobs.db is missing" in text
    assert "store.json beside it says that this folder held jobs" in text
    assert not (store / "jobs.db").exists()
    (store / "store.json").unlink()
    assert await _jobs(store) == 0
    assert json.loads((store / "store.json").read_text()) == {
        "format": "backroom job store",
        "database": "jobs.db",
    }


async def test_an_emptied_database_is_refused(store: Path) -> None:
    os.truncate(store / "jobs.db", 0)
    assert "jobs.db is empty" in await _refusal(store, StorageCorruptError)
    assert (store / "jobs.db").stat().st_size == 0


async def test_an_empty_database_in_the_place_of_a_store_is_refused(store: Path) -> None:
    """One that is sound, as other tools leave it behind; it is not filled with tables."""
    database = store / "jobs.db"
    database.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM")
    before = database.read_bytes()
    assert before.startswith(b"SQLite format 3")
    assert "not that of a job store" in await _refusal(store, StorageCorruptError)
    assert database.read_bytes() == before


async def test_a_lost_marker_is_made_again_and_the_jobs_are_there(store: Path) -> None:
    (store / "store.json").unlink()
    assert await _jobs(store) == JOBS
    assert (store / "store.json").exists()


async def test_a_truncated_database_is_refused_wherever_it_ends(store: Path) -> None:
    database = store / "jobs.db"
    content = database.read_bytes()
    size = len(content)
    assert size > 20 * 4096
    ends = [1, 15, 16, 50, 99, 100, 101, 512, 1024, 4095, 4096, 4097, 3 * 4096, size // 2]
    for end in [*ends, size // 8192 * 4096, size - 4097, size - 4096, size - 1]:
        database.write_bytes(content[:end])
        text = await _refusal(store, StorageCorruptError)
        assert "is damaged" in text or "is not a job store" in text, (end, text)
        assert database.read_bytes() == content[:end], end
    database.write_bytes(content)
    assert await _jobs(store) == JOBS


async def test_a_flipped_byte_of_the_header_never_empties_a_store(store: Path) -> None:
    await _flip(store, list(range(100)))


async def test_flipped_bytes_of_the_pages_never_empty_a_store(store: Path) -> None:
    chance = random.Random(2_718_281)
    size = (store / "jobs.db").stat().st_size
    page_heads = [page + offset for page in range(0, size, 4096) for offset in range(0, 12, 3)]
    anywhere = [chance.randrange(100, size) for _ in range(100)]
    await _flip(store, chance.sample(page_heads, 60) + anywhere)


async def test_a_flipped_bit_in_what_a_job_is_found_by_is_refused(store: Path) -> None:
    """In its id, once in its row and once in the index: its caller would not find it any more."""
    async with scheduling(store) as service:
        [job, *_] = await service.get_jobs(limit=1)
    database = store / "jobs.db"
    content = database.read_bytes()
    places = [match.start() for match in re.finditer(job.id.encode(), content)]
    assert len(places) == 2
    for place in places:
        damaged = bytearray(content)
        damaged[place + 35] ^= 1
        database.write_bytes(damaged)
        assert "is damaged" in await _refusal(store, StorageCorruptError)


@pytest.mark.parametrize("column", ["state", "priority", "attempt", "created_at"])
async def test_a_value_that_nobody_writes_is_told_as_damage(store: Path, column: str) -> None:
    """One bit makes an empty blob of a zero, and the structure is as good as before."""
    with closing(sqlite3.connect(store / "jobs.db")) as connection:
        connection.execute(f"UPDATE job SET {column} = x'' WHERE key = (SELECT max(key) FROM job)")
        connection.commit()
    async with scheduling(store) as service:
        with pytest.raises(StorageCorruptError, match="is damaged"):
            await service.get_jobs()


async def _flip(store: Path, places: list[int]) -> None:
    """Either all of it is refused, or all jobs are there."""
    database = store / "jobs.db"
    content = database.read_bytes()
    found = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        database.write_bytes(damaged)
        for side_file in ("jobs.db-wal", "jobs.db-shm"):
            (store / side_file).unlink(missing_ok=True)
        # Only a refusal may keep the jobs from being found.
        with suppress(StorageCorruptError, StorageVersionError):
            async with scheduling(store) as service:
                assert await _count_in_pages(service) == JOBS, place
            found += 1
    print(f"{len(places) - found} of {len(places)} flipped bytes were refused")
    assert found < len(places)


async def _count_in_pages(service: JobService) -> int:
    count, cursor = 0, None
    while True:
        page = await service.get_jobs(limit=1000, cursor=cursor)
        count, cursor = count + len(page), page.cursor
        if cursor is None:
            return count


async def test_damage_that_comes_while_the_store_is_open_is_told(store: Path) -> None:
    """Somebody removes the database under a process that uses it."""
    async with scheduling(store) as service:
        await service.schedule("QUICK")
        (store / "jobs.db").unlink()
        with pytest.raises(StorageCorruptError, match=r"jobs\.db"):
            await service.schedule("QUICK")


async def test_a_process_that_copies_its_folder_loses_nothing_in_silence(family: Family) -> None:
    """Who opens and closes a file drops all locks that the process has on it: another process
    may then believe to be the last one, and clear the log away."""
    copying = family.program("copy_the_folder")
    copying.says("copied")
    other = family.program("produce", "100")
    assert other.ends() == 0, other.text
    family.gate("calm")
    assert copying.ends() == -9, copying.text
    acknowledged = len(family.entries("acknowledged"))
    assert acknowledged, "it did not find back to the files"
    assert await _jobs(family.jobs) == 1 + 100 + acknowledged


def test_a_kill_at_any_point_of_the_first_opening_leaves_a_folder_that_works(
    family: Family,
) -> None:
    program = family.program("die_while_opening")
    assert program.ends(30) == 0, program.text
    assert "points" in program.text
    print(program.text)


# -- another store in its place ------------------------------------------------------------------


async def test_what_began_in_a_store_that_was_removed_ends_nothing_in_the_next_one(
    family: Family,
) -> None:
    """Another process makes the folder anew, under a worker that runs on."""
    clock = SettableClock()
    clock.step(50 * 365 * DAY)  # So that what another process schedules is due.
    storage = FileJobStorage(family.jobs, clock=clock)
    await storage.open()
    bench = Bench(storage, clock)
    _, worker, old = await bench.running()
    shutil.rmtree(family.jobs)
    producer = family.program("produce", "100")
    assert producer.ends() == 0, producer.text

    for call in (
        storage.extend(worker),
        bench.claim(worker),
        storage.start(worker, [old.key]),
    ):
        with pytest.raises(LeaseLostError):
            await call
    later = await bench.enlist()
    claims = {claim.key: claim for claim in await bench.claim(later)}
    assert len(claims) == 100
    assert old.key in claims
    assert await bench.finish(worker, bench.completed(old)) == [False]
    assert await bench.finish(later, bench.completed(old)) == [False]
    assert (await storage.stats(bench.now)).by_status["active"] == 100
    assert await bench.finish(later, bench.completed(claims[old.key])) == [True]
    await storage.close()


@pytest.mark.parametrize("others", ["that were there", "that come later"])
async def test_who_lives_is_not_robbed_when_the_lock_file_goes(family: Family, others: str) -> None:
    """It holds its lock where nobody looks, until its turn to write comes; a process that is
    stopped has none. For the time of its lease only that tells of it."""
    worker = family.ready(concurrency=1)
    clock = _clock_behind()
    bench = Bench(FileJobStorage(family.jobs, clock=clock), clock)
    if others == "that were there":
        await bench.storage.open()
        assert (await bench.reclaim()).workers == ()
    worker.freeze(family.jobs)
    (family.jobs / "jobs.lock").unlink()
    (family.jobs / "jobs.lock").touch()
    if others == "that come later":
        await bench.storage.open()

    for passed in (0, 20, 9):
        clock.advance(passed)
        assert (await bench.reclaim()).workers == ()

    worker.signal(signal.SIGCONT)
    job = await bench.add(type="QUICK", run_at=0)
    await eventually_async(lambda: family.starts()[job], "it has its turn again")
    for passed in (2, 100):
        clock.advance(passed)
        assert (await bench.reclaim()).workers == ()
    worker.kill()
    assert len((await bench.reclaim()).workers) == 1
    await bench.storage.close()


async def test_the_lock_file_that_goes_with_its_worker_hides_no_death(family: Family) -> None:
    worker = family.ready()
    clock = _clock_behind()
    bench = Bench(FileJobStorage(family.jobs, clock=clock), clock)
    await bench.storage.open()
    worker.kill()
    (family.jobs / "jobs.lock").unlink()
    assert (await bench.reclaim()).workers == ()
    clock.advance(LEASE + 1)
    assert len((await bench.reclaim()).workers) == 1
    await bench.storage.close()


def _clock_behind() -> SettableClock:
    """By its uptime, no lease of another process ends in the next minutes."""
    clock = SettableClock()
    clock.advance(SystemClock().uptime() - 200 - clock.uptime())
    return clock


async def test_a_folder_that_was_removed_is_told_until_it_is_there_again(family: Family) -> None:
    async with scheduling(family.jobs) as service:
        await service.schedule("QUICK")
        shutil.rmtree(family.jobs)
        for _ in range(2):
            with pytest.raises(StorageError, match="removed while it was in use"):
                await service.schedule("QUICK")
        assert not family.jobs.exists()
        producer = family.program("produce", "100")
        assert producer.ends() == 0, producer.text
        await service.schedule("QUICK")
        assert (await service.get_stats()).by_status["pending"] == 101


# -- the disk ------------------------------------------------------------------------------------


def test_a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room(family: Family) -> None:
    program = family.program("fill_the_disk")
    assert program.ends(30) == 0, program.text
    seen = json.loads(program.text.splitlines()[-1])
    assert seen["refused with"] == [seen["refusal"]]
    if seen["refusal"] == "StorageFullError":
        assert "no room left on the device" in seen["message"]
    assert seen["readable while full"]
    assert seen["a worker that starts while full"] == seen["refusal"]
    assert seen["after"] == seen["acknowledged"] + 1
    assert seen["a worker that starts later ends with"] == 0
    assert seen["completed"] == seen["after"]
    assert seen["integrity"] == "ok"


def test_a_store_that_cannot_be_made_on_a_full_disk_says_that_and_leaves_nothing(
    family: Family,
) -> None:
    program = family.program("open_on_a_full_disk")
    assert program.ends(30) == 0, program.text
    [line] = program.text.splitlines()
    if line == "no disk of its own":
        pytest.skip(line)
    seen = json.loads(line)
    assert seen["pages"] > 5
    # Where only its index finds no room, SQLite speaks of an error of the disk.
    assert set(seen["said"]) <= {"StorageFullError", "StorageError"}


def test_a_worker_works_through_a_full_disk(family: Family) -> None:
    program = family.program("work_on_a_full_disk")
    assert program.ends(30) == 0, program.text
    seen = json.loads(program.text.splitlines()[-1])
    assert seen["held up"]
    assert seen["completed"] == seen["acknowledged"]
    assert seen["starts"] == seen["acknowledged"]


def test_jobs_may_start_while_nothing_but_the_database_has_room(family: Family) -> None:
    """What a worker notes of its starts has its place on the disk since the worker began."""
    program = family.program("start_on_a_full_disk")
    assert program.ends(30) == 0, program.text
    assert "100 completed" in program.text


async def test_a_worker_that_could_not_enlist_is_not_in_the_way_of_the_next_one(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process goes on, and the number it was about to have goes to the next worker."""
    connections: list[apsw.Connection] = []
    monkeypatch.setattr(apsw, "connection_hooks", [connections.append])
    async with scheduling(family.jobs) as service:
        job_id = await service.schedule("QUICK")
        for connection in connections:
            connection.set_commit_hook(lambda: True)  # Every commit becomes a rollback.
        with pytest.raises(StorageError):
            await service.start()
        for connection in connections:
            connection.set_commit_hook(None)
        worker = family.worker("--burst")
        assert worker.ends() == 0, worker.text
        assert await service.get_job_status(job_id) == "completed"


# -- what is too large ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_a_job_that_is_too_large_is_refused_with_what_to_do_and_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With a hundredth of the limit, so that this stays small."""

    def limit(connection: apsw.Connection) -> None:
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, 10_000_000)

    monkeypatch.setattr(apsw, "connection_hooks", [limit])
    storage = FileJobStorage(tmp_path / "jobs") if kind == "file" else MemoryJobStorage()
    service = JobService(storage, max_payload=20_000_000)
    service.declare("QUICK")
    huge = JobRequest("QUICK", {"text": "x" * 10_000_000})
    requests = [JobRequest("QUICK", {"text": "x" * 400_000}) for _ in range(30)]
    with pytest.raises(StorageError, match=r"too large .* nothing .* schedule their address"):
        await service.schedule_many([*requests, huge])
    assert list(await service.get_jobs()) == []
    answers = await asyncio.gather(
        *[service.schedule_many(asked) for asked in (requests, [huge], requests)],
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [list, StorageError, list]
    assert (await service.get_stats()).by_status["pending"] == 60
    await service.stop()


# -- how it is used ------------------------------------------------------------------------------


async def test_two_services_of_one_process_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    ran: list[str] = []

    def service(queue: str) -> JobService:
        service = JobService(FileJobStorage(folder), only=[queue], poll_interval=5)

        @service.handler("NAME_QUEUE")
        async def name_queue(job: Job[Any]) -> None:
            ran.append(job.queue)

        return service

    async with service("left") as first:
        async with service("right") as second:
            across = await first.schedule("NAME_QUEUE", queue="right")
            back = await second.schedule("NAME_QUEUE", queue="left")
            for job_id in (across, back):
                await first.result(job_id, timeout=2)
                await second.result(job_id, timeout=2)
        # One leaves; the other's locks and wake-ups stand.
        async with scheduling(folder) as producer:
            await producer.get_stats()
        await first.result(await first.schedule("NAME_QUEUE", queue="left"), timeout=2)
        assert len((await first.get_stats()).workers) == 1
    assert sorted(ran) == ["left", "left", "right"]
    assert sorted(os.listdir(folder)) == ["jobs.db", "jobs.lock", "store.json"]


async def test_two_services_share_a_storage_until_the_last_one_stops(tmp_path: Path) -> None:
    storage = FileJobStorage(tmp_path / "jobs")
    first, second = JobService(storage), JobService(storage)

    @second.handler("NAME_QUEUE")
    async def name_queue(job: Job[Any]) -> str:
        return job.queue

    first.declare("NAME_QUEUE")
    await second.start()
    await first.result(await first.schedule("NAME_QUEUE"), timeout=5)
    await first.stop()
    assert await second.result(await second.schedule("NAME_QUEUE"), timeout=5) == "default"
    await second.stop()
    with pytest.raises(StorageClosedError):
        await storage.stats(0)
    assert sorted(os.listdir(tmp_path / "jobs")) == ["jobs.db", "jobs.lock", "store.json"]


async def test_an_application_that_has_filled_the_executor_of_its_loop_is_served_all_the_same(
    tmp_path: Path,
) -> None:
    storage = FileJobStorage(tmp_path / "jobs")
    let_go = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        asyncio.get_running_loop().set_default_executor(executor)
        busy = asyncio.create_task(asyncio.to_thread(let_go.wait))
        try:
            async with asyncio.timeout(10):
                await storage.open()
                assert (await storage.stats(0)).workers == ()
                await storage.enlist(WorkerSpec("host:1", 30))
                assert len((await storage.stats(0)).workers) == 1
                await storage.close()
        finally:
            let_go.set()
            await busy


async def test_a_folder_with_a_long_path_works_with_its_wake_ups(family: Family) -> None:
    """Over the 108 bytes that the path of a socket may have."""
    long = Path(*["a-folder-with-quite-a-long-name"] * 12)
    (family.folder / long).mkdir(parents=True)
    (family.folder / "jobs").symlink_to(family.folder / long)
    assert len(str((family.folder / "jobs").resolve())) > 350
    family.ready(poll_interval=5)
    async with scheduling(family.folder / long, poll_interval=5) as service:
        job_id = await service.schedule("QUICK")
        await service.result(job_id, timeout=2.5)


async def test_deleted_jobs_are_gone_with_all_that_was_kept_with_them(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    service = JobService(FileJobStorage(folder))

    @service.handler("FAILS", retries=0)
    async def fails(job: Job[Any]) -> None:
        job.log.info("a line")
        raise RuntimeError("no")

    service.declare("QUICK")
    async with service:
        failed = await service.schedule("FAILS")
        await eventually_async(lambda: _has_ended(service, failed), "it has failed")
        waiting = await service.schedule("FAILS", delay=3600)
        await service.delete_job(failed)
        await service.delete_job(waiting)
        for job_id in (failed, waiting):
            with pytest.raises(JobNotFoundError):
                await service.get_job(job_id)
            with pytest.raises(JobNotFoundError):
                await service.delete_job(job_id)
    with closing(sqlite3.connect(folder / "jobs.db")) as connection:
        for table in ("job", "job_error", "job_log"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


async def test_a_job_that_runs_is_not_deleted(family: Family) -> None:
    family.ready()
    async with scheduling(family.jobs) as service:
        job_id = await service.schedule("GATE")
        await eventually_async(family.starts, "it runs")
        with pytest.raises(JobStateError, match="cancel it before you delete it"):
            await service.delete_job(job_id)
        family.gate()
        await service.result(job_id, timeout=10)
        await service.delete_job(job_id)


async def _has_ended(service: JobService, job_id: str) -> bool:
    return (await service.get_job_status(job_id)).terminal


async def test_a_worker_that_was_declared_dead_leaves_nothing_open(tmp_path: Path) -> None:
    """Neither in its own process, which lives on, nor in the folder."""
    clock = SettableClock()
    mine = FileJobStorage(tmp_path / "jobs", clock=clock)
    other = FileJobStorage(tmp_path / "jobs", clock=clock)
    await mine.open()
    await other.open()
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        await mine.enlist(WorkerSpec("host:1", 30))
        clock.advance(31)
        assert (await other.reclaim(clock.now())).workers == ("host:1",)
        await mine.reclaim(clock.now())
    assert len(os.listdir("/proc/self/fd")) == open_before
    assert list((tmp_path / "jobs").glob("*.starts")) == []
    await mine.close()
    await other.close()


async def test_who_does_not_wait_for_the_end_of_a_reclaim_leaves_nothing_of_the_dead(
    tmp_path: Path,
) -> None:
    """A worker that stops while it takes back the jobs of another one, right after the commit."""
    clock = SettableClock()
    storage = FileJobStorage(tmp_path / "jobs", clock=clock)
    await storage.open()
    await storage.enlist(WorkerSpec("host:1", 30))
    clock.advance(31)
    with closing(apsw.Connection(str(tmp_path / "jobs" / "jobs.db"))) as database:

        def gone_within(seconds: float) -> bool:
            """While the loop of this process stands still, so that nobody is answered."""
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                if not database.execute("SELECT 1 FROM worker").fetchall():
                    return True
            return False

        reclaim = asyncio.create_task(storage.reclaim(clock.now()))
        while not gone_within(0.2):
            await asyncio.sleep(0)
        assert reclaim.cancel(), "it was answered before"
    with pytest.raises(asyncio.CancelledError):
        await reclaim
    await storage.close()
    assert sorted(os.listdir(tmp_path / "jobs")) == ["jobs.db", "jobs.lock", "store.json"]
