"""What must be on the disk, and not only in the system's memory, before anybody is told of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest

from backroom import FileJobStorage, JobRequest, JobService, StorageError

LOG = "jobs.db-wal"


class Disk(apsw.VFS):
    """The system's files under SQLite, with a note of what is done with them."""

    def __init__(self) -> None:
        super().__init__("noting", "unix", makedefault=True)
        self.acts: list[tuple[str, str]] = []
        """"write" or "sync", and the name of the file."""
        self.unsynced: set[str] = set()
        self.failing_syncs = 0
        """So many syncs of the log still fail."""

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        return File(self, os.path.basename(path), name, flags)

    def wrote(self, file: str) -> None:
        self.acts.append(("write", file))
        self.unsynced.add(file)

    def syncs(self, file: str) -> None:
        self.acts.append(("sync", file))
        if file == LOG and self.failing_syncs:
            self.failing_syncs -= 1
            raise apsw.IOError("injected")
        self.unsynced.discard(file)


class File(apsw.VFSFile):
    def __init__(self, disk: Disk, file: str, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk, self._file = disk, file

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._disk.wrote(self._file)

    def xSync(self, flags: int) -> None:
        self._disk.syncs(self._file)
        super().xSync(flags)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.unregister()


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
    service = service_at(tmp_path)

    @service.handler("ECHO")
    async def echo(job: Any) -> int:
        return 1

    async with service:
        for _ in range(5):
            assert await service.result(await service.schedule("ECHO", {}), timeout=10) == 1
            assert not disk.unsynced


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


async def test_the_names_of_all_folders_that_are_made_for_a_store_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "storage" / "app" / "jobs"
    syncs = noted_syncs(folder, monkeypatch)
    service = service_at(folder)
    await service.schedule("QUICK")
    of_names = {sync.path for sync in syncs if "store.json" not in sync.names}
    assert of_names >= {tmp_path, tmp_path / "storage", tmp_path / "storage" / "app"}
    await service.stop()
