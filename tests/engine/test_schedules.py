"""Schedules as users see them: made, declared beside handlers, fired, paused, looked up."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from backroom import (
    ConfigurationError,
    Cron,
    DuplicateJobError,
    Job,
    JobRegistry,
    JobService,
    JobType,
    JobTypeError,
    OptionError,
    Schedule,
    ScheduleNotFoundError,
    Unique,
    UnknownJobTypeError,
)
from backroom.job import SECOND
from backroom.schedule import ScheduleRecord
from tests.engine.world import World
from tests.virtual import WALL

HOUR = 3600.0


@dataclass
class Digest:
    team: str = "all"


DIGEST = JobType("DIGEST", Digest, retries=1)


class Ran:
    """When which jobs ran, in seconds since the test began."""

    def __init__(self, world: World, takes: float = 0.0) -> None:
        self.world = world
        self.takes = takes
        self.jobs: list[Job[Any]] = []
        self.at: list[float] = []

    async def __call__(self, job: Job[Any]) -> None:
        self.jobs.append(job)
        self.at.append(self.world.elapsed)
        await asyncio.sleep(self.takes)

    @property
    def ticks(self) -> list[str]:
        return [job.metadata["tick"] for job in self.jobs]


def serving(world: World, takes: float = 0.0, **settings: Any) -> tuple[JobService, Ran]:
    service, ran = world.service(**settings), Ran(world, takes)
    service.register_handler(DIGEST, ran)
    return service, ran


async def became(service: JobService, name: str = "DIGEST") -> list[tuple[str, int]]:
    """Oldest first."""
    page = await service.get_ticks(name)
    return [(tick.outcome, tick.count) for tick in reversed(page)]


# -- made by a call -----------------------------------------------------------------------------


async def test_a_cron_schedule_fires_a_job_at_each_tick(world: World) -> None:
    service, ran = serving(world, poll_interval=60)
    await service.start()
    info = await service.cron(
        "*/20 * * * *", DIGEST, Digest("sales"), name="digest", tz="Europe/Paris",
        queue="mail", tags=["daily"], expires_in=600,
    )  # fmt: skip
    assert (info.name, info.type, info.rule, info.tz) == (
        "digest", "DIGEST", "*/20 * * * *", "Europe/Paris",
    )  # fmt: skip
    assert info.text == Cron("*/20 * * * *", "Europe/Paris").explain()
    assert info.next_runs[0] == WALL + timedelta(minutes=20)
    assert info.next_runs[0].tzinfo == ZoneInfo("Europe/Paris")
    assert len(info.next_runs) == 5
    await asyncio.sleep(HOUR + 1)
    assert ran.at == [1200, 2400, 3600]
    assert ran.ticks == ["2026-03-01T12:20:00Z", "2026-03-01T12:40:00Z", "2026-03-01T13:00:00Z"]
    assert [job.data for job in ran.jobs] == [Digest("sales")] * 3
    job = await service.get_job(ran.jobs[-1].id)
    assert (job.queue, job.tags, job.metadata["schedule"]) == ("mail", ("daily",), "digest")
    assert job.expires_at == WALL + timedelta(hours=1, seconds=600)
    info = await service.get_schedule("digest")
    assert (info.last_at, info.last_job) == (WALL + timedelta(hours=1), job.id)


async def test_an_interval_keeps_its_rhythm_over_restarts_and_being_said_again(
    world: World,
) -> None:
    service, ran = serving(world)
    await service.start()
    await service.every(timedelta(minutes=5), DIGEST, Digest())
    await asyncio.sleep(7 * 60)
    await service.stop()
    await asyncio.sleep(60)
    await service.start()
    await service.every(300, DIGEST, Digest())
    await asyncio.sleep(7 * 60 + 1)
    assert ran.at == [300, 600, 900]
    await service.every(300, DIGEST, Digest("sales"))  # What it does changes, not when.
    await asyncio.sleep(300)
    assert ran.at == [300, 600, 900, 1200]
    assert [job.data.team for job in ran.jobs] == ["all", "all", "all", "sales"]


async def test_a_process_that_only_schedules_makes_them_for_others(world: World) -> None:
    service, ran = serving(world)
    web = world.service()
    await service.start()
    await asyncio.sleep(0.5)
    web.declare("DIGEST")
    await web.every(10, "DIGEST", {"team": "web"})
    await asyncio.sleep(11)
    assert ran.at == [10.5]
    assert ran.jobs[0].data == Digest("web")


async def test_who_says_something_else_changes_it(world: World) -> None:
    service, ran = serving(world)
    await service.start()
    await service.cron("0 * * * *", DIGEST, Digest())
    await service.cron("30 * * * *", DIGEST, Digest())
    await asyncio.sleep(HOUR)
    assert ran.at == [1800]
    assert [info.rule for info in await service.get_schedules()] == ["30 * * * *"]


SENSELESS: list[tuple[type[Exception], str, str, Any, dict[str, Any]]] = [
    (ConfigurationError, "minute", "cron", "61 * * * *", {}),
    (ConfigurationError, "Mars", "cron", "0 9 * * *", {"tz": "Mars"}),
    (OptionError, "never comes", "cron", "0 0 30 2 *", {}),
    (OptionError, "say the zone in the Cron", "cron", Cron("@daily"), {"tz": "UTC"}),
    (OptionError, "at least 1 second", "every", 0.5, {}),
    (OptionError, "every must be", "every", -1, {}),
    (OptionError, "seconds or a timedelta", "every", "5m", {}),
    (OptionError, "a Cron goes to cron", "every", Cron("@daily"), {}),
    (OptionError, "missed must be one of skip, run_once", "every", 5, {"missed": "all"}),
    (OptionError, "overlap must be one of allow, skip", "every", 5, {"overlap": "no"}),
    (OptionError, "jitter", "every", 5, {"jitter": -1}),
    (OptionError, "no option 'delay'", "every", 5, {"delay": 5}),
    (OptionError, "did you mean 'queue'", "every", 5, {"queu": "x"}),
    (OptionError, "priority", "every", 5, {"priority": "urgent"}),
    (OptionError, "a schedule needs a name", "every", 5, {"name": ""}),
    (OptionError, "data stands behind the type", "every", 5, {"data": Digest()}),
]


@pytest.mark.parametrize(("kind", "text", "verb", "rule", "said"), SENSELESS)
async def test_what_makes_no_sense_is_refused_and_nothing_is_kept(
    world: World, kind: type[Exception], text: str, verb: str, rule: Any, said: dict[str, Any]
) -> None:
    service, _ = serving(world)
    with pytest.raises(kind, match=text):
        await getattr(service, verb)(rule, DIGEST, Digest(), **said)
    assert await service.get_schedules() == []


async def test_data_that_does_not_fit_is_refused_as_for_one_job(world: World) -> None:
    service, _ = serving(world)
    with pytest.raises(JobTypeError, match=r"\$.team"):
        await service.every(5, DIGEST, {"team": 5})  # type: ignore[arg-type]
    with pytest.raises(UnknownJobTypeError, match="NOBODY"):
        await service.every(5, "NOBODY")
    assert await service.get_schedules() == []


# -- declared beside a handler ------------------------------------------------------------------


async def test_schedules_stand_beside_handlers_and_begin_with_the_first_start(world: World) -> None:
    service, ran = world.service(), Ran(world)
    service.handler(DIGEST, cron=Cron("30 * * * *"), timeout=60)(ran)

    @service.task(every=600)
    async def tidy(days: int = 7) -> None:
        await ran(None)  # type: ignore[arg-type]

    assert await service.get_schedules() == []  # It only schedules, so far.
    await service.start()
    found = {info.name: info for info in await service.get_schedules()}
    assert found["DIGEST"].origin == "code"
    assert found["DIGEST"].data == {}
    assert found[tidy.type.name].text == "every 10 minutes"
    await asyncio.sleep(HOUR + 1)
    assert ran.at == [600, 1200, 1800, 1800, 2400, 3000, 3600]


async def test_several_schedules_of_one_handler_have_names_and_data(world: World) -> None:
    service, ran = world.service(), Ran(world)
    service.register_handler(
        DIGEST,
        ran,
        schedules=[
            Schedule(Cron("0 9 * * *"), data=Digest("sales"), name="sales"),
            Schedule(timedelta(hours=1), data=Digest("support"), name="support", overlap="skip"),
        ],
    )
    await service.start()
    sales, support = await service.get_schedules()
    assert (sales.name, sales.data) == ("sales", {"team": "sales"})
    assert (support.name, support.overlap) == ("support", "skip")


async def test_ten_services_may_declare_the_same(world: World) -> None:
    services = []
    ran = Ran(world)
    for _ in range(10):
        service = world.service(poll_interval=60)
        service.handler(DIGEST, every=60)(ran)
        services.append(service)
    await asyncio.gather(*(service.start() for service in services))
    [record] = await world.storage.schedules()
    assert record.revision == record.created_at
    await asyncio.sleep(601)
    assert len(ran.jobs) == 10
    assert await became(world.viewer) == [("fired", 1)] * 10


async def test_what_stands_in_the_code_no_more_is_orphaned_and_goes_on(world: World) -> None:
    before = world.service()
    before.handler(DIGEST, every=60)(Ran(world))
    await before.start()
    await before.stop()

    after, ran = serving(world)
    await after.start()
    [info] = await after.get_schedules()
    assert info.orphaned
    assert not (await world.viewer.get_schedule("DIGEST")).orphaned  # It knows no code at all.
    await asyncio.sleep(61)
    assert len(ran.jobs) == 1
    await after.every(60, DIGEST, Digest())
    assert not (await after.get_schedule("DIGEST")).orphaned
    await after.delete_schedule("DIGEST")
    assert await after.get_schedules() == []


async def test_a_registry_brings_its_schedules(world: World) -> None:
    registry, ran = JobRegistry(), Ran(world)
    registry.handler(DIGEST, every=60)(ran)
    service, other = world.service(), JobRegistry()
    service.include(registry)
    other.handler(JobType("OTHER", dict), schedules=[Schedule(5, name="DIGEST")])(ran)
    with pytest.raises(ConfigurationError, match="'DIGEST' already"):
        service.include(other)
    await service.start()
    await asyncio.sleep(61)
    assert len(ran.jobs) == 1


async def test_what_stands_beside_a_handler_is_checked_where_it_stands(world: World) -> None:
    service, ran = world.service(), Ran(world)

    @dataclass
    class Needs:
        team: str

    needs = JobType("NEEDS", Needs)
    refusals: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (JobTypeError, "team", {"every": 5}),
        (ConfigurationError, "cron must be a Cron", {"cron": "0 9 * * *"}),
        (ConfigurationError, "list of Schedules", {"schedules": Schedule(5)}),
        (ConfigurationError, "list of Schedules", {"schedules": [5]}),
        (ConfigurationError, "'NEEDS' already", {"schedules": [Schedule(5, data=Needs("a"))] * 2}),
        (OptionError, "at least 1 second", {"every": 0}),
    ]
    for kind, text, options in refusals:
        with pytest.raises(kind, match=text):
            service.register_handler(needs, ran, **options)
        assert "NEEDS" not in service.handled_types
    with pytest.raises(OptionError, match="priority"):
        service.handler(needs, schedules=[Schedule(5, data=Needs("a"), priority="urgent")])  # type: ignore[arg-type]
    service.register_handler(needs, ran, schedules=[Schedule(5, data=Needs("a"))])


# -- looked up and steered ----------------------------------------------------------------------


async def test_a_pause_leaves_its_ticks_written_down_and_nothing_fired(world: World) -> None:
    service, ran = serving(world)
    await service.start()
    await service.every(60, DIGEST, Digest())
    await asyncio.sleep(61)
    info = await service.pause_schedule("DIGEST")
    assert (info.paused, info.next_runs) == (True, ())
    assert (await service.pause_schedule("DIGEST")).paused
    await asyncio.sleep(300)
    assert await became(service) == [("fired", 1)]
    info = await service.resume_schedule("DIGEST")
    assert not info.paused
    assert info.next_runs[0] == WALL + timedelta(minutes=7)
    await service.resume_schedule("DIGEST")
    await asyncio.sleep(60)
    assert await became(service) == [("fired", 1), ("paused", 5), ("fired", 1)]
    assert ran.at == [60, 420]


async def test_a_change_in_between_does_not_go_with_a_pause_or_its_end(world: World) -> None:
    """What is decided of a record is not done to another one."""
    service, _ = serving(world)
    await service.cron("0 * * * *", DIGEST, Digest())
    await service.pause_schedule("DIGEST")
    await asyncio.sleep(3 * HOUR)
    record = await world.storage.schedule("DIGEST")
    assert record is not None
    stale = world.service(world.faults.store)
    stale.declare(DIGEST)
    answer = world.faults.keep_back("schedule")
    resuming = asyncio.create_task(stale.resume_schedule("DIGEST"))
    await answer.applied.wait()
    await service.cron("45 * * * *", DIGEST, Digest())
    answer.send()
    info = await resuming
    assert info.next_runs[0] == WALL + timedelta(hours=3, minutes=45)


@pytest.mark.parametrize("overlap", ["allow", "skip", "queue"])
async def test_a_tick_is_of_the_job_that_has_the_key_of_its_type(
    world: World, overlap: Any
) -> None:
    """What the type says counts for whatever makes its jobs: a call, or a schedule."""
    service = world.service()
    sync = JobType("SYNC", Digest, unique=Unique(by="data.team", until="start"))
    ran = Ran(world)
    service.register_handler(sync, ran)
    await service.pause_queue("default")
    await service.start()
    schedule = await service.every(60, sync, Digest("sales"), overlap=overlap)
    assert schedule.options == {"unique": {"key": 'team="sales"', "until": 0}}
    await asyncio.sleep(200)
    [waiting] = await service.get_jobs()
    assert waiting.unique_key == 'team="sales"'
    assert await service.schedule(sync, Digest("sales")) == waiting.id
    assert await service.run_schedule("SYNC") == waiting.id
    ticks = await service.get_ticks("SYNC")
    assert len(ticks) == (1 if overlap == "queue" else 3)
    assert {tick.job for tick in ticks if tick.outcome == "fired"} == {waiting.id}
    await service.resume_queue("default")
    await asyncio.sleep(60)
    assert len(ran.jobs) == (3 if overlap == "queue" else 2)  # One had waited for it.
    assert ran.jobs[0].id == waiting.id
    await service.stop()


async def test_who_runs_a_schedule_is_told_that_its_key_is_held(world: World) -> None:
    service = world.service()
    sync = JobType("SYNC", Digest, unique=Unique(by="type", period=3600, on_conflict="raise"))
    ran = Ran(world)
    service.register_handler(sync, ran, every=60)
    await service.start()
    job_id = await service.run_schedule("SYNC")
    with pytest.raises(DuplicateJobError) as refused:
        await service.run_schedule("SYNC")
    assert refused.value.job_id == job_id
    await asyncio.sleep(130)  # A tick has nobody to tell.
    assert [job.id for job in ran.jobs] == [job_id]
    assert {tick.job for tick in await service.get_ticks("SYNC")} == {job_id}
    assert [tick.outcome for tick in await service.get_ticks("SYNC")] == ["fired"] * 2
    await asyncio.sleep(3600)
    assert len(ran.jobs) == 2
    await service.stop()


async def test_a_schedule_is_changed_and_what_is_not_said_stays(world: World) -> None:
    service, ran = serving(world)
    await service.start()
    await service.every(3600, DIGEST, Digest("now"), overlap="skip", tags=["daily"])
    changed = await service.change_schedule("DIGEST", every=60)
    assert (changed.text, changed.overlap, changed.data) == (
        "every minute", "skip", {"team": "now"}
    )  # fmt: skip
    assert changed.options == {"tags": ["daily"]}
    await asyncio.sleep(61)
    assert len(ran.jobs) == 1
    await service.pause_schedule("DIGEST")
    changed = await service.change_schedule(
        "DIGEST", cron="0 9 * * *", tz="Europe/Paris", missed="skip", jitter=5
    )
    assert (changed.paused, changed.tz, changed.missed, changed.jitter) == (
        True, "Europe/Paris", "skip", 5.0
    )  # fmt: skip
    changed = await service.change_schedule("DIGEST", tz="Asia/Tokyo")
    assert (changed.rule, changed.tz) == ("0 9 * * *", "Asia/Tokyo")
    assert [tick.outcome for tick in await service.get_ticks("DIGEST")] == ["fired"]
    await service.stop()


async def test_a_change_takes_nothing_back_that_is_said_meanwhile(world: World) -> None:
    service, _ = serving(world)
    await service.start()
    await service.every(3600, DIGEST, Digest("then"), overlap="skip")
    record = await service._find("DIGEST")
    finding = iter([record])

    async def find(name: str) -> Any:
        """What it was, a moment ago, at first."""
        return next(finding, None) or await type(service)._find(service, name)

    await service.every(3600, DIGEST, Digest("now"), overlap="skip")
    service._find = find  # type: ignore[method-assign]
    changed = await service.change_schedule("DIGEST", every=60)
    assert (changed.text, changed.data, changed.overlap) == (
        "every minute", {"team": "now"}, "skip"
    )  # fmt: skip
    finding = iter([record])
    await service.delete_schedule("DIGEST")
    with pytest.raises(ScheduleNotFoundError):
        await service.change_schedule("DIGEST", every=60)
    assert await service.get_schedules() == []
    await service.stop()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "say what is to change"),
        ({"every": 60, "cron": "0 9 * * *"}, "not both"),
        ({"every": 0}, "at least 1 second"),
        ({"cron": "0 99 * * *"}, "hour"),
        ({"cron": "0 9 * * *", "tz": "Europe/Pari"}, "Europe/Paris"),
        ({"cron": "0 0 30 2 *"}, "never comes"),
        ({"tz": "Europe/Paris"}, "no zone changes"),
        ({"missed": "all"}, "missed"),
    ],
)
async def test_a_change_that_makes_no_sense_changes_nothing(
    world: World, said: dict[str, Any], told: str
) -> None:
    service, _ = serving(world)
    await service.start()
    before = await service.every(3600, DIGEST, Digest("now"))
    with pytest.raises(ValueError, match=told):
        await service.change_schedule("DIGEST", **said)
    assert await service.get_schedule("DIGEST") == before
    with pytest.raises(ScheduleNotFoundError):
        await service.change_schedule("nobody", every=60)
    await service.stop()


async def test_one_job_is_run_beside_the_ticks(world: World) -> None:
    service, ran = serving(world)
    await service.start()
    await service.every(60, DIGEST, Digest("now"))
    await service.pause_schedule("DIGEST")
    job_id = await service.run_schedule("DIGEST")
    await service.result(job_id)
    assert [job.id for job in ran.jobs] == [job_id]
    assert ran.jobs[0].metadata == {"schedule": "DIGEST"}
    assert await became(service) == []


async def test_ticks_are_told_by_the_page(world: World) -> None:
    service, ran = serving(world)
    await service.start()
    await service.every(1, DIGEST, Digest())
    await asyncio.sleep(10.5)
    seen = []
    cursor = None
    while True:
        page = await service.get_ticks("DIGEST", limit=4, cursor=cursor)
        seen += list(page)
        cursor = page.cursor
        if cursor is None:
            break
    assert [tick.job for tick in seen] == [job.id for job in reversed(ran.jobs)]
    assert len(seen) == 10
    assert page[0] == seen[8]
    assert repr(page) == "TickPage(2 ticks, cursor=None)"
    with pytest.raises(OptionError, match="is no cursor"):
        await service.get_ticks("DIGEST", cursor="soon")
    for limit in (0, 1001, True):
        with pytest.raises(OptionError, match="1 to 1000"):
            await service.get_ticks("DIGEST", limit=limit)


async def test_a_name_that_nobody_knows_is_refused_by_every_verb(world: World) -> None:
    service = world.service()
    for verb in (
        service.get_schedule, service.get_ticks, service.pause_schedule, service.resume_schedule,
        service.delete_schedule, service.run_schedule,
    ):  # fmt: skip
        with pytest.raises(ScheduleNotFoundError, match="no schedule is called 'nobody'"):
            await verb("nobody")


# -- overlap ------------------------------------------------------------------------------------


async def test_a_job_that_takes_longer_than_the_interval_is_let_end(world: World) -> None:
    service, ran = serving(world, takes=150)
    await service.start()
    await service.every(60, DIGEST, Digest(), overlap="skip")
    await asyncio.sleep(60 * 7 + 1)
    assert ran.at == [60, 240, 420]
    assert await became(service) == [
        ("fired", 1), ("overlap", 1), ("overlap", 1), ("fired", 1), ("overlap", 1), ("overlap", 1),
        ("fired", 1),
    ]  # fmt: skip


async def test_a_queued_tick_runs_as_soon_as_the_job_before_it_has_ended(world: World) -> None:
    service, ran = serving(world, takes=150, poll_interval=60)
    await service.start()
    await service.every(60, DIGEST, Digest(), overlap="queue")
    await asyncio.sleep(600)
    assert ran.at[0] == 60
    assert ran.at[1] == pytest.approx(210, abs=0.2)
    assert ran.at[2] == pytest.approx(360, abs=0.4)
    assert ran.ticks[:3] == [
        "2026-03-01T12:01:00Z", "2026-03-01T12:03:00Z", "2026-03-01T12:06:00Z",
    ]  # fmt: skip


async def test_what_waits_does_not_stand_in_the_way_of_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backroom.scheduler.BATCH", 3)
    service, ran = serving(world, takes=10_000, concurrency=100)
    await service.start()
    for number in range(10):
        await service.every(60, DIGEST, Digest(f"slow {number}"), name=f"{number}", overlap="queue")
    await asyncio.sleep(90)
    assert len(ran.jobs) == 10
    await service.every(60, DIGEST, Digest("other"), name="zzz")
    await asyncio.sleep(60.1)
    assert ran.jobs[-1].data == Digest("other")
    assert ran.at[-1] == 150


# -- what goes wrong ----------------------------------------------------------------------------


async def test_a_rule_that_this_version_cannot_read_stops_nobody_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    service, ran = serving(world)
    await service.start()
    await service.every(60, DIGEST, Digest())
    kept = await world.storage.schedule("DIGEST")
    assert kept is not None
    strange = msgspec.structs.replace(kept, name="strange", rule="@full-moon")
    await world.storage.put_schedule(strange)
    with caplog.at_level(logging.ERROR, "backroom"):
        await asyncio.sleep(125)
    assert len(ran.jobs) == 2
    assert sum("'strange' (@full-moon) cannot be decided" in text for text in caplog.messages) == 2
    info = await service.get_schedule("strange")
    assert info.text.startswith("this version cannot read it: ")
    assert info.next_runs == ()
    await service.pause_schedule("strange")
    with pytest.raises(ConfigurationError, match="full-moon"):
        await service.resume_schedule("strange")


async def test_a_firing_that_the_storage_refuses_is_left_alone_for_a_while(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    storage, refused = world.storage, 0

    async def fire(firings: Any, now: int) -> list[bool]:
        nonlocal refused
        bad = [firing.schedule == "bad" for firing in firings]
        refused += sum(bad)
        good = [firing for firing in firings if firing.schedule != "bad"]
        stands = iter(await storage_fire(good, now))
        return [False if one else next(stands) for one in bad]

    storage_fire = storage.fire
    storage.fire = fire  # type: ignore[method-assign]
    service, ran = serving(world)
    await service.start()
    await service.every(60, DIGEST, Digest(), name="bad")
    await service.every(60, DIGEST, Digest(), name="good")
    await asyncio.sleep(90)
    assert len(ran.jobs) == 1
    assert refused == 2
    assert "could not be fired" in caplog.text


async def test_an_unknown_reply_of_fire_makes_no_second_job(world: World) -> None:
    service = world.service(world.faults.store)
    ran = Ran(world)
    service.register_handler(DIGEST, ran)
    await service.start()
    await service.every(60, DIGEST, Digest())
    world.faults.fail("fire", "after")
    await asyncio.sleep(70)
    world.faults.fail("fire", "before")
    await asyncio.sleep(60)
    assert len(ran.jobs) == 2
    assert await became(service) == [("fired", 1)] * 2


async def test_a_type_that_no_worker_knows_has_its_jobs_wait_visibly(world: World) -> None:
    web, (service, _) = world.service(), serving(world)
    web.declare("LATER")
    await service.start()
    await web.every(60, "LATER")
    await asyncio.sleep(65)
    assert (await service.get_stats()).unknown_types == {"LATER": 1}


class Forgetful:
    """A storage that keeps no schedules, like one of an application's own."""

    def __init__(self, world: World) -> None:
        self._storage = world.storage
        self.capabilities = msgspec.structs.replace(world.storage.capabilities, planning=False)

    def __getattr__(self, name: str) -> Any:
        if "schedule" in name or name in ("fire", "ticks"):
            raise AttributeError(name)
        return getattr(self._storage, name)


async def test_a_storage_without_schedules_says_so_and_works_on(world: World) -> None:
    service = world.service(Forgetful(world))  # type: ignore[arg-type]
    ran = Ran(world)
    service.register_handler(DIGEST, ran)
    await service.start()
    await service.schedule(DIGEST, Digest())
    await asyncio.sleep(1)
    assert len(ran.jobs) == 1
    with pytest.raises(ConfigurationError, match="keeps no schedules"):
        await service.every(60, DIGEST, Digest())
    with pytest.raises(ConfigurationError, match="keeps no schedules"):
        await service.get_schedules()
    declared = world.service(Forgetful(world))  # type: ignore[arg-type]
    declared.handler(DIGEST, every=60)(ran)
    with pytest.raises(ConfigurationError, match="keeps no schedules"):
        await declared.start()


# -- time ---------------------------------------------------------------------------------------


async def test_a_wall_clock_that_steps_neither_repeats_nor_loses_a_tick(world: World) -> None:
    service, ran = serving(world)
    await service.start()
    await service.cron("* * * * *", DIGEST, Digest(), missed="skip")
    await asyncio.sleep(121)
    assert len(ran.jobs) == 2
    world.clock.step(-3600)
    await asyncio.sleep(3600)
    assert len(ran.jobs) == 2
    await asyncio.sleep(60)
    assert len(ran.jobs) == 3
    world.clock.step(86_400)
    await asyncio.sleep(61)
    assert ran.ticks[3:] == ["2026-03-02T12:03:00Z", "2026-03-02T12:04:00Z"]
    rows = [(tick.outcome, tick.at, tick.until) for tick in await service.get_ticks("DIGEST")]
    skipped = [row for row in rows if row[0] == "missed"]
    assert skipped == [
        ("missed", WALL + timedelta(minutes=4), datetime(2026, 3, 2, 12, 2, tzinfo=UTC))
    ]


async def test_a_tick_comes_when_it_is_due_and_not_with_the_next_look(world: World) -> None:
    service, ran = serving(world, poll_interval=60)
    await service.start()
    await asyncio.sleep(0.3)
    record = ScheduleRecord(
        name="odd", rule="@every 1234567", tz="UTC", type="DIGEST", queue="default", priority=2,
        data="{}", created_at=0, next_at=world.clock.now() + 10 * SECOND,
    )  # fmt: skip
    await world.storage.put_schedule(record)
    await asyncio.sleep(12)
    assert ran.at == [10.3, pytest.approx(11.534567)]


async def test_who_was_never_first_comes_a_little_later_until_the_first_is_gone(
    world: World,
) -> None:
    first, ran = serving(world)
    second = world.service()
    second.register_handler(DIGEST, ran)
    await first.start()
    await second.start()
    await first.every(10, DIGEST, Digest())
    await asyncio.sleep(101)
    assert len(ran.jobs) == 10
    await first.stop()
    await asyncio.sleep(20)
    assert len(ran.jobs) == 12
    assert ran.at[-1] == pytest.approx(120, abs=0.05)
