"""What stands on the disk before anything is promised, and what a dead process left unsynced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from backroom import FileJobStorage, JobService
from tests.process.parts import scheduling


class Witness(apsw.VFS):
    """The system's files under SQLite; keeps copies of a folder as a process leaves it that is
    killed in the middle."""

    def __init__(self, copies: Path) -> None:
        super().__init__("witness", "unix", makedefault=True)
        self.copies = copies
        self.wanted = ""
        """Of which act on which file: "write jobs.db"; once."""

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        return WitnessedFile(self, Path(path), name, flags)

    def act(self, kind: str, path: Path) -> None:
        if self.wanted == f"{kind} {path.name}":
            self.wanted = ""
            self.copies.mkdir()
            for name in ("jobs.db", "jobs.db-wal", "jobs.db-journal", "store.json"):
                if (path.parent / name).exists():
                    shutil.copy(path.parent / name, self.copies)


class WitnessedFile(apsw.VFSFile):
    def __init__(self, witness: Witness, path: Path, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._witness, self._path = witness, path

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._witness.act("write", self._path)

    def xSync(self, flags: int) -> None:
        self._witness.act("sync", self._path)
        super().xSync(flags)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    witness = Witness(tmp_path / "left")
    yield witness
    witness.unregister()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of what was synced but by SQLite."""
    paths: list[str] = []
    plain = os.fsync

    def fsync(descriptor: int) -> None:
        paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


@pytest.mark.parametrize("there", ["", "storage", "storage/jobs"])
async def test_a_new_store_syncs_every_folder_that_leads_to_it(
    tmp_path: Path, synced: list[str], there: str
) -> None:
    (tmp_path / there).mkdir(parents=True, exist_ok=True)  # By somebody who synced nothing.
    folder = tmp_path / "storage" / "jobs"
    async with scheduling(folder) as service:
        await service.schedule("QUICK")
    before_mark = synced[: synced.index(str(folder / "store.json"))]
    assert {str(folder), str(folder.parent), str(tmp_path), str(tmp_path.parent)} <= set(
        before_mark
    )


async def test_a_folder_does_not_say_that_it_holds_jobs_before_its_tables_are_durable(
    tmp_path: Path, synced: list[str]
) -> None:
    service = JobService(FileJobStorage(tmp_path, durability="os"))
    await service.open()
    await service.stop()
    assert str(tmp_path / "jobs.db-wal") in synced[: synced.index(str(tmp_path / "store.json"))]


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
    tmp_path: Path, witness: Witness, synced: list[str]
) -> None:
    async with scheduling(tmp_path / "jobs") as service:
        await service.open()
        witness.wanted = "sync jobs.db-wal"
        await service.schedule("QUICK", unique_key="once")
    log = witness.copies / "jobs.db-wal"
    synced.clear()
    async with scheduling(witness.copies) as service:
        await service.open()
        assert synced == [str(log), str(log.parent)]
        [info] = await service.get_jobs()
        assert await service.schedule("QUICK", unique_key="once") == info.id
