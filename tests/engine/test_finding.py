"""Looking for jobs as applications do: in time, and with words that make sense."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from backroom import (
    BulkProgress,
    Count,
    JobRequest,
    JobService,
    MemoryJobStorage,
    OptionError,
    StorageError,
)
from backroom.finding import Pace
from tests.engine.world import World


@pytest.fixture
async def jobs(world: World) -> JobService:
    service = world.service()
    service.declare("A")
    service.declare("B")
    await service.open()
    return service


# -- in time -------------------------------------------------------------------------------------


class Watch:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_search_looks_through_as_many_jobs_as_it_has_time_for() -> None:
    watch = Watch()
    pace, looks = Pace(watch, 0.03), []
    while True:
        looks.append(pace.most())
        watch.now += pace.most() / 200_000  # Seconds a job.
        if pace.over(looks[-1]):
            break
    assert looks[0] == 500
    assert sum(looks) > 3000
    assert watch.now - 100 <= 0.03


def test_a_search_on_a_slow_storage_ends_with_its_first_look() -> None:
    watch = Watch()
    pace = Pace(watch, 0.03)
    watch.now += 0.029
    assert pace.over(pace.most())


def test_a_search_where_no_time_passes_ends_all_the_same() -> None:
    pace = Pace(Watch(), 0.03)
    seen = 0
    while not pace.over(pace.most()):
        seen = pace.seen
        assert seen < 2_000_000
    assert seen > 900_000


class Slow(MemoryJobStorage):
    """Takes a hundredth of a second for each hundred jobs that it looks through."""

    seconds = 0.0

    async def look(self, *asked: Any) -> Any:
        looked = await super().look(*asked)
        Slow.seconds += looked.seen / 10_000
        return looked

    async def count(self, *asked: Any) -> Any:
        counted = await super().count(*asked)
        Slow.seconds += counted.seen / 10_000
        return counted


class Late:
    """The clock of it."""

    def now(self) -> int:
        return 1_750_000_000_000_000

    def uptime(self) -> float:
        return Slow.seconds


async def test_a_page_that_could_not_be_filled_in_time_says_so_and_goes_on_where_it_ended() -> None:
    service = JobService(Slow(clock=Late()))
    service.declare("A")
    await service.open()
    rare = await service.schedule("A", {"to": "needle"})
    for _ in range(10):
        await service.schedule_many([JobRequest("A", {}) for _ in range(100)])
    page = await service.search_jobs(text="needle")
    assert (len(page), page.complete, page.looked_through) == (0, False, 500)
    assert page.cursor is not None
    count = await service.count_jobs(text="needle", within=0.01)
    assert count == Count(0, False)
    found, seen = [], page.looked_through or 0
    while page.cursor is not None:
        page = await service.search_jobs(text="needle", cursor=page.cursor)
        found += [job.id for job in page]
        seen += page.looked_through or 0
    assert (found, seen, page.complete) == ([rare], 1001, True)
    assert await service.count_jobs(text="needle", within=60) == Count(1, True)
    await service.stop()


async def test_what_is_kept_is_counted_exactly(jobs: JobService) -> None:
    for _ in range(3):
        await jobs.schedule("A", queue="q")
    await jobs.schedule("B", delay=60)
    assert await jobs.count_jobs() == Count(4, True)
    assert await jobs.count_jobs(status="pending") == Count(3, True)
    assert await jobs.count_jobs(status="scheduled", queue="q") == Count(0, True)
    assert await jobs.count_jobs(status="pending", queue="q") == Count(3, True)
    assert await jobs.count_jobs(status="pending", queue="never") == Count(0, True)
    assert await jobs.count_jobs(type="A") == Count(3, True)
    assert await jobs.count_jobs(status="completed", queue="q") == Count(0, True)


# -- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ({"status": "lost"}, "status must be one of"),
        ({"priority": "urgent"}, "priority must be one of critical, high, normal, low"),
        ({"priority": 1}, "priority must be one of"),
        ({"text": ""}, "text must be a text of 1 to 200 characters"),
        ({"text": "x" * 201}, "text must be a text of 1 to 200"),
        ({"text": "a\0b"}, "text must be a text"),
        ({"text": "\ud800"}, "text must be a text"),
        ({"error": 5}, "error must be a text"),
        ({"worker": ""}, "worker must be a text"),
        ({"workflow": 7}, "workflow must be a text"),
        ({"since": datetime(2025, 1, 1)}, "since must be an aware datetime"),
        ({"until": "yesterday"}, "until must be an aware datetime"),
        ({"colour": "red"}, "jobs are not found by colour; but by status, type"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused_and_nothing_is_changed(
    jobs: JobService, which: Any, says: str
) -> None:
    await jobs.schedule("A")
    for verb in (jobs.get_jobs, jobs.search_jobs, jobs.count_jobs, jobs.cancel_jobs):
        with pytest.raises(OptionError, match=says):
            await verb(**which)
    assert await jobs.count_jobs(status="pending") == Count(1, True)


async def test_a_time_that_is_none_is_refused(jobs: JobService, world: World) -> None:
    now = (await jobs.get_job(await jobs.schedule("A"))).created_at
    with pytest.raises(OptionError, match="since must be before until"):
        await jobs.get_jobs(since=now, until=now)
    with pytest.raises(OptionError, match="within may be 60"):
        await jobs.search_jobs(within=61)
    with pytest.raises(OptionError, match="run_at or delay"):
        await jobs.reschedule_job(await jobs.schedule("B"))
    with pytest.raises(OptionError, match="run_at or delay"):
        await jobs.reschedule_jobs(run_at=now, delay=5, type="A")
    with pytest.raises(OptionError, match="or priority, not failed ones"):
        await jobs.reprioritize_jobs("low", status="failed")


async def test_ids_are_named_instead_of_a_filter_and_not_too_many(jobs: JobService) -> None:
    one = await jobs.schedule("A")
    with pytest.raises(OptionError, match="not both"):
        await jobs.cancel_jobs(ids=[one], type="A")
    with pytest.raises(OptionError, match="1,000 jobs in one call"):
        await jobs.cancel_jobs(ids=[one] * 1001)
    with pytest.raises(OptionError, match="a list"):
        await jobs.cancel_jobs(ids=one)
    assert await jobs.cancel_jobs(ids=[]) == 0
    told: list[BulkProgress] = []
    assert await jobs.cancel_jobs(ids=[one, "none"], progress=told.append) == 1
    assert told == [BulkProgress(2, 1, 1)]
    assert await jobs.retry_jobs(ids=[one]) == 1
    assert await jobs.reprioritize_jobs("low", ids=[one]) == 1
    assert (await jobs.get_job(one)).priority == "low"


async def test_a_moment_that_has_passed_means_now(jobs: JobService) -> None:
    one = await jobs.schedule("A", delay=3600)
    made = (await jobs.get_job(one)).created_at
    await jobs.reschedule_job(one, run_at=made - timedelta(days=1))
    info = await jobs.get_job(one)
    assert (info.status, info.run_at) == ("pending", made)


# -- what people do ------------------------------------------------------------------------------


async def test_an_action_says_whether_it_was_done_refused_or_interrupted(jobs: JobService) -> None:
    async with jobs.recorded("ada", "cancel", "jobs", role="admin", detail={"a": 1}) as action:
        [begun] = await jobs.get_actions()
        assert (begun.id, begun.outcome) == (action.id, "begun")
        action.changed = 3
    with pytest.raises(OptionError):
        async with jobs.recorded("ada", "pause", "queue q"):
            raise OptionError("no such queue")
    with pytest.raises(ZeroDivisionError):
        async with jobs.recorded("bob", "retry", "jobs"):
            raise ZeroDivisionError
    with pytest.raises(StorageError):
        async with jobs.recorded("bob", "retry", "jobs"):
            raise StorageError("the disk is full")
    actions = await jobs.get_actions()
    assert [(one.actor, one.outcome, one.changed, one.reason) for one in actions] == [
        ("bob", "interrupted", None, "the disk is full"),
        ("bob", "interrupted", None, "ZeroDivisionError()"),
        ("ada", "refused", None, "no such queue"),
        ("ada", "done", 3, None),
    ]
    page = await jobs.get_actions(limit=3)
    assert [one.verb for one in await jobs.get_actions(cursor=page.cursor)] == ["cancel"]
    assert len(await jobs.get_actions(actor="bob", verb="retry")) == 2


@pytest.mark.parametrize(
    "said", [{"actor": ""}, {"verb": "x" * 201}, {"cursor": "-1"}, {"limit": 0}]
)
async def test_actions_are_asked_for_in_words_that_make_sense(jobs: JobService, said: Any) -> None:
    with pytest.raises(OptionError):
        await jobs.get_actions(**said)
