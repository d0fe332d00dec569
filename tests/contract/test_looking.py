"""Looking: pages newest first with cursors that hold, filters, outlooks and counts."""

import pytest

from backroom.errors import OptionError
from backroom.inspecting import Filter
from backroom.job import JobStatus, to_datetime
from backroom.transition import Transition
from tests.contract.parts import Bench

UNKNOWN = "0197a1b2-0000-7000-8000-000000000000"


async def one_of_each(bench: Bench) -> dict[str, list[str]]:
    """Jobs of every status (but blocked), oldest first."""
    worker = await bench.enlist()
    jobs: dict[str, list[str]] = {"active": await bench.add_many(2)}
    await bench.claim(worker)
    for status, build in (
        ("completed", bench.completed),
        ("failed", bench.failed),
        ("cancelled", bench.cancelled),
    ):
        jobs[status] = await bench.add_many(2)
        await bench.finish(worker, *map(build, await bench.claim(worker)))
    jobs["pending"] = await bench.add_many(1)
    await bench.finish(worker, *map(Transition.parked, await bench.claim(worker)))
    jobs["pending"] += await bench.add_many(1)
    jobs["scheduled"] = await bench.add_many(2, delay=60)
    return jobs


# -- one job -----------------------------------------------------------------------------------


async def test_an_unknown_job_is_not_found(bench: Bench) -> None:
    await bench.add()
    for unknown in (UNKNOWN, "", "%"):
        assert await bench.storage.find(unknown, bench.now) is None


async def test_a_claimed_job_names_its_worker(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    assert (await bench.info(job)).worker == "host:1"
    await bench.finish(worker, bench.retried(claim))
    assert (await bench.info(job)).worker is None


async def test_the_outlook_tells_how_the_known_ones_of_some_jobs_stand(bench: Bench) -> None:
    done, worker, claim = await bench.running()
    await bench.finish(worker, bench.completed(claim, "[1]"))
    failed, worker, claim = await bench.running(type="B")
    await bench.finish(worker, bench.failed(claim, "boom"))
    scheduled = await bench.add(delay=5)

    outlook = await bench.storage.outlook([done, UNKNOWN, failed, scheduled], bench.now)

    assert {
        job: (one.type, str(one.status), one.result, one.error) for job, one in outlook.items()
    } == {
        done: ("SEND_EMAIL", "completed", "[1]", None),
        failed: ("B", "failed", None, "boom"),
        scheduled: ("SEND_EMAIL", "scheduled", None, None),
    }
    assert await bench.storage.outlook([], bench.now) == {}


# -- pages -------------------------------------------------------------------------------------


async def test_a_page_of_an_empty_store_is_empty(bench: Bench) -> None:
    assert await bench.page() == ([], None)


async def test_pages_hold_every_job_once_newest_first(bench: Bench) -> None:
    ids = await bench.add_many(10, delay=60)
    ids += [await bench.add(created_at=bench.later(-9)) for _ in range(3)]

    seen, cursor = await bench.page(4)
    sizes = [len(seen)]
    while cursor is not None:
        page, cursor = await bench.page(4, cursor)
        sizes.append(len(page))
        seen += page

    assert seen == ids[::-1]
    assert sizes == [4, 4, 4, 1]


async def test_a_page_that_is_just_full_is_the_last(bench: Bench) -> None:
    ids = await bench.add_many(4)
    assert await bench.page(4) == (ids[::-1], None)


async def test_the_next_page_does_not_shift_when_jobs_come_and_go(bench: Bench) -> None:
    ids = await bench.add_many(6)
    first, cursor = await bench.page(2)
    await bench.add_many(5)
    await bench.storage.delete(first[1])
    await bench.storage.delete(ids[2])

    second, _ = await bench.page(2, cursor)

    assert first == [ids[5], ids[4]]
    assert second == [ids[3], ids[1]]


async def test_jobs_that_come_after_the_newest_were_deleted_are_not_on_older_pages(
    bench: Bench,
) -> None:
    ids = await bench.add_many(6)
    _, cursor = await bench.page(2)
    for job in ids[2:]:
        await bench.storage.delete(job)
    await bench.add_many(4)
    assert await bench.page(10, cursor) == ([ids[1], ids[0]], None)


async def test_a_cursor_goes_on_within_its_filter(bench: Bench) -> None:
    wanted = []
    for _ in range(5):
        await bench.add(type="B")
        wanted.append(await bench.add(type="A"))
    first, cursor = await bench.page(3, type="A")
    second, end = await bench.page(3, cursor, type="A")
    assert first + second == wanted[::-1]
    assert end is None


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", " 1", "1 or 1=1", "9" * 40, "\u0661"])
async def test_a_cursor_that_is_none_of_ours_is_refused(bench: Bench, cursor: str) -> None:
    await bench.add_many(2)
    with pytest.raises(OptionError, match="cursor"):
        await bench.page(1, cursor)


async def test_a_page_shows_a_job_as_a_look_at_it_does_but_for_its_errors_and_log(
    bench: Bench,
) -> None:
    job, worker, claim = await bench.running(options='{"tags":["a"],"retries":4}')
    outcome = bench.retried(claim)
    outcome.log = [(bench.now, "info", "hello")]
    await bench.finish(worker, outcome)
    await bench.begin(worker, await bench.claim_one(worker))

    [shown], _ = await bench.storage.page(Filter(), bench.now, 10, None)

    info = await bench.info(job)
    assert (len(info.errors), len(info.log)) == (1, 1)
    assert (shown.errors, shown.log) == ((), ())
    for name in info.__struct_fields__:
        if name not in ("errors", "log"):
            assert getattr(shown, name) == getattr(info, name), name


async def test_jobs_are_found_by_their_status(bench: Bench) -> None:
    jobs = await one_of_each(bench)
    for status in JobStatus:
        found, _ = await bench.page(status=status)
        assert found[::-1] == jobs.get(status, []), status
    bench.clock.advance(60)
    assert await bench.page(status=JobStatus.SCHEDULED) == ([], None)
    assert len((await bench.page(status=JobStatus.PENDING))[0]) == 4


async def test_jobs_are_found_by_type_queue_and_tag_and_all_of_them_together(bench: Bench) -> None:
    a = await bench.add(type="A", queue="x", options='{"tags":["red","blue"]}')
    b = await bench.add(type="A", queue="y", options='{"tags":["red"]}')
    c = await bench.add(type="B", queue="x", options='{"tags":["redder"],"retries":1}')
    d = await bench.add(type="B", queue="x", delay=60)

    assert (await bench.page(type="A"))[0] == [b, a]
    assert (await bench.page(queue="x"))[0] == [d, c, a]
    assert (await bench.page(tag="red"))[0] == [b, a]
    assert (await bench.page(tag="redder"))[0] == [c]
    assert (await bench.page(type="A", queue="x", tag="red"))[0] == [a]
    assert (await bench.page(status=JobStatus.SCHEDULED, queue="x"))[0] == [d]
    assert (await bench.page(type="a"))[0] == []
    assert (await bench.page(type="A' or '1'='1"))[0] == []
    assert (await bench.page(queue="%"))[0] == []
    assert (await bench.page(tag="re"))[0] == []


# -- counts ------------------------------------------------------------------------------------


async def test_the_counts_of_an_empty_store_are_nought_for_every_status(bench: Bench) -> None:
    stats = await bench.storage.stats(bench.now)
    assert stats.by_status == dict.fromkeys(map(str, JobStatus), 0)
    assert (stats.queues, stats.workers, stats.unknown_types) == ((), (), {})


async def test_every_job_is_counted_under_its_status(bench: Bench) -> None:
    jobs = await one_of_each(bench)
    stats = await bench.storage.stats(bench.now)
    assert stats.by_status == {str(status): len(jobs.get(status, ())) for status in JobStatus}


async def test_every_queue_is_counted_apart(bench: Bench) -> None:
    await bench.add(queue="a", delay=-7)
    await bench.add(queue="a", delay=-9, priority=3)
    await bench.add(queue="a", delay=60)
    await bench.add(queue="b", delay=60)
    worker = await bench.enlist()
    await bench.claim(worker, 1, queues=("a",))
    await bench.storage.pause("b", True)
    await bench.storage.delete(await bench.add(queue="c"))

    stats = await bench.storage.stats(bench.now)

    queues = {
        queue.name: (queue.paused, queue.scheduled, queue.pending, queue.active)
        for queue in stats.queues
    }
    assert queues == {"a": (False, 1, 1, 1), "b": (True, 1, 0, 0), "c": (False, 0, 0, 0)}
    oldest = {queue.name: queue.oldest_pending for queue in stats.queues}
    assert oldest == {"a": to_datetime(bench.later(-9)), "b": None, "c": None}


async def test_every_living_worker_is_shown_with_what_it_holds(bench: Bench) -> None:
    await bench.add_many(3)
    busy, _ = await bench.enlist("host:1"), await bench.enlist("host:2")
    since = to_datetime(bench.now)
    await bench.claim(busy)

    workers = (await bench.storage.stats(bench.now)).workers

    assert [(worker.name, worker.active) for worker in workers] == [("host:1", 3), ("host:2", 0)]
    assert [worker.started_at for worker in workers] == [since, since]
    await bench.end_leases()
    assert (await bench.storage.stats(bench.now)).workers == ()
