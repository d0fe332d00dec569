"""Figures over time: what workers told is summed, kept for its time, and told again."""

import msgspec
import pytest

from backroom.crew import RunningJob, WorkerReport
from backroom.figure import OTHER, Figures
from backroom.history import COARSE, FINE, WHOLE, Depth, begin_of
from backroom.inspecting import Filter
from backroom.job import SECOND, JobStatus, to_datetime
from backroom.ports import WorkerSpec
from backroom.storage.told import KEPT, MOST_SERIES, UNUSED
from backroom.watching import Past
from tests.contract.parts import LEASE, WEEK, Bench, Place


def counted(bench: Bench, queue: str = "mail", type_: str = "SEND", **counts: object) -> Figures:
    return Figures(queue, type_, bench.now, **counts)  # type: ignore[arg-type]


async def of_the_last(bench: Bench, seconds: float, step: int = FINE, **which: str) -> Past:
    queue, type_ = which.get("queue"), which.get("type")
    since = begin_of(bench.later(-seconds), step)
    return await bench.storage.past(step, since, bench.now + 1, queue, type_)


def summed(figures: list[Figures]) -> Figures:
    whole = Figures("", "")
    for one in figures:
        whole.add(one)
    return whole


def report(bench: Bench, **fields: object) -> WorkerReport:
    said = {
        "at": to_datetime(bench.now), "pid": 7, "host": "host", "memory": 1 << 20,
        "concurrency": 5, "queues": "all", "running": (), "active": 0, "ahead": 0,
    }  # fmt: skip
    return msgspec.convert({**said, **fields}, WorkerReport)


async def test_what_several_workers_told_is_one_sum(bench: Bench) -> None:
    first, second = await bench.enlist(), await bench.enlist()
    for number in range(1, 4):
        for worker in (first, second):
            told = counted(
                bench, completed=2, failed=1, waited=30, waits={4: 2, 9: 1}, runs={number: 3},
                errors={"ValueError": 1, "timeout": number},
            )  # fmt: skip
            await bench.storage.tell(worker, number, None, [told])
    [whole] = await bench.storage.totals()
    assert (whole.queue, whole.type) == ("mail", "SEND")
    assert (whole.completed, whole.failed, whole.waited) == (12, 6, 180)
    assert whole.waits == {4: 12, 9: 6}
    assert whole.runs == {1: 6, 2: 6, 3: 6}
    assert whole.errors == {"ValueError": 6, "timeout": 12}


@pytest.mark.parametrize("step", [FINE, COARSE])
async def test_each_stretch_has_what_was_told_of_it(bench: Bench, step: int) -> None:
    told = []
    for number in range(4):
        begins = begin_of(bench.now, step)
        told.append((begins, 1 + number))
        await bench.storage.tell(None, 0, None, [counted(bench, completed=1 + number)])
        bench.clock.advance(step)
    past = await of_the_last(bench, 5 * step, step)
    assert sorted((one.at, one.completed) for one in past.figures) == told
    later = await of_the_last(bench, 2 * step, step)
    assert sorted((one.at, one.completed) for one in later.figures) == told[2:]


async def test_figures_are_told_of_all_of_one_queue_or_of_one_type(bench: Bench) -> None:
    await bench.storage.tell(
        None, 0, None,
        [
            counted(bench, "mail", "SEND", completed=1, errors={"ValueError": 1}),
            counted(bench, "mail", "READ", completed=10, errors={"KeyError": 2}),
            counted(bench, "slow", "SEND", completed=100, errors={"ValueError": 4}),
        ],
    )  # fmt: skip
    everything = await of_the_last(bench, 60)
    assert summed(everything.figures).completed == 111
    assert sorted(everything.errors) == [("KeyError", "READ", 2), ("ValueError", "SEND", 5)]
    of_queue = await of_the_last(bench, 60, queue="mail")
    assert summed(of_queue.figures).completed == 11
    assert sorted(of_queue.errors) == [("KeyError", "READ", 2), ("ValueError", "SEND", 1)]
    of_type = await of_the_last(bench, 60, type="SEND")
    assert summed(of_type.figures).completed == 101
    of_both = await of_the_last(bench, 60, queue="slow", type="SEND")
    assert summed(of_both.figures).completed == 100
    assert (await of_the_last(bench, 60, queue="nobody")).figures == []


async def test_a_telling_that_is_repeated_counts_once(bench: Bench) -> None:
    worker = await bench.enlist()
    once = [counted(bench, completed=5)]
    await bench.storage.tell(worker, 1, None, once)
    await bench.storage.tell(worker, 1, None, once)  # Its reply was lost.
    await bench.storage.tell(worker, 2, None, [counted(bench, completed=1)])
    await bench.storage.tell(worker, 1, None, once)  # One that was on its way for long.
    [whole] = await bench.storage.totals()
    assert whole.completed == 6


async def test_figures_go_when_their_time_has_passed_and_sums_stay(place: Place) -> None:
    bench = await place.open()
    worker = await bench.enlist(lease=3600)
    await bench.storage.tell(worker, 1, None, [counted(bench, completed=3)])
    await bench.storage.sample(bench.now)
    born = bench.now
    for step in (FINE, COARSE):
        bench.clock.advance((born - bench.now) / SECOND + KEPT[step] - step)
        await bench.storage.prune(bench.now, 100)
        kept = await bench.storage.past(step, 0, bench.now, None, None)
        assert [one.completed for one in kept.figures] == [3]
        assert len(kept.samples) == 1
        bench.clock.advance(2 * step)
        await bench.storage.prune(bench.now, 100)
        gone = await bench.storage.past(step, 0, bench.now, None, None)
        assert (gone.figures, gone.samples) == ([], [])
    [whole] = await bench.storage.totals()
    assert whole.completed == 3


async def test_many_that_go_at_once_go_by_pages(bench: Bench) -> None:
    told = [counted(bench, "mail", f"T{number}", completed=1) for number in range(30)]
    await bench.storage.tell(None, 0, None, told)
    bench.clock.advance(3 * WEEK)
    for _ in range(20):
        await bench.storage.prune(bench.now, 10)
    for step in (FINE, COARSE):
        assert (await bench.storage.past(step, 0, bench.now, "mail", None)).figures == []
    assert len(await bench.storage.totals()) == 30


async def test_beyond_a_thousand_kinds_of_jobs_the_others_are_counted_together(
    bench: Bench,
) -> None:
    for start in range(0, 1200, 200):
        told = [counted(bench, "mail", f"T{start + n:04}", completed=1) for n in range(200)]
        await bench.storage.tell(None, 0, None, told)
    totals = await bench.storage.totals()
    assert len(totals) == 1001
    assert sum(one.completed for one in totals) == 1200
    [others] = [one for one in totals if one.queue == OTHER]
    assert (others.type, others.completed) == (OTHER, 200)
    await bench.storage.tell(None, 0, None, [counted(bench, "mail", "T0007", completed=1)])
    [known] = [one for one in await bench.storage.totals() if one.type == "T0007"]
    assert known.completed == 2


async def test_who_ends_while_it_waits_is_counted_with_those_that_workers_end(
    bench: Bench,
) -> None:
    """Each job that is made has one end, or waits: the figures of a stretch add up."""
    worker = await bench.enlist()
    await bench.storage.tell(worker, 1, None, [counted(bench, scheduled=12)])
    made = {"queue": "mail", "type": "SEND"}
    one, runs = await bench.add(**made), await bench.add(**made, priority=0)
    await bench.add_many(4, **made, run_at=bench.later(3600))
    await bench.add_many(3, **made, expires_at=bench.later(60))
    await bench.add_many(3, **made)
    claim = await bench.claim_one(worker, queues=None)
    assert claim.id == runs
    for _ in range(2):  # What has ended is not counted again.
        await bench.storage.cancel(one, bench.now)
        await bench.storage.cancel(runs, bench.now)  # Its worker will tell of it.
        await bench.storage.cancel(Filter(status=JobStatus.SCHEDULED), bench.now)
    bench.clock.advance(61)
    for _ in range(2):
        await bench.storage.prune(bench.now, 100)
    [whole] = await bench.storage.totals()
    assert whole.cancelled == 1 + 4 + 3
    assert summed((await of_the_last(bench, 600)).figures).cancelled == whole.cancelled
    counts = (await bench.storage.stats(bench.now)).by_status
    waits = counts["pending"] + counts["active"]
    assert whole.scheduled == whole.completed + whole.failed + whole.cancelled + waits


async def test_the_thousand_are_those_that_are_used(bench: Bench) -> None:
    """A name without figures for a day makes room, and no job is forgotten or counted twice."""
    first = [counted(bench, "mail", f"T{n:04}", completed=1) for n in range(MOST_SERIES)]
    await bench.storage.tell(None, 0, None, [*first, counted(bench, "mail", "LATE", completed=1)])
    bench.clock.advance(UNUSED / 2)
    await bench.storage.tell(None, 0, None, [counted(bench, "mail", "T0007", completed=1)])
    bench.clock.advance(UNUSED / 2 - COARSE)
    await bench.storage.prune(bench.now, 100)
    assert len(await bench.storage.totals()) == MOST_SERIES + 1, "all were used within a day"
    bench.clock.advance(2 * COARSE)
    await bench.storage.prune(bench.now, 100)
    await bench.storage.tell(None, 0, None, [counted(bench, "mail", "LATE", completed=1)])
    totals = {one.type: one.completed for one in await bench.storage.totals()}
    assert totals == {OTHER: MOST_SERIES, "T0007": 2, "LATE": 1}


async def test_any_printable_kind_of_error_is_kept_as_it_was(bench: Bench) -> None:
    kinds = {'it\'s "quoted" ] [0]': 3, "Ünï": 4, "": 5, "1": 6, "😀": 7}
    for _ in range(2):
        await bench.storage.tell(None, 0, None, [counted(bench, errors=kinds)])
    [whole] = await bench.storage.totals()
    assert whole.errors == {kind: 2 * number for kind, number in kinds.items()}
    past = await of_the_last(bench, 60)
    assert {kind: number for kind, _, number in past.errors} == whole.errors


# -- depths ----------------------------------------------------------------------------------------


async def test_a_sample_says_how_deep_each_queue_is(bench: Bench) -> None:
    await bench.add_many(3, queue="mail", delay=-20)
    await bench.add_many(2, queue="slow", delay=60)
    assert await bench.storage.sample(bench.now)
    [(at, depths)] = (await of_the_last(bench, 60)).samples
    assert at == bench.now
    assert depths["mail"] == Depth(pending=3, oldest=20.0)
    assert depths["slow"] == Depth(scheduled=2)
    assert depths[WHOLE] == Depth(pending=3, scheduled=2, oldest=20.0)


async def test_one_sample_is_taken_of_each_stretch_whoever_comes(bench: Bench) -> None:
    taken = 0
    for _ in range(60):
        await bench.add()
        taken += await bench.storage.sample(bench.now)
        bench.clock.advance(1)
    assert taken == 6
    assert len((await of_the_last(bench, 120)).samples) == 6
    assert len((await of_the_last(bench, 1200, COARSE)).samples) == 1


async def test_where_nothing_changes_a_sample_a_minute_is_enough(bench: Bench) -> None:
    taken = []
    for _ in range(30):
        if await bench.storage.sample(bench.now):
            taken.append(bench.now)
        bench.clock.advance(FINE)
    assert 4 <= len(taken) <= 6
    await bench.add()
    assert await bench.storage.sample(bench.now)


async def test_a_look_begins_with_the_last_sample_before_it(bench: Bench) -> None:
    await bench.add()
    await bench.storage.sample(bench.now)
    bench.clock.advance(30)
    since = begin_of(bench.now, FINE)
    past = await bench.storage.past(FINE, since, bench.now + 1, None, None)
    assert [depths[WHOLE].pending for _, depths in past.samples] == [1]


# -- workers ---------------------------------------------------------------------------------------


async def test_a_worker_is_seen_with_what_it_told_last(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    [silent] = await bench.storage.crew()
    assert (silent.id, silent.name, silent.claimed) == (worker, "host:1", 1)
    assert (silent.report, silent.alive, silent.draining) == (None, True, False)
    assert silent.started_at == to_datetime(bench.now)
    runs = RunningJob(job, claim.type, claim.queue, 1, to_datetime(bench.now))
    for number, told in ((1, report(bench)), (2, report(bench, running=(runs,), active=1))):
        await bench.storage.tell(worker, number, told, [])
        [seen] = await bench.storage.crew()
        assert seen.report == told
    await bench.storage.tell(worker, 3, None, [counted(bench, completed=1)])
    assert (await bench.storage.crew())[0].report == told
    await bench.storage.retire(worker)
    assert await bench.storage.crew() == []


async def test_a_worker_whose_lease_has_ended_is_not_alive(bench: Bench) -> None:
    worker = await bench.enlist()
    bench.clock.advance(LEASE + 1)
    [seen] = await bench.storage.crew()
    assert (seen.id, seen.alive) == (worker, False)
    assert not await bench.storage.drain(worker, True)


async def test_what_a_dead_worker_told_is_forgotten_with_it(bench: Bench) -> None:
    worker = await bench.enlist()
    await bench.storage.tell(worker, 9, report(bench), [])
    await bench.end_leases()
    await bench.storage.tell(worker, 10, report(bench), [])  # On its way for long.
    await bench.storage.prune(bench.now, 100)
    assert await bench.storage.crew() == []


async def test_what_a_dead_worker_told_says_when_its_attempts_began(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    began = bench.now
    bench.clock.advance(3)

    async def tell(number: int, attempt: int) -> None:
        runs = RunningJob(job, claim.type, claim.queue, attempt, to_datetime(began))
        await bench.storage.tell(worker, number, report(bench, running=(runs,), active=1), [])

    await tell(1, 1)
    await bench.end_leases()
    [error] = (await bench.info(job)).errors
    assert (error.kind, error.started_at) == ("crash", to_datetime(began))

    # Of the attempt before it, or of a run of the same one that was over: nothing is known.
    for untold in (1, 2):
        worker = await bench.enlist()
        again = await bench.claim_one(worker)
        await bench.begin(worker, again)
        began = bench.now
        await tell(1, again.attempt + 1 if untold == 2 else again.attempt)
        if untold == 2:
            await bench.finish(worker, bench.snoozed(again, 0))
            bench.clock.advance(1)
            await bench.begin(worker, await bench.claim_one(worker))
        await bench.end_leases()
        assert [one.started_at for one in (await bench.info(job)).errors[1:]] == [None] * untold


async def test_a_report_that_cannot_be_read_keeps_no_job_of_the_dead(bench: Bench) -> None:
    job, worker, _ = await bench.running()
    odd = msgspec.structs.replace(report(bench), running=(1,))  # As another version might tell it.
    await bench.storage.tell(worker, 1, odd, [])
    assert (await bench.end_leases()).crashed == 1
    assert [one.started_at for one in (await bench.info(job)).errors] == [None]


async def test_a_worker_that_is_to_drain_is_told_with_its_heartbeat(bench: Bench) -> None:
    worker, other = await bench.enlist(), await bench.enlist()
    assert not (await bench.storage.extend(worker)).draining
    assert await bench.storage.drain(worker, True)
    assert (await bench.storage.extend(worker)).draining
    assert not (await bench.storage.extend(other)).draining
    assert [one.draining for one in await bench.storage.crew()] == [True, False]
    assert await bench.storage.drain(worker, False)
    assert not (await bench.storage.extend(worker)).draining
    assert not await bench.storage.drain(worker + other + 1, True)


async def test_a_worker_that_enlists_anew_goes_on_draining(bench: Bench) -> None:
    beat = await bench.storage.enlist(WorkerSpec("host:1", LEASE, draining=True))
    assert beat.draining
    assert (await bench.storage.extend(beat.worker)).draining


async def test_what_dead_workers_had_is_told_by_queue_and_type(bench: Bench) -> None:
    await bench.add_many(3, queue="mail", type="SEND")
    await bench.add_many(2, queue="mail", type="READ")
    worker = await bench.enlist()
    claims = await bench.claim(worker, queues=None)
    sends = [claim for claim in claims if claim.type == "SEND"]
    await bench.begin(worker, *sends[:2])
    reclaimed = await bench.end_leases()
    told = {(one.queue, one.type): (one.jobs, one.crashed) for one in reclaimed.rescued}
    assert told == {("mail", "SEND"): (3, 2), ("mail", "READ"): (2, 0)}
    assert (reclaimed.crashed, reclaimed.untouched) == (2, 3)
