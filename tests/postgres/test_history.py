"""History in partitions: made ahead, gone as a whole, and nothing goes that has to stay."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backroom.storage.postgres import history
from backroom.storage.postgres.history import History, Part, edge, following, width
from backroom.transition import Transition
from tests.contract.parts import DAY, WEEK, Bench
from tests.postgres.yard import Yard, a_yard
from tests.servers.fixtures import PostgresPlace

HOUR = history.HOUR
WIDTH = 42 * 3600.0
"""Of a partition, in seconds, where retention is a week."""
MANY = 50
"""Looks of several workers. Each may find the others in its way, where the machine is busy, and is
tried again `AGAIN` seconds later."""


@pytest.fixture
async def yard(postgres_url: PostgresPlace) -> AsyncIterator[Yard]:
    async with a_yard(postgres_url, WEEK) as yard:
        yield yard


@pytest.fixture
def all_go_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each partition were large."""
    monkeypatch.setattr(history, "WHOLE", 0)


async def complete(bench: Bench, count: int = 1) -> list[str]:
    jobs, worker = await bench.add_many(count), await bench.enlist()
    claims = await bench.claim(worker, count)
    assert await bench.finish(worker, *map(bench.completed, claims)) == [True] * count
    await bench.storage.retire(worker)
    return jobs


async def prune_all(bench: Bench) -> int:
    return await bench.prune_all(limit=1000)


# -- ahead ---------------------------------------------------------------------------------------


async def test_the_first_job_goes_into_a_partition(yard: Yard) -> None:
    bench = await yard.bench()
    [job] = await complete(bench)
    [part] = await yard.parts()
    assert await yard.table_of(job) == part.name
    where = "SELECT tableoid::regclass::text FROM background_jobs_ended"
    assert await yard.ask(where) == f"background_jobs_ended_{part.name}"


@pytest.mark.usefixtures("all_go_whole")
async def test_a_year_of_jobs_never_meets_a_time_without_a_partition(yard: Yard) -> None:
    bench = await yard.bench()
    most = 0
    for _ in range(300):
        bench.clock.advance(DAY / 2)
        await prune_all(bench)
        [job] = await complete(bench)
        assert await yard.table_of(job) != "jobs_rest"
        most = max(most, len(await yard.parts()))
    assert most <= 7  # With the rest 8 tables: what a statement is locked and planned for.
    kept = await yard.ask("SELECT count(*) FROM background_jobs")
    assert 14 <= kept <= 14 + 5  # Retention, and up to a width and a half.


async def test_several_workers_make_a_partition_once(yard: Yard) -> None:
    benches = [await yard.bench() for _ in range(4)]
    yard.clock.advance(WIDTH * 0.8)
    rounds = 0
    while rounds < 3 or (len(await yard.parts()) < 2 and rounds < MANY):
        await asyncio.gather(*[bench.prune() for bench in benches * 2])
        yard.clock.advance(history.AGAIN)
        rounds += 1
    first, second = await yard.parts()
    assert first.high == second.low


async def test_after_days_without_a_worker_a_partition_begins_where_no_job_is_in_its_way(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "FEW", 10)
    bench = await yard.bench()
    yard.clock.advance(20 * DAY)
    many = await complete(bench, 30)
    assert {await yard.table_of(job) for job in many} == {"jobs_rest"}
    await bench.prune()
    yard.clock.advance(301)
    [job] = await complete(bench)
    assert await yard.table_of(job) == (await yard.parts())[-1].name
    assert {await yard.table_of(job) for job in many} == {"jobs_rest"}
    assert (await bench.page())[0] == [job, *many[::-1]]
    yard.clock.advance(8 * DAY)
    await prune_all(bench)
    assert await bench.page() == ([], None)


async def test_few_jobs_in_the_way_of_a_partition_move_into_it(yard: Yard) -> None:
    bench = await yard.bench()
    yard.clock.advance(WIDTH * 1.1)
    done = await complete(bench)
    live = await bench.add(delay=DAY)
    yard.clock.advance(-WIDTH * 0.4)
    before = [await bench.info(job) for job in (*done, live)]
    await bench.prune()
    name = (await yard.parts())[-1].name
    assert [await yard.table_of(job) for job in (*done, live)] == [name, name]
    assert [await bench.info(job) for job in (*done, live)] == before


async def test_jobs_of_clocks_that_are_wrong_are_kept_and_go_in_their_time(yard: Yard) -> None:
    bench = await yard.bench()
    odd = [
        str(uuid.UUID(int=(edge(moment).int | 7 << 76 | 2 << 62 | n)))
        for n, moment in enumerate([0, bench.later(-400 * DAY), bench.later(900 * DAY)])
    ]
    odd.append(str(uuid.uuid4()))
    await bench.insert([bench.record(id=one) for one in odd])
    assert {await yard.table_of(job) for job in odd} == {"jobs_rest"}
    worker = await bench.enlist()
    claims = await bench.claim(worker)
    assert sorted(claim.id for claim in claims) == sorted(odd)
    await bench.finish(worker, *map(bench.completed, claims))
    yard.clock.advance(WEEK - 1)
    assert await prune_all(bench) == 0
    yard.clock.advance(2)
    assert await prune_all(bench) == len(odd)
    assert await bench.page() == ([], None)


async def test_too_many_jobs_of_a_time_to_come_are_told_of_and_kept_in_the_rest(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(history, "FEW", 10)
    bench = await yard.bench()
    ahead = bench.later(WIDTH * 1.5)
    ids = [str(uuid.UUID(int=edge(ahead).int | 7 << 76 | 2 << 62 | n)) for n in range(20)]
    await bench.insert([bench.record(id=one) for one in ids])
    yard.clock.advance(WIDTH * 0.8)
    await bench.prune()
    assert "are the clocks of all machines right?" in caplog.text
    assert len(await yard.parts()) == 1
    assert len((await bench.page())[0]) == 20


async def test_a_short_retention_has_no_partitions(postgres_url: PostgresPlace) -> None:
    async with a_yard(postgres_url, 600.0) as yard:
        bench = await yard.bench()
        await bench.prune()
        assert await yard.parts() == []


async def test_what_is_kept_for_ever_has_partitions_that_stay(postgres_url: PostgresPlace) -> None:
    async with a_yard(postgres_url, None) as yard:
        bench = await yard.bench()
        jobs = await complete(bench)
        for _ in range(40):
            yard.clock.advance(90 * DAY)
            await bench.prune()
            jobs += await complete(bench)
            assert await yard.table_of(jobs[-1]) != "jobs_rest"
        assert (await bench.page())[0] == jobs[::-1]
        assert len(await yard.parts()) <= 16


def test_partitions_are_wider_where_old_ones_must_stay() -> None:
    assert width(WEEK, 0) == 42 * HOUR
    assert width(WEEK, 7 * 42 * HOUR) == 49 * HOUR
    assert width(3 * 3600.0, 0) == 0


def test_a_partition_far_ahead_leaves_the_time_before_it_to_others() -> None:
    far = Part("x", edge(1000 * HOUR), edge(1042 * HOUR), 0, True)
    soon = 2 * HOUR + history.MARGIN
    assert following([far], 2 * HOUR, WEEK) == (soon, soon + 42 * HOUR)
    assert following([far], 990 * HOUR, WEEK) == (990 * HOUR + history.MARGIN, 1000 * HOUR)
    assert following([far], 1010 * HOUR, WEEK) is None


# -- away ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("all_go_whole")
async def test_a_partition_goes_as_a_whole_and_what_must_stay_moves(yard: Yard) -> None:
    bench = await yard.bench()
    gone = await complete(bench, 20)
    worker = await bench.enlist()
    wrong = await bench.add()
    outcome = bench.failed(await bench.claim_one(worker))
    outcome.log = [(bench.now, "info", "hello")]
    await bench.finish(worker, outcome)
    first = (await yard.parts())[0].name

    scheduled = await bench.add(delay=400 * DAY)
    failed, again = await bench.add(), await bench.add()
    claims = await bench.claim(worker)
    await bench.finish(worker, *[bench.retried(claim, delay=400 * DAY) for claim in claims])
    await bench.storage.cancel(failed, bench.now)
    parked = await bench.add()
    await bench.finish(worker, Transition.parked(await bench.claim_one(worker)))
    active, late = await bench.add(), await bench.add()
    claims = {claim.id: claim for claim in await bench.claim(worker)}
    yard.clock.advance(WIDTH + DAY)
    await bench.storage.extend(worker)
    outcome = bench.failed(claims[late])
    outcome.log = [(bench.now, "info", "hello")]
    await bench.finish(worker, outcome)
    waiting = await bench.add()
    stay = [scheduled, again, parked, active, late, waiting]
    assert await yard.table_of(scheduled) == first

    yard.clock.advance(WEEK - DAY)
    await bench.storage.extend(worker)
    before = [await bench.info(job) for job in stay]
    touched = await prune_all(bench)

    assert touched == len([*gone, wrong, failed])
    assert [await bench.info(job) for job in stay] == before
    assert (await bench.page())[0] == stay[::-1]
    assert first not in {part.name for part in await yard.parts()}
    assert {await yard.table_of(job) for job in stay[:-1]} == {"jobs_rest"}
    assert await yard.ask("SELECT to_regclass($1)", f"background_jobs_{first}") is None
    assert await yard.ask("SELECT to_regclass($1)", f"background_jobs_ended_{first}") is None
    for table, left in (("errors", {again, late}), ("logs", {late})):
        rows = await yard.side.fetch(f"SELECT DISTINCT job FROM background_jobs_{table}")
        assert {str(row[0]) for row in rows} == left
    # They go on as if nothing had been.
    assert await bench.finish(worker, bench.completed(claims[active])) == [True]
    assert [claim.id for claim in await bench.claim(worker, types={"SEND_EMAIL": 1})] == [
        parked, waiting,
    ]  # fmt: skip


async def test_small_partitions_go_row_by_row_each_job_to_its_time(yard: Yard) -> None:
    bench = await yard.bench()
    await complete(bench, 3)
    yard.clock.advance(DAY)
    await complete(bench, 2)
    yard.clock.advance(WEEK - DAY + 1)
    assert await bench.prune() == 3
    yard.clock.advance(DAY)
    assert await prune_all(bench) == 2
    yard.clock.advance(WIDTH)
    await prune_all(bench)
    assert [part.low for part in await yard.parts()] >= [edge(bench.later(-2 * WIDTH))]


@pytest.mark.usefixtures("all_go_whole")
async def test_a_large_partition_is_left_alone_until_its_time(yard: Yard) -> None:
    bench = await yard.bench()
    await complete(bench, 5)
    [part] = await yard.parts()
    yard.clock.advance(WIDTH)
    await bench.prune()
    end = ((part.high.int >> 80) * 1000 - bench.now) / 1e6 + WEEK
    yard.clock.advance(end - 1)
    assert await prune_all(bench) == 0
    yard.clock.advance(2)
    assert await prune_all(bench) == 5


@pytest.mark.usefixtures("all_go_whole")
async def test_a_partition_of_which_much_must_stay_goes_row_by_row(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "FEW", 10)
    bench = await yard.bench()
    await complete(bench, 5)
    live = await bench.add_many(11, delay=400 * DAY)
    first = (await yard.parts())[0].name
    yard.clock.advance(WIDTH + WEEK)
    await bench.prune(), await bench.prune()
    assert (await bench.page())[0] == live[::-1]
    assert await yard.table_of(live[0]) == first
    await bench.storage.delete(live.pop())
    yard.clock.advance(history.LATER)
    await bench.prune()
    assert await yard.table_of(live[0]) == "jobs_rest"
    assert (await bench.page())[0] == live[::-1]


@pytest.mark.usefixtures("all_go_whole")
async def test_who_holds_a_look_open_stops_nobody(yard: Yard) -> None:
    bench = await yard.bench()
    await complete(bench, 5)
    first = (await yard.parts())[0].name
    yard.clock.advance(WIDTH + WEEK)
    reader = await yard.connect()
    await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM background_jobs")

    began = time.monotonic()
    await bench.prune()
    adding = [asyncio.ensure_future(complete(bench)) for _ in range(3)]
    await bench.prune()
    await asyncio.gather(*adding)
    assert time.monotonic() - began < 5
    assert first in {part.name for part in await yard.parts()}

    await reader.execute("COMMIT")
    await reader.close()
    await prune_all(bench)
    assert first in {part.name for part in await yard.parts()}  # Not at once again.
    yard.clock.advance(history.AGAIN)
    assert await prune_all(bench) == 5
    assert first not in {part.name for part in await yard.parts()}


@pytest.mark.usefixtures("all_go_whole")
async def test_several_workers_let_a_partition_go_once(yard: Yard) -> None:
    benches = [await yard.bench() for _ in range(3)]
    await complete(benches[0], 40)
    live = await benches[0].add(delay=400 * DAY)
    yard.clock.advance(WIDTH + WEEK)
    total = rounds = 0
    while rounds < 3 or (not total and rounds < MANY):
        total += sum(await asyncio.gather(*[bench.prune() for bench in benches * 2]))
        yard.clock.advance(history.AGAIN)
        rounds += 1
    assert total == 40
    assert (await benches[0].page())[0] == [live]


@pytest.mark.usefixtures("all_go_whole")
async def test_who_comes_too_late_leaves_a_partition_that_went_alone(yard: Yard) -> None:
    bench, other = await yard.bench(), await yard.bench()
    await complete(bench, 5)
    yard.clock.advance(WIDTH + WEEK)
    parts = await yard.parts()
    assert await prune_all(bench) == 5
    late: Any = other.storage
    gone = await late._links.run(
        lambda link: late._retaining._history.let_go(link, parts, yard.clock.now())
    )
    assert gone == (0, False)


class Killed(BaseException):
    """As if the process ended here."""


@pytest.mark.usefixtures("all_go_whole")
@pytest.mark.parametrize("step", ["_end", "sweep"])
async def test_what_a_killed_worker_began_another_one_ends(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    bench, other = await yard.bench(), await yard.bench()
    await complete(bench, 5)
    worker = await bench.enlist()
    await bench.add()
    await bench.finish(worker, bench.failed(await bench.claim_one(worker)))
    live = await bench.add(delay=400 * DAY)
    yard.clock.advance(WIDTH + WEEK)
    with monkeypatch.context() as patch:

        async def killed(*_: Any) -> Any:
            raise Killed

        patch.setattr(History, step, killed)
        with pytest.raises(Killed):
            await prune_all(bench)
    assert (await bench.page())[0] == [live]
    await prune_all(other)
    assert (await bench.page())[0] == [live]
    assert all(part.attached for part in await yard.parts())
    assert await yard.ask("SELECT count(*) FROM background_jobs_errors") == 0


@pytest.mark.usefixtures("all_go_whole")
async def test_what_changed_while_a_partition_was_taken_out_comes_back(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry by people, and a job of a clock that is weeks behind, after the look and before
    the lock."""
    bench = await yard.bench()
    done = await complete(bench, 5)
    part = (await yard.parts())[0]
    late = bench.record(delay=1)
    yard.clock.advance(WIDTH + WEEK)
    take_out = History._take_out

    async def meanwhile(self: History, link: Any, part: Part, cutoff: int) -> bool:
        taken = await take_out(self, link, part, cutoff)
        table = f"background_jobs_{part.name}"
        await yard.side.execute(
            f"INSERT INTO {table} (id, type, queue, priority, run_at, created_at, data)"
            " VALUES ($1, 'SEND_EMAIL', 'default', 2, $2, $2, '{}')",
            late.id, late.run_at,
        )  # fmt: skip
        await yard.side.execute(f"DELETE FROM background_jobs_ended_{part.name} WHERE id = $1",
                                done[0])  # fmt: skip
        return taken

    monkeypatch.setattr(History, "_take_out", meanwhile)
    assert await prune_all(bench) == 4
    assert part.name not in {part.name for part in await yard.parts()}
    assert (await bench.page())[0] == [late.id, done[0]]
    worker = await bench.enlist()
    assert {claim.id for claim in await bench.claim(worker)} == {late.id, done[0]}


@pytest.mark.usefixtures("all_go_whole")
async def test_jobs_go_their_way_while_partitions_come_and_go(yard: Yard) -> None:
    """Two who prune, two who work: what was not yet past its time is there."""
    benches = [await yard.bench() for _ in range(2)]
    kept: list[str] = []
    stop = False

    async def work(bench: Bench) -> None:
        worker = await bench.enlist()
        while not stop:
            kept.extend(await bench.add_many(5))
            claims = await bench.claim(worker, 5)
            done = await bench.finish(worker, *map(bench.completed, claims))
            assert done == [True] * len(claims)

    async def prune(bench: Bench) -> None:
        while not stop:
            await bench.prune()

    tasks = [asyncio.ensure_future(act(bench)) for act in (work, prune) for bench in benches]
    live = [await benches[0].add(delay=4000 * DAY)]
    for _ in range(12):
        for _ in range(4):
            await asyncio.sleep(0.02)
        del kept[:]
        live.append(await benches[0].add(delay=4000 * DAY))
        yard.clock.advance(WIDTH)
    stop = True
    await asyncio.gather(*tasks)
    there = set((await benches[0].page(limit=1000))[0])
    assert set(live) <= there
    assert set(kept) <= there
