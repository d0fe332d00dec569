"""Schedules that people look at, pause, resume, delete, and run now."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from backroom import JobService
from backroom.schedule import Firing, Tick
from backroom.timetable import planned
from tests.cli.parts import backroom
from tests.process.parts import scheduling

APP = """
from backroom import Cron, JobService

service = JobService("file:jobs")


@service.handler("QUICK", cron=Cron("0 9 * * MON", tz="Europe/Paris"))
async def quick(job):
    pass
"""


class Place:
    """A store, and a service of this process that schedules there."""

    def __init__(self, service: JobService, folder: Path) -> None:
        self.service = service
        self.folder = folder
        self.on = ("--storage", f"file:{folder / 'jobs'}")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with scheduling(tmp_path / "jobs") as service:
        await service.open()
        yield Place(service, tmp_path)


async def test_schedules_are_listed_with_what_they_say_and_when_they_run(place: Place) -> None:
    assert backroom("schedules", "list", *place.on) == (0, "there are no schedules\n", "")
    await place.service.cron("0 9 * * MON-FRI", "QUICK", name="digest", tz="Europe/Paris")
    await place.service.every(90, "QUICK", name="poll")
    await place.service.pause_schedule("poll")
    shown = backroom("schedules", "list", *place.on)
    heading, digest, poll = shown.out.splitlines()
    assert heading.split() == ["name", "type", "when", "next", "run", "last", "run"]
    info = await place.service.get_schedule("digest")
    assert digest.startswith("digest ")
    assert info.text in digest
    assert info.next_runs[0].strftime("%Y-%m-%d 09:00:00 CE") in digest
    assert poll.startswith("poll (paused)")
    assert "every 90 seconds" in poll
    found = json.loads(backroom("schedules", "list", "--json", *place.on).out)
    assert [one["name"] for one in found] == ["digest", "poll"]
    assert found[0]["next_runs"][0] == info.next_runs[0].isoformat()
    assert found[1]["paused"]
    assert found[1]["next_runs"] == []


async def test_one_schedule_is_shown_with_its_ticks(place: Place) -> None:
    await place.service.every(60, "QUICK", {"a": 1}, name="poll", jitter=5, tags=["t"])
    planning = planned(place.service.storage)
    record = await planning.schedule("poll")
    assert record is not None
    assert record.next_at is not None
    at = record.next_at
    usual = Tick(schedule="poll", at=at, until=at, outcome="paused", decided_at=at)
    later = msgspec.structs.replace(
        usual, at=at + 60_000_000, until=at + 180_000_000, count=3, outcome="missed"
    )
    firing = Firing(
        schedule="poll", revision=record.revision, expected=at, next_at=at + 240_000_000,
        ticks=(usual, later),
    )  # fmt: skip
    assert await planning.fire([firing], at) == [True]
    shown = backroom("schedules", "show", "poll", "--limit", "1", *place.on)
    for text in ("every 60 seconds"[:5], "5 s", '{"a":1}', '{"tags":["t"]}', "made by a call"):
        assert text in shown.out
    line = next(line for line in shown.out.splitlines() if "3 ticks" in line)
    assert line.endswith("missed")
    assert shown.out.splitlines()[-1] == f"more: --cursor {later.at}"
    answer = json.loads(
        backroom("schedules", "show", "poll", "--cursor", f"{later.at}", "--json", *place.on).out
    )
    assert answer["schedule"]["name"] == "poll"
    assert [tick["outcome"] for tick in answer["ticks"]] == ["paused"]
    assert answer["cursor"] is None


async def test_one_is_changed(place: Place) -> None:
    place.service.declare("POLL")
    await place.service.every(60, "POLL", name="poll")
    shown = backroom("schedules", "change", "poll", "--cron", "0 7 * * *", "--tz", "Europe/Paris",
                     "--overlap", "skip", *place.on)  # fmt: skip
    assert shown.code == 0
    assert "At 07:00" in shown.out or "07:00" in shown.out
    info = await place.service.get_schedule("poll")
    assert (info.rule, info.tz, info.overlap) == ("0 7 * * *", "Europe/Paris", "skip")
    wrong = backroom("schedules", "change", "poll", "--cron", "0 77 * * *", *place.on)
    assert wrong.code != 0
    assert "hour" in wrong.err
    assert backroom("schedules", "change", "poll", *place.on).code != 0
    assert (await place.service.get_schedule("poll")) == info


async def test_they_are_paused_resumed_run_and_deleted(place: Place) -> None:
    await place.service.every(3600, "QUICK", name="a")
    await place.service.every(3600, "QUICK", name="b")
    shown = backroom("schedules", "pause", "a", "nobody", "b", *place.on)
    assert shown.code == 1
    assert shown.out.splitlines() == [
        "a  paused", "nobody  error: no schedule is called 'nobody'", "b  paused",
    ]  # fmt: skip
    assert all(info.paused for info in await place.service.get_schedules())
    shown = backroom("schedules", "resume", "a", "--json", *place.on)
    assert json.loads(shown.out) == {"a": "resumed"}
    job_id = backroom("schedules", "run", "b", *place.on).out.strip()
    job = await place.service.get_job(job_id)
    assert job.metadata == {"schedule": "b"}
    assert backroom("schedules", "delete", "a", "b", *place.on).out == "a  deleted\nb  deleted\n"
    assert await place.service.get_schedules() == []
    shown = backroom("schedules", "run", "b", *place.on)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err == "Error: no schedule is called 'b'\n"


async def test_what_the_application_knows_no_more_is_marked(place: Place) -> None:
    (place.folder / "app.py").write_text(APP)
    old = JobService(place.service.storage)
    old.handler("OLD", every=60)(lambda job: None)
    await old._put_declared()
    shown = backroom("schedules", "list", "--app", "app:service", cwd=place.folder)
    assert "OLD (orphaned)" in shown.out
    assert "orphaned" not in backroom("schedules", "list", *place.on).out
    [found] = json.loads(
        backroom("schedules", "list", "--json", "--app", "app:service", cwd=place.folder).out
    )
    assert (found["origin"], found["orphaned"]) == ("code", True)
