"""What must be on the disk, and not only in the system's memory, before anybody is told of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest

from backroom import FileJobStorage, JobRequest, JobService, StorageError
from tests.process.parts import scheduling
from tests.process.watched_disk import Act, WatchedDisk, WatchedFile

LOG = "jobs.db-wal"


class Disk(WatchedDisk):
    """With a note of what is done with its files."""

    def __init__(self) -> None:
        super().__init__("noting")
        self.acts: list[tuple[Act, str]] = []
        """On the file of which name."""
        self.unsynced: set[str] = set()
        self.failing_syncs = 0
        """So many syncs of the log still fail."""

    def before(self, act: Act, path: Path, file: WatchedFile | None) -> None:
        if act == "sync":
            self.acts.append((act, path.name))
            if path.name == LOG and self.failing_syncs:
                self.failing_syncs -= 1
                raise apsw.IOError("injected")

    def after(self, act: Act, path: Path, file: WatchedFile) -> None:
        if act == "write":
            self.acts.append((act, path.name))
            self.unsynced.add(path.name)
        else:
            self.unsynced.discard(path.name)


class Witness(WatchedDisk):
    """Keeps copies of a folder as a process leaves it that is killed in the middle."""

    def __init__(self, copies: Path) -> None:
        super().__init__("witness")
        self.copies = copies
        self.wanted = ""
        """Of which act on which file: "write jobs.db"; once."""

    def before(self, act: Act, path: Path, file: WatchedFile | None) -> None:
        if act == "sync":
            self._copy(act, path)

    def after(self, act: Act, path: Path, file: WatchedFile) -> None:
        if act == "write":
            self._copy(act, path)

    def _copy(self, act: Act, path: Path) -> None:
        if self.wanted == f"{act} {path.name}":
            self.wanted = ""
            self.copies.mkdir()
            for name in ("jobs.db", "jobs.db-wal", "jobs.db-journal", "store.json"):
                if (path.parent / name).exists():
                    shutil.copy(path.parent / name, self.copies)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.unregister()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    witness = Witness(tmp_path / "left")
    yield witness
    witness.unregister()


class Sync(NamedTuple):
    path: Path
    names: list[str]
    """What was in the store's folder then."""


def noted_syncs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sync]:
    """What our own code, not SQLite, syncs from now on."""
    syncs: list[Sync] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        fsync(descriptor)
        names = sorted(os.listdir(folder)) if folder.exists() else []
        syncs.append(Sync(Path(f"/proc/self/fd/{descriptor}").readlink(), names))

    monkeypatch.setattr(os, "fsync", noting)
    return syncs


def service_at(folder: Path, **options: Any) -> JobService:
    service = JobService(FileJobStorage(folder, **options))
    service.declare("QUICK")
    return service


async def test_nothing_is_acknowledged_that_is_not_synced(disk: Disk, tmp_path: Path) -> None:
    service = service_at(tmp_path)
    left: dict[str, set[str]] = {}
    for turn in range(3):
        job_id = await service.schedule("QUICK")
        left[f"schedule {turn}"] = set(disk.unsynced)
        await service.schedule_many([JobRequest("QUICK")] * 300)
        left[f"schedule_many {turn}"] = set(disk.unsynced)
        await service.cancel_job(job_id)
        left[f"cancel_job {turn}"] = set(disk.unsynced)
        await service.retry_job(job_id)
        left[f"retry_job {turn}"] = set(disk.unsynced)
    await service.stop()
    assert [call for call, files in left.items() if files] == []
    assert disk.acts.count(("sync", LOG)) >= len(left)


async def test_no_outcome_is_told_that_is_not_synced(disk: Disk, tmp_path: Path) -> None:
    """What is written beside, of the worker's figures, may be on its way to the disk meanwhile."""
    service = service_at(tmp_path)
    before_outcome: list[int] = []

    @service.handler("ECHO")
    async def echo(job: Any) -> int:
        before_outcome.append(len(disk.acts))
        return 1

    async with service:
        for _ in range(5):
            assert await service.result(await service.schedule("ECHO", {}), timeout=10) == 1
            acts = disk.acts[before_outcome[-1] :]
            assert ("sync", LOG) in acts[acts.index(("write", LOG)) :]


async def test_who_asks_for_no_more_than_the_system_s_memory_waits_for_no_disk(
    disk: Disk, tmp_path: Path
) -> None:
    service = service_at(tmp_path, durability="os")
    await service.schedule("QUICK")
    disk.acts.clear()
    for _ in range(3):
        await service.schedule("QUICK")
    assert ("write", LOG) in disk.acts
    assert ("sync", LOG) not in disk.acts
    await service.stop()


async def test_a_log_whose_sync_failed_is_copied_before_more_is_written_to_it(
    disk: Disk, tmp_path: Path
) -> None:
    """Another process, here another storage, has the database open: so the log is still there
    when it is opened anew."""
    service, other = service_at(tmp_path), service_at(tmp_path)
    await other.schedule("QUICK")
    await service.schedule("QUICK")
    disk.failing_syncs = 1
    with pytest.raises(StorageError, match="calling again with the same"):
        await service.schedule("QUICK")
    disk.acts.clear()
    await service.schedule("QUICK")
    assert ("sync", "jobs.db") in disk.acts[: disk.acts.index(("write", LOG))]
    await service.stop()
    await other.stop()


async def test_the_names_of_a_new_store_are_synced_before_it_counts_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the marker on the disk before the database, a power cut would leave a store that is
    refused; were neither, it would be gone with all its jobs."""
    folder = tmp_path / "jobs"
    syncs = noted_syncs(folder, monkeypatch)
    service = service_at(folder)
    await service.schedule("QUICK")
    of_folder = [sync.names for sync in syncs if sync.path == folder]
    assert "jobs.db" in of_folder[0]
    assert "store.json" not in of_folder[0]
    assert "store.json" in of_folder[-1]
    marked = syncs.index(next(sync for sync in syncs if sync.path == folder / "store.json"))
    assert any(sync.path == folder for sync in syncs[marked:])
    assert any(sync.path == tmp_path for sync in syncs)
    await service.stop()


@pytest.mark.parametrize("there", ["", "storage", "storage/app", "storage/app/jobs"])
async def test_a_new_store_syncs_every_folder_that_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    (tmp_path / there).mkdir(parents=True, exist_ok=True)  # By somebody who synced nothing.
    folder = tmp_path / "storage" / "app" / "jobs"
    syncs = noted_syncs(folder, monkeypatch)
    async with scheduling(folder) as service:
        await service.schedule("QUICK")
    before_mark = {sync.path for sync in syncs if "store.json" not in sync.names}
    assert before_mark >= {folder, *folder.parents[:4]}


async def test_a_folder_does_not_say_that_it_holds_jobs_before_its_tables_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = noted_syncs(tmp_path, monkeypatch)
    service = JobService(FileJobStorage(tmp_path, durability="os"))
    await service.open()
    await service.stop()
    paths = [sync.path for sync in syncs]
    assert tmp_path / LOG in paths[: paths.index(tmp_path / "store.json")]


async def test_a_process_that_died_in_the_first_write_of_all_leaves_a_folder_that_works(
    tmp_path: Path, witness: Witness
) -> None:
    witness.wanted = "write jobs.db"
    async with scheduling(tmp_path / "jobs") as service:
        await service.open()
    assert {path.name for path in witness.copies.iterdir()} == {"jobs.db", "jobs.db-journal"}
    async with scheduling(witness.copies) as service:
        job_id = await service.schedule("QUICK")
        assert (await service.get_job(job_id)).id == job_id


async def test_what_a_dead_process_did_not_sync_is_synced_before_anybody_is_told_of_it(
    tmp_path: Path, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scheduling(tmp_path / "jobs") as service:
        await service.open()
        witness.wanted = "sync jobs.db-wal"
        await service.schedule("QUICK", unique_key="once")
    log = witness.copies / "jobs.db-wal"
    syncs = noted_syncs(witness.copies, monkeypatch)
    async with scheduling(witness.copies) as service:
        await service.open()
        assert [sync.path for sync in syncs] == [log, log.parent]
        [info] = await service.get_jobs()
        assert await service.schedule("QUICK", unique_key="once") == info.id
