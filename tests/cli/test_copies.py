"""Backups of a store that is in use, and stores made from them."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import apsw
import pytest

from tests.cli.parts import Terminal, backroom
from tests.process.parts import Family, eventually_async, scheduling


async def test_a_backup_under_load_is_whole_and_of_one_moment(family: Family) -> None:
    worker = family.ready()
    async with scheduling(family.jobs) as service:
        ids: list[str] = []

        async def fill() -> None:
            while True:
                ids.append(await service.schedule("QUICK", {"text": "x" * 500}))

        filling = asyncio.create_task(fill())
        await eventually_async(lambda: len(ids) > 50, "jobs are there")
        before, file = list(ids), family.folder / "copy.db"
        shown = await asyncio.to_thread(
            backroom, "backup", str(file), "--storage", f"file:{family.jobs}", "--json"
        )
        assert shown.code == 0, shown.err
        filling.cancel()
        # The worker was not robbed, and goes on.
        assert await service.result(await service.schedule("QUICK"), timeout=30)
    assert worker.code is None
    copy = json.loads(shown.out)
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in family.folder.glob("copy.db*")) == ["copy.db"]
    with apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY) as connection:
        held = {job for (job,) in connection.execute("SELECT id FROM job")}
        keys = [key for (key,) in connection.execute("SELECT key FROM job ORDER BY key")]
    assert set(before) <= held
    assert len(held) == copy["jobs"]
    assert keys == list(range(1, len(keys) + 1))


async def test_a_restored_store_goes_on_and_its_active_jobs_come_back(family: Family) -> None:
    worker = family.ready()
    file = str(family.folder / "copy.db")
    async with scheduling(family.jobs) as service:
        running = await service.schedule("GATE", retries=3)
        later = await service.schedule("QUICK", delay=3600)
        await eventually_async(lambda: family.starts()[running] == 1, "it runs")
        assert backroom("backup", file, "--storage", f"file:{family.jobs}").code == 0
    worker.kill()

    url = f"file:{family.folder / 'new'}"
    shown = backroom("restore", file, "--storage", url)
    assert shown.code == 0, shown.err
    assert "2 jobs restored" in shown.out
    assert "of them active: 1; they come back as orphans" in shown.out
    assert (family.folder / "new").stat().st_mode & 0o777 == 0o700

    (family.folder / "new").rename(family.folder / "moved")
    family.jobs.rename(family.folder / "old")
    (family.folder / "moved").rename(family.jobs)
    family.gate()
    family.ready()
    async with scheduling(family.jobs) as service:
        assert await service.result(running, timeout=30)
        assert (await service.get_job(running)).crashes == 1
        assert await service.get_job_status(later) == "scheduled"


async def test_a_store_that_is_there_is_put_aside_under_those_who_have_it_open(
    tmp_path: Path,
) -> None:
    file, on = str(tmp_path / "copy.db"), ("--storage", f"file:{tmp_path / 'jobs'}")
    async with scheduling(tmp_path / "jobs") as service:
        kept = await service.schedule("QUICK")
        backroom("backup", file, *on)
        lost = await service.schedule("QUICK")
        refused = await asyncio.to_thread(backroom, "restore", file, *on)
        assert (refused.code, "--force" in refused.err) == (1, True)
        shown = await asyncio.to_thread(backroom, "restore", file, *on, "--force", "--json")
        assert shown.code == 0, shown.err
        fresh = await service.schedule("QUICK")
        assert {job.id for job in await service.get_jobs()} == {kept, fresh}
    with apsw.Connection(json.loads(shown.out)["aside"]) as connection:
        aside = {job for (job,) in connection.execute("SELECT id FROM job")}
    assert aside == {kept, lost}


async def test_nothing_is_restored_under_a_living_worker(family: Family) -> None:
    file, on = str(family.folder / "copy.db"), ("--storage", f"file:{family.jobs}")
    worker = family.ready()
    assert backroom("backup", file, *on).code == 0
    shown = backroom("restore", file, *on, "--force")
    assert (shown.code, "a worker runs on" in shown.err) == (1, True)
    worker.freeze(family.jobs)
    assert backroom("restore", file, *on, "--force").code == 1
    worker.signal(signal.SIGCONT)
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0
    assert backroom("restore", file, *on, "--force").code == 0


async def test_what_is_no_backup_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    on = ("--storage", f"file:{tmp_path / 'jobs'}")
    async with scheduling(tmp_path / "jobs") as service:
        await service.schedule("QUICK")
    good, bad = tmp_path / "good.db", tmp_path / "bad.db"
    backroom("backup", str(good), *on)
    (tmp_path / "text.db").write_text("no database" * 100)
    with apsw.Connection(str(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (x)")
    data = bytearray(good.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 4096] = b"\xff" * 4096
    bad.write_bytes(data)
    for name in ("text.db", "other.db", "bad.db", "none.db"):
        shown = backroom("restore", str(tmp_path / name), "--storage", f"file:{tmp_path / 'new'}")
        assert shown.code == 1, (name, shown)
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["backup", "{jobs}/copy.db"], 1, "in the store's own folder"),
        (["backup", "{tmp}/there.db"], 1, "is there already"),
        (["backup", "{tmp}/no/such/copy.db"], 1, "cannot be made: No such file or directory"),
        (["backup", "{tmp}/x.db", "--storage", "memory:"], 2, "only a file storage"),
    ],
)
async def test_a_backup_that_makes_no_sense_is_refused(
    tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    async with scheduling(tmp_path / "jobs") as service:
        await service.schedule("QUICK")
    (tmp_path / "there.db").write_text("mine")
    said = [text.format(tmp=tmp_path, jobs=tmp_path / "jobs") for text in arguments]
    shown = backroom(*said, BACKROOM_STORAGE=f"file:{tmp_path / 'jobs'}")
    assert (shown.code, says in shown.err) == (code, True), shown
    assert (tmp_path / "there.db").read_text() == "mine"


async def test_a_terminal_sees_a_backup_pass(tmp_path: Path) -> None:
    async with scheduling(tmp_path / "jobs") as service:
        await service.schedule("QUICK")
    on = ("--storage", f"file:{tmp_path / 'jobs'}")
    terminal = Terminal("backup", str(tmp_path / "copy.db"), *on)
    assert terminal.ends() == 0, terminal.text
    assert "1 job in" in terminal.text
