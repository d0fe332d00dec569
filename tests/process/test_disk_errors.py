"""A disk that fails: the store stops there, is opened anew, and loses nothing it acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from backroom import FileJobStorage, Job, JobService, StorageError
from tests.contract.parts import Bench, SettableClock
from tests.process.watched_disk import Act, WatchedDisk, WatchedFile


class Disk(WatchedDisk):
    """With planned errors, and a note of what was done with a file after it had failed once."""

    def __init__(self) -> None:
        super().__init__("failing")
        self.plan: dict[str, int] = {}
        """By act: how many of them, on a log, still fail."""
        self.broken: set[WatchedFile] = set()
        """Open files an act on which has failed."""
        self.trusted: list[str] = []
        """Those of them that were written to after that, without being opened anew."""

    def before(self, act: Act, path: Path, file: WatchedFile | None) -> None:
        if not path.name.endswith("-wal"):
            return
        if act == "write" and file in self.broken:
            self.trusted.append(str(path))
        if self.plan.get(act):
            self.plan[act] -= 1
            if file is not None:
                self.broken.add(file)
            error = apsw.CantOpenError if act == "open" else apsw.IOError
            raise error(f"injected: {act}")


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.unregister()


def service_at(folder: Path, **settings: Any) -> JobService:
    service = JobService(FileJobStorage(folder), **settings)
    service.declare("QUICK")
    return service


@pytest.mark.parametrize("act", ["sync", "write"])
async def test_a_handle_that_failed_is_never_trusted_again(
    disk: Disk, tmp_path: Path, act: str
) -> None:
    service = service_at(tmp_path)
    kept = [await service.schedule("QUICK") for _ in range(3)]
    for _ in range(5):
        disk.plan = {act: 1}
        with pytest.raises(StorageError, match=r"failed .* calling again with the same"):
            await service.schedule("QUICK")
        assert disk.plan == {act: 0}
        kept.append(await service.schedule("QUICK"))
    found = {info.id for info in await service.get_jobs()}
    await service.stop()
    assert set(kept) <= found
    assert disk.trusted == []


async def test_callers_of_a_failed_group_are_all_told_and_later_ones_go_on(
    disk: Disk, tmp_path: Path
) -> None:
    service = service_at(tmp_path)
    await service.open()
    disk.plan = {"sync": 1}
    answers = await asyncio.gather(
        *[service.schedule("QUICK") for _ in range(200)], return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, StorageError)]
    kept = {answer for answer in answers if isinstance(answer, str)}
    assert refused
    assert len(refused) + len(kept) == 200
    found: set[str] = {await service.schedule("QUICK")}
    cursor = None
    while True:
        page = await service.get_jobs(cursor=cursor)
        found |= {info.id for info in page}
        cursor = page.cursor
        if cursor is None:
            break
    await service.stop()
    assert kept <= found
    assert disk.trusted == []


async def test_a_store_that_cannot_be_opened_anew_says_so_until_it_can(
    disk: Disk, tmp_path: Path
) -> None:
    service = service_at(tmp_path)
    job_id = await service.schedule("QUICK")
    disk.plan = {"sync": 1, "open": 3}
    with pytest.raises(StorageError):
        await service.schedule("QUICK")
    with pytest.raises(StorageError):
        await service.schedule("QUICK")
    disk.plan.clear()
    await service.schedule("QUICK")
    assert (await service.get_job(job_id)).id == job_id
    await service.stop()


async def test_a_worker_works_through_a_disk_that_fails_now_and_then(
    disk: Disk, tmp_path: Path
) -> None:
    service = service_at(tmp_path, concurrency=20)
    runs: list[str] = []

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        runs.append(job.id)
        if len(runs) % 40 == 0:
            disk.plan = {"sync": 1} if len(runs) % 80 else {"write": 1}

    kept: list[str] = []
    async with service:
        while len(kept) < 400:
            try:
                kept.append(await service.schedule("QUICK"))
            except StorageError:
                continue
        disk.plan.clear()
        for job_id in kept:
            await service.result(job_id, timeout=60)
    assert set(kept) <= set(runs)
    assert disk.trusted == []


async def test_outcomes_that_are_tried_apart_and_meet_an_error_of_the_disk_are_unknown(
    disk: Disk, tmp_path: Path
) -> None:
    """One of them cannot be written, so each is tried alone; the other one is not ended for
    what the disk does."""
    clock = SettableClock()
    bench = Bench(FileJobStorage(tmp_path, clock=clock), clock)
    await bench.storage.open()
    ids, worker = await bench.add_many(2), await bench.enlist()
    first, second = await bench.claim(worker)
    outcomes = bench.completed(first), bench.cancelled(second, reason="\ud800")
    disk.plan = {"sync": 1}
    with pytest.raises(StorageError, match=r"failed .* calling again with the same"):
        await bench.finish(worker, *outcomes)
    assert disk.plan == {"sync": 0}
    assert [await bench.status(job) for job in ids] == ["active", "active"]
    assert await bench.finish(worker, *outcomes) == [True, False]
    assert [await bench.status(job) for job in ids] == ["completed", "failed"]
    await bench.storage.close()
