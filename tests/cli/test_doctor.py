"""What the doctor finds."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import apsw
import pytest

from backroom.cli import stranded
from backroom.cli.diagnosis import diagnose
from backroom.cli.target import service_of
from backroom.ports import WorkerSpec
from tests.cli.parts import Terminal, backroom
from tests.process.parts import Family, eventually_async, scheduling


@pytest.fixture
async def jobs(tmp_path: Path) -> Path:
    """A store with no job in it."""
    async with scheduling(tmp_path / "jobs") as service:
        await service.delete_job(await service.schedule("QUICK"))
    return tmp_path / "jobs"


def examine(jobs: Path, code: int = 0) -> dict[str, dict[str, Any]]:
    """The findings, by what was looked at; the worst of each."""
    shown = backroom("doctor", "--json", "--storage", f"file:{jobs}")
    assert shown.code == code, shown
    worst: dict[str, dict[str, Any]] = {}
    for finding in json.loads(shown.out):
        if finding["check"] not in worst or finding["level"] != "ok":
            worst[finding["check"]] = finding
        assert (finding["level"] == "ok") == (finding["mend"] == "")
    return worst


def change(jobs: Path, *statements: str) -> None:
    with apsw.Connection(str(jobs / "jobs.db")) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_sound_store_has_nothing_but_what_is_well(jobs: Path) -> None:
    found = examine(jobs)
    assert {finding["level"] for finding in found.values()} == {"ok"}
    looks = "storage clock counts places types waiting sqlite permissions disk schema workers"
    assert set(found) == set(looks.split())


def test_numbers_that_are_wrong_are_told_and_made_anew(jobs: Path) -> None:
    change(jobs, "INSERT INTO tally VALUES ('default', 3, 7)"
           " ON CONFLICT DO UPDATE SET jobs = jobs + 7")  # fmt: skip
    found = examine(jobs)["counts"]
    assert found["level"] == "warning"
    assert "tally default 3: 7 counted, 0 there" in found["says"]
    assert "--recount" in found["mend"]
    shown = backroom("doctor", "--recount", "--json", "--storage", f"file:{jobs}")
    assert shown.code == 0, shown
    assert examine(jobs)["counts"]["level"] == "ok"


async def test_jobs_that_have_lost_their_place_are_told_and_run_once_they_are_put_back(
    family: Family,
) -> None:
    async with scheduling(family.jobs) as service:
        ids = [await service.schedule("QUICK") for _ in range(4)]
        change(family.jobs, "UPDATE job SET state = 5")
        found = examine(family.jobs, 1)["places"]
        assert found["level"] == "error"
        assert "4 jobs that nobody would ever run" in found["says"]
        assert f"{ids[0]}, {ids[1]}, {ids[2]} and 1 more" in found["says"]
        assert "--requeue" in found["mend"]
        family.ready()

        shown = backroom("doctor", "--requeue", "--json", "--storage", f"file:{family.jobs}")

        assert shown.code == 0, shown
        for job_id in ids:
            await service.result(job_id, timeout=20)
        [action] = await service.get_actions()
        assert (action.verb, action.outcome, action.changed) == ("requeue", "done", 4)


def test_a_look_for_lost_jobs_that_takes_too_long_says_how_far_it_came(
    jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(jobs, "DELETE FROM queue", *[
        "INSERT INTO job (id, type, queue, priority, state, run_at, created_at, data, token)"
        f" VALUES ('{n}', 'QUICK', 'default', 2, 5, 0, 0, '{{}}', 1)" for n in range(5)
    ], "INSERT INTO blocked (job, name, key, slots, queue, priority, run_at)"
       " SELECT key, 'l', '', 1, queue, priority, run_at FROM job")  # fmt: skip
    monkeypatch.setattr(stranded, "WITHIN", 0.0)
    monkeypatch.setattr(stranded, "AT_ONCE", 2)
    service = service_of(None, f"file:{jobs}")
    [found] = [one for one in diagnose(service) if one.check == "places"]
    assert found.level == "warning"
    assert "of the first 2 jobs" in found.says


def test_people_see_lines_with_colours_on_a_terminal_only(jobs: Path) -> None:
    shown = backroom("doctor", "--storage", f"file:{jobs}")
    assert shown.code == 0
    assert "ok       schema       version 1" in shown.out
    assert "\x1b" not in shown.out
    terminal = Terminal("doctor", "--storage", f"file:{jobs}")
    assert terminal.ends() == 0
    assert b"\x1b[32mok" in terminal._seen


def test_a_store_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    found = examine(tmp_path / "none", 1)
    assert "there is no job store" in found["storage"]["says"]
    assert not (tmp_path / "none").exists()


def test_a_damaged_store_is_an_error(jobs: Path) -> None:
    (jobs / "jobs.db").write_bytes(b"rubbish" * 1000)
    assert "is damaged" in examine(jobs, 1)["storage"]["says"]


def test_a_store_of_a_newer_version_is_an_error(jobs: Path) -> None:
    change(jobs, "PRAGMA user_version = 99")
    found = examine(jobs, 1)
    assert found["schema"]["level"] == "error"
    assert "upgrade" in found["schema"]["mend"]


def test_files_that_others_may_read_are_found(jobs: Path) -> None:
    (jobs / "jobs.db").chmod(0o644)
    found = examine(jobs)["permissions"]
    assert found["level"] == "warning"
    assert found["mend"] == f"chmod 600 {jobs / 'jobs.db'}"


async def test_jobs_that_nobody_runs_are_found(jobs: Path) -> None:
    async with scheduling(jobs) as service:
        await service.schedule("QUICK")
        await service.schedule("QUICK", queue="mail")
        await service.pause_queue("mail")
    found = examine(jobs)
    assert "no worker runs" in found["waiting"]["says"]
    assert found["queues"]["mend"] == "backroom queues resume mail"


async def test_jobs_of_a_paused_queue_are_due_nowhere_else(jobs: Path) -> None:
    async with scheduling(jobs) as service:
        await service.schedule("QUICK", queue="mail")
        await service.pause_queue("mail")
    found = examine(jobs)
    assert found["queues"]["says"] == "mail is paused; 1 job due there"
    assert found["waiting"]["says"] == "no job is due in the queues that run; workers: 0"


async def test_that_all_workers_drain_is_found_where_jobs_wait(jobs: Path) -> None:
    async with scheduling(jobs) as service:
        await service.open()
        worker = (await service.storage.enlist(WorkerSpec("host:1", 60))).worker
        await service.drain_worker(worker)
        assert examine(jobs)["waiting"]["says"] == "no job is due; workers: 1"
        await service.schedule("QUICK")
        found = examine(jobs)["waiting"]
        assert found["level"] == "warning"
        assert "all workers drain" in found["says"]
        assert "backroom workers resume ID" in found["mend"]
        assert ", drains" in backroom("stats", "--storage", f"file:{jobs}").out
        await service.drain_worker(worker, False)
        assert examine(jobs)["waiting"]["says"] == "1 job due; workers: 1"


def test_jobs_from_the_future_and_of_unknown_types_are_found(jobs: Path) -> None:
    change(
        jobs,
        "INSERT INTO job (id, type, queue, priority, state, run_at, created_at, data, token)"
        " VALUES ('x', 'ODD', 'default', 2, 6, 0, 9000000000000000, '{}', 1)",
    )
    found = examine(jobs)
    assert found["clock"]["level"] == "warning"
    assert "1 job of type ODD parked" in found["types"]["says"]


def test_data_that_is_newer_than_every_worker_is_found(jobs: Path) -> None:
    change(
        jobs,
        "INSERT INTO job (id, type, queue, priority, state, run_at, created_at, data, token,"
        " options)"
        """ VALUES ('x', 'ODD', 'default', 2, 6, 0, 0, '{}', 1, '{"version":2}')""",
    )
    assert "1 job of type ODD (version 2) parked" in examine(jobs)["types"]["says"]
    storage = f"file:{jobs}"
    shown = backroom("jobs", "show", "x", "--storage", storage)
    assert "version     2 of its data" in shown.out
    assert "(no worker knows its type, or version 2 of its data)" in shown.out
    assert (
        json.loads(backroom("jobs", "show", "x", "--storage", storage, "--json").out)["version"]
        == 2
    )
    assert "1 jobs of type ODD (version 2) wait" in backroom("stats", "--storage", storage).out
    stats = json.loads(backroom("stats", "--storage", storage, "--json").out)
    assert stats["parked"] == [{"type": "ODD", "version": 2, "jobs": 1}]


async def test_living_and_dead_workers_are_told_apart(family: Family) -> None:
    living = family.ready()
    found = examine(family.jobs)
    assert found["workers"]["says"] == "1 enlisted, all alive"
    assert found["waiting"]["level"] == "ok"
    async with scheduling(family.jobs) as service:
        job_id = await service.schedule("GATE")
        await eventually_async(lambda: family.starts()[job_id] == 1, "it runs")
    living.kill()
    found = examine(family.jobs)
    assert f":{living.pid}" in found["workers"]["says"]
    assert found["workers"]["level"] == "warning"
    assert found["waiting"]["says"] == "no job is due; workers: 0"
    assert "no worker is running" in backroom("stats", "--storage", f"file:{family.jobs}").out


@pytest.mark.slow
def test_a_store_whose_turn_to_write_never_comes_is_an_error(jobs: Path) -> None:
    with (jobs / "jobs.lock").open("r+b") as locks:
        fcntl.lockf(locks, fcntl.LOCK_EX, 1, 0)
        found = examine(jobs, 1)
    assert "does not answer within 10 s" in found["storage"]["says"]
