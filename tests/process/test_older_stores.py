"""A folder that an earlier Backroom wrote gets what it lacks, beside those who still use it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backroom.errors import StorageError
from backroom.job import JobStatus
from backroom.storage import FileJobStorage
from backroom.storage.backup import back_up, restore
from backroom.storage.sqlite import migrations, outcomes
from backroom.transition import Transition
from tests.contract.parts import Bench, SettableClock
from tests.contract.plans import Plans


async def opened(folder: Path) -> Bench:
    clock = SettableClock()
    storage = FileJobStorage(folder, clock=clock)
    await storage.open()
    return Bench(storage, clock)


async def opened_by_an_older_one(folder: Path, tables: int = 1) -> Bench:
    """By code that knows only the first tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:tables])
        return await opened(folder)


def tables(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "jobs.db")) as connection:
        rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        return {name for (name,) in rows}


async def test_a_store_of_the_first_version_gets_what_it_lacks_and_keeps_its_jobs(
    tmp_path: Path,
) -> None:
    old = await opened_by_an_older_one(tmp_path)
    job = await old.add()
    await old.storage.close()
    assert "schedule" not in tables(tmp_path)

    bench = await opened(tmp_path)
    plans = Plans(bench)
    assert await bench.status(job) == JobStatus.PENDING
    assert await plans.fire(plans.firing(await plans.put())) == [True]
    assert len(await plans.ticks()) == 1
    await bench.storage.close()


async def test_what_was_parked_in_it_is_found_by_who_knows_its_version(tmp_path: Path) -> None:
    old = await opened_by_an_older_one(tmp_path)
    worker = await old.enlist()
    jobs = {1: await old.add(), 2: await old.add(options='{"version":2}')}
    await old.finish(worker, *map(Transition.parked, await old.claim(worker)))
    await old.storage.close()

    bench = await opened(tmp_path)
    worker = await bench.enlist()
    for version, job in jobs.items():
        claims = await bench.claim(worker, types={"SEND_EMAIL": version})
        assert [claim.id for claim in claims] == [job]
    await bench.storage.close()


async def test_who_has_it_open_meanwhile_goes_on_and_an_older_one_may_still_come(
    tmp_path: Path,
) -> None:
    old = await opened_by_an_older_one(tmp_path)
    worker = await old.enlist()
    first = await old.add()
    bench = await opened(tmp_path)
    plans = Plans(bench)
    await plans.fire(plans.firing(await plans.put()))

    claims = await old.claim(worker)
    assert {claim.id for claim in claims} == {first, (await plans.ticks())[0].job}
    assert await old.finish(worker, *map(old.completed, claims)) == [True, True]
    await old.prune()
    again = await opened_by_an_older_one(tmp_path)
    assert await again.status(first) == JobStatus.COMPLETED
    for one in (old, bench, again):
        await one.storage.close()
    # What they did has changed nothing of what is newer than they are.
    plans = Plans(await opened(tmp_path))
    assert len(await plans.ticks()) == 1
    await plans.bench.storage.close()


async def test_its_jobs_are_counted_once_and_then_whatever_changes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by statements of one who knows nothing of counts, nor of when attempts began."""
    of_then = outcomes.FINISH_ERRORS.replace(", began)", ")").replace(", value->>5", "")
    monkeypatch.setattr(outcomes, "FINISH_ERRORS", of_then)
    old = await opened_by_an_older_one(tmp_path, migrations.MIGRATIONS.index("0010_counts"))
    worker = await old.enlist()
    await old.add_many(4, type="A")
    claims = await old.claim(worker)
    ends = [old.failed(claims[0]), old.retried(claims[1], 60), Transition.parked(claims[2])]
    await old.finish(worker, *ends, old.completed(claims[3]))
    await old.add_many(3, delay=3600)
    await old.add()
    await old.storage.close()

    bench = await opened(tmp_path)
    assert await bench.storage.miscounted() == []
    stats = await bench.storage.stats(bench.now)
    assert stats.by_status == {
        "scheduled": 4, "pending": 2, "blocked": 0, "active": 0, "completed": 1, "failed": 1,
        "cancelled": 0,
    }  # fmt: skip
    [failed], _ = await bench.page(status=JobStatus.FAILED)
    [error] = (await bench.info(failed)).errors
    assert (error.kind, error.started_at) == ("OSError", None)
    [group] = await bench.storage.failures(10)
    assert (group.type, group.kind, group.jobs) == ("A", "OSError", 1)
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as connection:
        for change in (
            "UPDATE job SET state = 4 WHERE state = 0 AND run_at > 1750000000000000",
            "UPDATE job SET state = 0, run_at = 5 WHERE state = 3",
            "UPDATE OR IGNORE job SET state = 3, queue = 'other' WHERE state = 2",
            "UPDATE job SET options = '{\"version\":3}' WHERE state = 6",
            "INSERT INTO job_error (job, attempt, at, kind, message)"
            " SELECT key, 1, 0, 'late', '' FROM job WHERE state = 3",
            "INSERT INTO job (id, type, queue, priority, state, run_at, created_at, data, token)"
            " VALUES ('x', 'B', 'q', 1, 5, 0, 0, '{}', 0)",
            "UPDATE job SET state = 1 WHERE state IN (0, 5)",
            "DELETE FROM job WHERE state IN (1, 4)",
        ):
            connection.execute(change)
            assert await bench.storage.miscounted() == [], change
    assert (await bench.storage.failures(10))[0].kind == "late"
    await bench.storage.close()


async def test_of_several_who_open_it_at_once_one_brings_it_forward(tmp_path: Path) -> None:
    old = await opened_by_an_older_one(tmp_path)
    await old.storage.close()
    benches = [Plans(one) for one in await asyncio.gather(*[opened(tmp_path) for _ in range(5)])]
    answers = await asyncio.gather(*[plans.put() for plans in benches])
    assert {answer.revision for answer in answers} == {1}
    for plans in benches:
        await plans.bench.storage.close()


async def test_what_cannot_be_brought_forward_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await opened_by_an_older_one(tmp_path)
    job = await old.add()
    await old.storage.close()
    before = tables(tmp_path)
    broken = (*migrations.MIGRATIONS, "no such file")
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", broken)
        with pytest.raises(StorageError):
            await opened(tmp_path)
    assert tables(tmp_path) == before
    bench = await opened(tmp_path)
    assert await bench.status(job) == JobStatus.PENDING
    assert "schedule" in tables(tmp_path)
    await bench.storage.close()


async def test_a_backup_of_an_older_store_is_one_of_this_one(tmp_path: Path) -> None:
    old = await opened_by_an_older_one(tmp_path / "old")
    job = await old.add()
    await old.storage.close()
    file = tmp_path / "jobs.backup"
    back_up(tmp_path / "old", file, replace=False, progress=lambda *_: None)
    restore(file, tmp_path / "new", replace=False, progress=lambda *_: None)
    bench = await opened(tmp_path / "new")
    assert await bench.status(job) == JobStatus.PENDING
    await Plans(bench).put()
    await bench.storage.close()
    back_up(tmp_path / "new", tmp_path / "second", replace=False, progress=lambda *_: None)
    restore(tmp_path / "second", tmp_path / "third", replace=False, progress=lambda *_: None)
    bench = await opened(tmp_path / "third")
    assert (await Plans(bench).kept()).revision == 1
    await bench.storage.close()
