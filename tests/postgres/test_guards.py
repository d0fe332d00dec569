"""What the statements on PostgreSQL take care of beyond the contract: nobody waits for who is in
the way, several statements are all or nothing, and others are woken with the commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any, Final

import asyncpg
import pytest

from backroom import DatabaseJobStorage
from backroom.errors import LeaseLostError, StorageError
from backroom.ports import Claimed, Report
from tests.contract.parts import WEEK, Bench, SettableClock
from tests.servers.fixtures import PostgresPlace

LINE = (1, "info", "a line of its log")


@pytest.fixture
async def bench(postgres_url: PostgresPlace) -> AsyncIterator[Bench]:
    clock = SettableClock()
    storage = DatabaseJobStorage(postgres_url.url, schema=postgres_url.schema, clock=clock)
    await storage.open()
    yield Bench(storage, clock)
    await storage.close()


@pytest.fixture
async def other(postgres_url: PostgresPlace) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else at the same tables."""
    connection = await asyncpg.connect(
        postgres_url.url, server_settings={"search_path": postgres_url.schema}
    )
    yield connection
    await connection.close()


SEVERAL: Final = {"few": "claim_few", "many": "claim", "parked": "claim_parked"}
"""The statements that claim: for who has had all there was, for who has not, and where some jobs
wait for a worker that knows them."""
WAYS: Final = {"one": "claim_one", **SEVERAL}
"""And the one of a single job, for who has found nothing."""


async def claim_by(way: str, bench: Bench, worker: int, room: int = 100, **options: Any) -> Claimed:
    """A claim by one of these statements, and by no other one; if one is not there, by few."""
    storage = bench.storage
    assert isinstance(storage, DatabaseJobStorage)
    storage._base.parked = way == "parked"
    claiming = storage._claiming
    claiming._had_all.clear()
    claiming._had_none.clear()
    options = {"queues": None} | options
    if way == "one":
        claiming._had_none.add((options["queues"], options.get("but", ())))
    if way == "many":
        options |= {"starving": 1, "starving_since": bench.later(-60)}
    used = {WAYS[way]} | ({"claim_few"} if way == "one" else set())
    with pytest.MonkeyPatch.context() as patch:
        for other in set(WAYS.values()) - used:
            patch.delitem(storage._statements._texts, other)
        return await bench.look(worker, room, **options)


def ids(claimed: Claimed) -> list[str]:
    return [claim.id for claim in claimed.claims]


@pytest.mark.parametrize("way", WAYS)
async def test_a_claim_passes_over_what_others_are_about_to_take(
    bench: Bench, other: asyncpg.Connection, way: str
) -> None:
    first, second = await bench.add_many(2)
    worker = await bench.enlist()
    async with other.transaction():
        await other.execute("SELECT FROM background_jobs_ready ORDER BY id LIMIT 1 FOR UPDATE")
        async with asyncio.timeout(5):
            claimed = await claim_by(way, bench, worker)
            assert ids(claimed) == [second]
            assert claimed.more, "the other one may let go of its job"
    assert ids(await claim_by(way, bench, worker)) == [first]


@pytest.mark.parametrize("way", WAYS)
async def test_a_claim_waits_for_who_declares_its_worker_dead(
    bench: Bench, other: asyncpg.Connection, postgres_url: PostgresPlace, way: str
) -> None:
    await bench.add()
    worker = await bench.enlist()
    dying = other.transaction()
    await dying.start()
    await other.execute("DELETE FROM background_jobs_workers")
    claiming = asyncio.ensure_future(claim_by(way, bench, worker))
    pid = other.get_server_pid()
    looking = await asyncpg.connect(postgres_url.url)
    async with asyncio.timeout(10):
        while not await looking.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))", pid
        ):
            assert not claiming.done(), "it claimed for a worker that is no more"
            await asyncio.sleep(0.01)
    await looking.close()
    await dying.commit()
    with pytest.raises(LeaseLostError, match="declared dead"):
        await claiming
    assert await other.fetchval("SELECT count(*) FROM background_jobs_held") == 0
    assert await other.fetchval("SELECT count(*) FROM background_jobs_ready") == 1, "it waits on"


@pytest.mark.parametrize("way", SEVERAL)
async def test_no_way_to_claim_takes_too_much_at_once(bench: Bench, way: str) -> None:
    jobs = await bench.add_many(14, data='{"a":"' + "x" * 3_000_000 + '"}')
    worker = await bench.enlist()
    claimed = await claim_by(way, bench, worker)
    assert (ids(claimed), claimed.more) == (jobs[:11], True), "as much as 32 MiB hold"
    assert ids(await claim_by(way, bench, worker)) == jobs[11:]


@pytest.mark.parametrize("seed", range(12))
async def test_all_ways_to_claim_take_the_same(
    bench: Bench, other: asyncpg.Connection, seed: int
) -> None:
    chance = Random(seed)
    for queue in ("a", "b", "c"):
        await bench.add_many(
            chance.randrange(12), queue=queue, priority=chance.randrange(4),
            run_at=bench.later(chance.choice((-2, -1, 0, 5))),
        )  # fmt: skip
        await bench.add_many(3, queue=queue, priority=chance.randrange(4), data="{}" * 9)
    if chance.random() < 0.5:
        await bench.storage.pause("b", True)
    options: dict[str, Any] = {
        "queues": chance.choice((None, ("a", "c"), ("b",), ("none",))),
        "but": chance.choice(((), ("a",))),
        "starts": chance.randrange(5),
    }
    room, worker = chance.choice((1, 5, 100)), await bench.enlist()
    seen = []
    for way in SEVERAL:
        claimed = await claim_by(way, bench, worker, room, **options)
        claims = claimed.claims
        assert len({claim.token for claim in claims}) <= 1
        started = await other.fetchval("SELECT started FROM background_jobs_held")
        assert [str(one) for one in started or ()] == ids(claimed)[: options["starts"]]
        assert claimed.started == min(options["starts"], len(claims))
        seen.append(([(claim.id, claim.run_at, claim.data) for claim in claims],
                     claimed.more, claimed.next_due))  # fmt: skip
        await bench.storage.give_back(worker, ())
    assert seen[0] == seen[1] == seen[2]
    first = await claim_by("one", bench, worker, room, **options)
    if not seen[0][0]:
        assert (first.claims, first.more, first.next_due) == seen[0]
        return
    assert [(claim.id, claim.run_at, claim.data) for claim in first.claims] == seen[0][0][:1]
    assert first.more, "there may be others"
    assert first.started == min(options["starts"], 1)
    started = await other.fetchval("SELECT started FROM background_jobs_held")
    assert [str(one) for one in started] == ids(first)[: options["starts"]]
    rest = await claim_by("few", bench, worker, max(1, room - 1), **options)
    assert ids(rest) == [id_ for id_, _, _ in seen[0][0]][1:] or room == 1


@pytest.mark.parametrize("way", WAYS)
async def test_the_first_of_all_queues_is_taken_first(bench: Bench, way: str) -> None:
    later = await bench.add(queue="a", run_at=bench.later(-1))
    first = await bench.add(queue="b", run_at=bench.later(-2))
    worker = await bench.enlist()
    assert ids(await claim_by(way, bench, worker, 1)) == [first]
    assert ids(await claim_by(way, bench, worker, 1)) == [later]


async def test_who_has_found_nothing_takes_the_next_job_alone(bench: Bench) -> None:
    worker = await bench.enlist()
    claiming = bench.storage._claiming  # type: ignore[attr-defined]
    for _ in range(3):
        assert not (await bench.look(worker, 10, queues=None)).claims
        assert claiming._had_none, "it knows that nothing was due"
        jobs = await bench.add_many(3)
        first = await bench.look(worker, 10, queues=None)
        assert (ids(first), first.more) == (jobs[:1], True)
        assert ids(await bench.look(worker, 9, queues=None)) == jobs[1:]


async def test_who_starves_in_one_queue_is_not_forgotten_for_another_that_is_empty(
    bench: Bench,
) -> None:
    """Each of them has a worker's slots of its own, and is claimed from by itself."""
    since = bench.later(-60)
    full, empty = ("full",), ("empty",)
    low = await bench.add(queue="full", priority=3, run_at=bench.later(-90))
    await bench.add_many(30, queue="full", priority=1)
    worker = await bench.enlist()
    seen: list[str] = []
    for turn in range(4):
        assert await bench.claim(worker, 5, queues=empty, starving=1, starving_since=since) == []
        options = {"starving": 1, "starving_since": since} if turn else {}
        claims = await bench.claim(worker, 5, queues=full, **options)
        seen += [claim.id for claim in claims]
    assert seen.index(low) == 5, "the first of the second claim"


async def test_several_statements_are_kept_whole_or_not_at_all(bench: Bench) -> None:
    # With keys, some hundred go into one statement.
    records = [bench.record(unique_key=str(number)) for number in range(500)]
    records.append(bench.record(type="\ud800"))
    with pytest.raises((StorageError, ValueError), match="surrogates"):
        await bench.insert(records)
    assert await bench.page() == ([], None)


@pytest.mark.parametrize(("unique_key", "jobs"), [(None, 1), (None, 2), ("key", 1)])
async def test_others_are_woken_with_the_commit(
    bench: Bench,
    other: asyncpg.Connection,
    postgres_url: PostgresPlace,
    unique_key: str | None,
    jobs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    channel = f"{postgres_url.schema}.background_jobs"
    await other.add_listener(channel, lambda _, pid, channel, said: heard.put_nowait(said))
    # Whoever adds a job may die in the next moment: nothing is said after it.
    monkeypatch.setattr("backroom.storage.postgres.wakeup.Bells.ring", lambda *_: None)
    await bench.insert([bench.record(unique_key=unique_key) for _ in range(jobs)])
    assert await asyncio.wait_for(heard.get(), 5) == "jobs"


async def test_what_retention_removes_leaves_no_row(
    bench: Bench, other: asyncpg.Connection
) -> None:
    _, worker, claim = await bench.running()
    await bench.storage.report(worker, [Report(claim.key, claim.token, 1, None, None, [LINE])])
    await bench.finish(worker, bench.failed(claim))
    for table in ("errors", "logs", "ended"):
        assert await other.fetchval(f"SELECT count(*) FROM background_jobs_{table}") == 1
    bench.clock.advance(WEEK + 1)
    assert await bench.prune_all() == 1
    for table in ("errors", "logs", "ended", "keys"):
        assert await other.fetchval(f"SELECT count(*) FROM background_jobs_{table}") == 0
    assert await other.fetchval("SELECT count(*) FROM background_jobs") == 0
