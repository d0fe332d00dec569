"""Counts that are kept tell what is there at every moment, and of failed jobs what failed them."""

from __future__ import annotations

from backroom.inspecting import Filter
from backroom.job import to_datetime
from backroom.transition import Failure, Transition
from tests.contract.parts import DAY, Bench


async def fail(bench: Bench, kind: str, message: str = "boom", **fields: object) -> str:
    """A job that fails with an error of this kind."""
    job, worker, claim = await bench.running(**fields)
    failure = Failure(1, bench.now, kind, message, None)
    await bench.finish(worker, Transition.failed(claim, bench.now, bench.now, 1, failure))
    return job


async def groups(bench: Bench) -> dict[tuple[str, str], int]:
    return {(one.type, one.kind): one.jobs for one in await bench.storage.failures(100)}


# -- failed jobs, by what failed them ----------------------------------------------------------


async def test_failed_jobs_are_grouped_by_type_and_kind_the_most_first(bench: Bench) -> None:
    await fail(bench, "ValueError", type="A")
    await fail(bench, "timeout", type="A")
    await fail(bench, "ValueError", type="B")
    await fail(bench, "ValueError", type="B")
    assert [(g.type, g.kind, g.jobs) for g in await bench.storage.failures(100)] == [
        ("B", "ValueError", 2),
        ("A", "ValueError", 1),
        ("A", "timeout", 1),
    ]
    assert len(await bench.storage.failures(2)) == 2


async def test_a_group_shows_the_newest_of_its_jobs(bench: Bench) -> None:
    await fail(bench, "OSError", "first")
    bench.clock.advance(5)
    newest = await fail(bench, "OSError", f"{'x' * 300}\nsecond line")
    at = bench.now
    bench.clock.advance(5)
    [group] = await bench.storage.failures(100)
    assert (group.job_id, group.last_at) == (newest, to_datetime(at))
    assert group.message == "x" * 199 + "…"
    await bench.storage.delete(newest)
    [group] = await bench.storage.failures(100)
    assert (group.jobs, group.message) == (1, "first")


async def test_the_last_error_of_a_job_says_where_it_belongs(bench: Bench) -> None:
    _job, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim))
    claim = await bench.claim_one(worker)
    failure = Failure(2, bench.now, "timeout", "too slow", None)
    await bench.finish(worker, Transition.failed(claim, bench.now, bench.now, 2, failure))
    assert await groups(bench) == {("SEND_EMAIL", "timeout"): 1}


async def test_who_is_retried_deleted_or_forgotten_leaves_its_group(bench: Bench) -> None:
    retried, deleted, _ = [await fail(bench, "OSError") for _ in range(3)]
    await bench.storage.retry(retried, bench.now)
    await bench.storage.delete(deleted)
    assert await groups(bench) == {("SEND_EMAIL", "OSError"): 1}
    bench.clock.advance(8 * DAY)
    await bench.prune_all()
    assert await groups(bench) == {}


async def test_all_that_are_retried_by_a_filter_leave_their_groups(bench: Bench) -> None:
    for kind in ("OSError", "timeout"):
        await fail(bench, kind)
    assert await bench.storage.retry(Filter(type="SEND_EMAIL"), bench.now) == 2
    assert await groups(bench) == {}


async def test_a_job_that_fails_again_is_counted_once(bench: Bench) -> None:
    job = await fail(bench, "OSError")
    await bench.storage.retry(job, bench.now)
    worker = await bench.enlist()
    claim = await bench.claim_one(worker)
    await bench.finish(worker, bench.failed(claim))
    assert await groups(bench) == {("SEND_EMAIL", "OSError"): 1}


# -- what waits ----------------------------------------------------------------------------------


async def waiting(bench: Bench, queue: str = "default") -> tuple[int, int]:
    """How many are scheduled there, and how many pending."""
    stats = await bench.storage.stats(bench.now)
    [one] = [one for one in stats.queues if one.name == queue]
    return one.scheduled, one.pending


async def test_who_is_scheduled_is_pending_from_its_moment_on(bench: Bench) -> None:
    for delay in (0, 0.000001, 1, 9, 60, 3600, 90 * DAY):
        await bench.add(delay=delay)
    assert await waiting(bench) == (6, 1)
    seen = []
    for seconds in (0.000001, 0.9, 0.2, 8, 51, 3540, 90 * DAY):
        bench.clock.advance(seconds)
        seen.append((await waiting(bench))[1])
    assert seen == [2, 2, 3, 4, 5, 6, 7]


async def test_what_passed_long_ago_is_counted_all_the_same(bench: Bench) -> None:
    for delay in range(0, 1200, 60):
        await bench.add(delay=delay, queue=f"q{delay % 120}")
    bench.clock.advance(900)
    await bench.prune()
    await bench.storage.fold(bench.now)
    worker = await bench.enlist()
    assert len(await bench.claim(worker, 3, queues=("q0",))) == 3
    bench.clock.advance(900)
    await bench.prune()
    await bench.storage.fold(bench.now)
    assert await waiting(bench, "q0") == (0, 7)
    assert await waiting(bench, "q60") == (0, 10)
    await bench.storage.retire(worker)
    assert await waiting(bench, "q0") == (0, 10)


async def test_many_that_are_due_within_a_moment_are_told_apart(bench: Bench) -> None:
    await bench.add_many(30, delay=1)
    await bench.add_many(20, delay=2)
    bench.clock.advance(1.5)
    assert await waiting(bench) == (20, 30)


async def test_many_on_both_sides_of_a_moment_are_told_apart(bench: Bench) -> None:
    """So many that they are not looked at from one side only."""
    await bench.add_many(10_050, delay=2)
    await bench.add_many(7, delay=1)
    await bench.add_many(5, delay=0.5, queue="other")
    bench.clock.advance(1)
    assert await waiting(bench) == (10_050, 7)
    assert await waiting(bench, "other") == (0, 5)


async def test_a_clock_that_is_set_back_makes_jobs_scheduled_again(bench: Bench) -> None:
    await bench.add_many(3, delay=20)
    bench.clock.advance(30)
    await bench.prune()
    assert await waiting(bench) == (0, 3)
    bench.clock.step(-25)
    assert await waiting(bench) == (3, 0)


# -- if a number is wrong all the same -----------------------------------------------------------


async def test_counting_anew_changes_nothing_where_all_is_right(bench: Bench) -> None:
    await fail(bench, "OSError")
    await bench.add_many(3, delay=60)
    worker = await bench.enlist()
    await bench.add()
    [claim] = await bench.claim(worker)
    await bench.finish(worker, Transition.parked(claim))
    before = await bench.storage.stats(bench.now), await bench.storage.failures(100)
    assert await bench.storage.miscounted() == []
    await bench.storage.recount()
    assert (await bench.storage.stats(bench.now), await bench.storage.failures(100)) == before
    assert await bench.storage.miscounted() == []
