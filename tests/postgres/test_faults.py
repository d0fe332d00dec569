"""Jobs in PostgreSQL while the network misbehaves: what was acknowledged is kept and ends once,
what is not known is found out and never guessed, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from backroom import DatabaseJobStorage, Job, JobService
from backroom.errors import StorageError
from backroom.ports import Wake, Want, WorkerSpec
from tests.postgres.bustle import Bustle, audit, by_way_of, short
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace, made_place
from tests.servers.proxy import Proxy

FAULTS: dict[str, Callable[[Proxy], None]] = {
    "cut": Proxy.cut,
    "refused": Proxy.refuse,
    "black hole": Proxy.swallow,
    "deaf": lambda proxy: proxy.swallow("up"),
    "dumb": lambda proxy: proxy.swallow("down"),
    "forgotten": Proxy.forget,
    "half open": Proxy.hang_up,
}
EVERYTHING = Want(queues=None, but=(), rooms=(10, 10, 10, 10))


@pytest.fixture
def proxy(postgres_url: PostgresPlace) -> Iterator[Proxy]:
    with Proxy(postgres_url.url) as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: Proxy, postgres_url: PostgresPlace) -> AsyncIterator[DatabaseJobStorage]:
    """Open, and behind the proxy."""
    storage = by_way_of(proxy, postgres_url)
    await storage.open()
    yield storage
    proxy.heal()
    await storage.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says at first sight."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# -- a service at work ----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_whatever_befalls_the_network_every_job_ends_once(
    fault: Callable[[Proxy], None],
    proxy: Proxy,
    postgres_url: PostgresPlace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bustle = Bustle(by_way_of(proxy, postgres_url))
    async with bustle.at_work():
        for _ in range(2):
            fault(proxy)
            await asyncio.sleep(1.5)  # That long it lasts.
            proxy.heal()
            # A connection that is silent is given up after a second, and so may the next one be.
            await bustle.works_again(within=15)
    await audit(bustle, postgres_url)
    assert len(warnings(caplog)) <= 1, warnings(caplog)


async def test_a_slow_network_is_no_fault(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    proxy.delay = 0.02
    with made_place() as place:  # To make tables may take longer than this storage's patience.
        bustle = Bustle(by_way_of(proxy, place))
        async with bustle.at_work():
            pass
        await audit(bustle, place)
    assert not warnings(caplog)


@pytest.mark.parametrize(
    "statement",
    [
        'INSERT INTO "{schema}"."background_jobs" ',
        "kept AS",
        "starving AS",
        "COMMIT",
        'INSERT INTO "{schema}"."background_jobs_begun" ',
        "SET beat",
    ],
    ids=["insert", "outcome", "claim", "commit", "start", "lease"],
)
async def test_a_reply_that_is_lost_is_found_out(
    statement: str, proxy: Proxy, postgres_url: PostgresPlace
) -> None:
    wanted = statement.format(schema=postgres_url.schema)
    # So few slots that some jobs wait in a lane, and others do not.
    bustle = Bustle(
        by_way_of(proxy, postgres_url), lease=2, every=0.01, concurrency=2, takes=0.03,
        logs=statement == "COMMIT",
    )  # fmt: skip
    async with bustle.at_work():
        for lost in range(1, 4):
            proxy.lose_reply(wanted)
            await eventually_async(lambda lost=lost: len(proxy.lost) >= lost, wanted)
            await bustle.works_again()
    await audit(bustle, postgres_url)
    assert not bustle.unknown, "it was asked again, and then it was known"


async def test_a_lease_survives_a_connection_that_was_forgotten(
    proxy: Proxy, postgres_url: PostgresPlace, caplog: pytest.LogCaptureFixture
) -> None:
    # Others wait longer for an answer than this lease lasts.
    storage = short(by_way_of(proxy, postgres_url), 6)
    async with JobService(storage, lease=4):
        # The lease's thread has a loop of its own.
        await eventually_async(lambda: len(storage._links._loops) == 2, "its first heartbeat")
        await eventually_async(
            lambda: all(its.idle for its in storage._links._loops.values()), "all idle"
        )
        proxy.forget()
        await asyncio.sleep(6)  # It would have ended by then.
    assert "lease is lost" not in caplog.text


async def test_a_session_that_is_forgotten_while_it_arrives_costs_no_lease(
    store: DatabaseJobStorage, proxy: Proxy
) -> None:
    proxy.forget_at("pg_advisory_lock_shared")
    async with asyncio.timeout(3):  # Else five, which is more than a short lease has left.
        with pytest.raises(StorageError, match=r"no answer within 0\.5 s"):
            await store._links.connect(0.5)
    assert not proxy.forgetting, "it was on its way"


# -- one verb at a time ---------------------------------------------------------------------------


async def test_jobs_of_a_claim_whose_answer_was_lost_are_not_held_for_ever(
    store: DatabaseJobStorage, proxy: Proxy
) -> None:
    service = JobService(store)
    service.declare("MAIL")
    await service.schedule("MAIL", {})
    worker = (await store.enlist(WorkerSpec("here:1", 30))).worker
    proxy.lose_reply("starving AS")
    # To claim again, and to tell of nothing, would leave it with a worker that knows nothing of it.
    with pytest.raises(StorageError, match="whether it was carried out is not known"):
        await store.claim(worker, EVERYTHING, store.clock.now())
    assert await store.give_back(worker, []) == 1
    assert len((await store.claim(worker, EVERYTHING, store.clock.now())).claims) == 1
    await service.stop()


async def test_that_a_job_may_be_there_is_said_also_where_there_is_no_connection_any_more(
    store: DatabaseJobStorage, proxy: Proxy
) -> None:
    service = JobService(store)
    service.declare("MAIL")
    await service.schedule("MAIL", {})
    proxy.lose_reply("INSERT INTO", then_refuse=True)
    with pytest.raises(StorageError, match=r"no connection to .*whether it was carried out is not"):
        await service.schedule("MAIL", {})
    with pytest.raises(StorageError, match=r"no connection to .*nothing was changed"):
        await service.schedule("MAIL", {})
    proxy.heal()
    assert (await service.get_stats()).by_status["pending"] == 2
    await service.stop()


async def test_a_person_is_not_told_that_it_was_refused_where_it_was_done(
    store: DatabaseJobStorage, proxy: Proxy
) -> None:
    service = JobService(store)
    service.declare("MAIL")
    job = await service.schedule("MAIL", {})
    proxy.lose_reply("COMMIT")
    with pytest.raises(StorageError, match=r"asked again it said: .*is not known"):
        await service.delete_job(job)
    assert (await service.get_stats()).by_status["pending"] == 0
    await service.stop()


@pytest.mark.parametrize("way", ["up", "down", "both"])
async def test_nobody_waits_for_ever_for_a_connection_that_does_not_answer(
    way: str, store: DatabaseJobStorage, proxy: Proxy
) -> None:
    service = JobService(store)
    service.declare("MAIL")
    await service.schedule("MAIL", {})
    proxy.swallow(way)  # type: ignore[arg-type]
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"no connection|not within 1 s"):
        await service.schedule("MAIL", {})
    # One second for the answer, one for another connection.
    assert 0.9 < time.monotonic() - began < 4
    began = time.monotonic()
    with pytest.raises(StorageError, match="no connection"):
        await service.get_stats()
    await service.stop()
    assert time.monotonic() - began < 8


async def test_what_befell_one_connection_befell_the_others(
    store: DatabaseJobStorage, proxy: Proxy
) -> None:
    await asyncio.gather(*[store.queues() for _ in range(6)])
    proxy.forget()
    began = time.monotonic()
    for _ in range(6):
        await store.queues()
    assert time.monotonic() - began < 3, "only the first one is waited for"


async def test_a_transaction_in_a_black_hole_ends_in_time(
    store: DatabaseJobStorage, proxy: Proxy
) -> None:
    worker = (await store.enlist(WorkerSpec("here:1", 30))).worker
    proxy.lose_reply("never said")
    giving = asyncio.create_task(store.give_back(worker, []))
    proxy.swallow("down")
    began = time.monotonic()
    with pytest.raises(StorageError):
        await giving
    assert time.monotonic() - began < 4


async def test_closing_does_not_wait_for_who_does_not_answer(
    proxy: Proxy, postgres_url: PostgresPlace
) -> None:
    storage = by_way_of(proxy, postgres_url)
    await storage.open()
    await asyncio.gather(*[storage.stats(0) for _ in range(6)])
    proxy.swallow()
    began = time.monotonic()
    await storage.close()
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(("way", "working"), [("up", False), ("down", True)])
async def test_a_service_stops_in_time_though_its_server_is_silent(
    way: str, working: bool, proxy: Proxy, postgres_url: PostgresPlace
) -> None:
    """With the patience that it has where nobody tests it."""
    service = JobService(DatabaseJobStorage(proxy.of(postgres_url.url), schema=postgres_url.schema))
    begun = asyncio.Event()

    @service.handler("WORK")
    async def work(job: Job[Any]) -> None:
        begun.set()
        await asyncio.sleep(60)

    await service.start()
    if working:
        for _ in range(20):  # Some wait in a lane.
            await service.schedule("WORK")
        await begun.wait()
    proxy.swallow(way)  # type: ignore[arg-type]
    began = time.monotonic()
    await service.stop(grace=1)
    assert time.monotonic() - began < 1 + 10, "as `docs/operate.md` says"


# -- wake-ups -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_who_listens_is_not_deaf_for_good(
    fault: Callable[[Proxy], None],
    proxy: Proxy,
    postgres_url: PostgresPlace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backroom.storage.postgres.wakeup.LOOK", 0.5)
    here = by_way_of(proxy, postgres_url)
    there = DatabaseJobStorage(postgres_url.url, schema=postgres_url.schema)
    heard = asyncio.Event()
    service = JobService(there)
    service.declare("NEWS")
    await here.open()
    await service.open()
    unsubscribe = here.subscribe(lambda wake: wake is Wake.JOBS and heard.set())

    async def told() -> bool:
        heard.clear()
        await service.schedule("NEWS", {})
        try:
            await asyncio.wait_for(heard.wait(), 0.3)
        except TimeoutError:
            return False
        return True

    await eventually_async(told, "it listens")
    fault(proxy)
    await asyncio.sleep(1)
    proxy.heal()
    await eventually_async(told, "it hears again")
    unsubscribe()
    await here.close()
    await service.stop()
