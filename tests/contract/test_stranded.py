"""A job that nobody would ever run, since a row was lost that said where it is, is found and put
back; and no other one is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, cast

import pytest

from backroom.ports import Store
from backroom.storage.embedded import EmbeddedStorage
from backroom.transition import Transition
from tests.contract.flows import Flows
from tests.contract.parts import Bench, Place
from tests.contract.test_limits import add, claimed, limit


async def by_hand(storage: Store, sqlite: str, postgres: str) -> None:
    """Somebody changes rows."""
    if isinstance(storage, EmbeddedStorage):
        await storage._write(lambda ledger: ledger.run(sqlite).fetchall())
        return
    database = cast("Any", storage)
    text = database._statements.named(postgres)
    await database._links.run(lambda link: link.execute(text))


async def stranded(bench: Bench, most: int = 1000) -> list[str]:
    """All of them, in the order of their ids."""
    ids: list[str] = []
    after: str | None = None
    while True:
        found = await bench.storage.stranded(after, most)
        ids += found.ids
        after = found.following
        if after is None:
            return sorted(ids)


async def requeue(bench: Bench, *ids: str) -> int:
    return await bench.storage.requeue(ids, bench.now)


async def all_that_run(bench: Bench) -> set[str]:
    """The workers that are there die; all that another one finds comes to its end."""
    await bench.end_leases()
    worker, ran = await bench.enlist(), set()
    while claims := (await bench.look(worker, queues=None, types={"SEND_EMAIL": 1})).claims:
        ran |= {claim.id for claim in claims}
        await bench.finish(worker, *[bench.completed(claim) for claim in claims])
    await bench.storage.retire(worker)
    return ran


async def waits(bench: Bench) -> str:
    return await bench.add()


async def is_parked(bench: Bench) -> str:
    job, worker = await bench.add(), await bench.enlist()
    [claim] = await bench.claim(worker)
    await bench.finish(worker, Transition.parked(claim))
    return job


async def stands_in_line(bench: Bench) -> str:
    _, job = await add(bench), await add(bench)
    assert len(await claimed(bench, await bench.enlist())) == 1
    return job


async def is_held(bench: Bench) -> str:
    job, _, _ = await bench.running()
    return job


async def waits_for_another(bench: Bench) -> str:
    flow = Flows(bench)
    await flow.make("a b", "a>b")
    return flow.ids["b"]


class Loss(NamedTuple):
    job: Callable[[Bench], Awaitable[str]]
    sqlite: str
    postgres: str


LOSSES = {
    "its place in the queue": Loss(
        waits,
        "UPDATE job SET state = 5 WHERE id = '{id}'",
        "DELETE FROM {{ready}} WHERE id = '{id}'",
    ),
    "its place among the parked": Loss(
        is_parked,
        "UPDATE job SET state = 5 WHERE id = '{id}'",
        "DELETE FROM {{parked}} WHERE id = '{id}'",
    ),
    "its place in a line": Loss(
        stands_in_line,
        "DELETE FROM blocked WHERE job = (SELECT key FROM job WHERE id = '{id}')",
        "DELETE FROM {{blocked}} WHERE id = '{id}'",
    ),
    "the call from a line": Loss(
        stands_in_line,
        "UPDATE blocked SET called_at = 1 WHERE job = (SELECT key FROM job WHERE id = '{id}')",
        "UPDATE {{blocked}} SET called_at = 1 WHERE id = '{id}'",
    ),
    "its queue": Loss(
        waits,
        "DELETE FROM queue",
        "DELETE FROM {{queues}}",
    ),
    "the queue that it is parked in": Loss(
        is_parked,
        "DELETE FROM queue",
        "DELETE FROM {{queues}}",
    ),
    "its worker": Loss(
        is_held,
        "DELETE FROM worker",
        "DELETE FROM {{workers}}",
    ),
    "the end that it waits for": Loss(
        waits_for_another,
        "UPDATE member SET waits = 0 WHERE job = (SELECT key FROM job WHERE id = '{id}')",
        "UPDATE {{waiting}} SET waits = 0 WHERE id = '{id}'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
async def test_a_job_that_has_lost_its_place_is_found_put_back_and_claimed(
    bench: Bench, loss: Loss
) -> None:
    job = await loss.job(bench)
    assert await stranded(bench) == []
    await by_hand(bench.storage, loss.sqlite.format(id=job), loss.postgres.format(id=job))
    other = await bench.enlist()
    look = await bench.look(other, queues=None, types={"SEND_EMAIL": 1})
    assert job not in {claim.id for claim in look.claims}
    await bench.storage.retire(other)
    assert await stranded(bench) == [job]

    assert await requeue(bench, job) == 1

    assert await stranded(bench) == []
    assert await requeue(bench, job) == 0
    assert job in await all_that_run(bench)


async def test_where_nothing_is_lost_nobody_is_stranded_and_nobody_is_moved(bench: Bench) -> None:
    for make in (stands_in_line, is_held, is_parked, waits_for_another):
        await make(bench)
    await bench.add(delay=60)
    await bench.add_many(3, queue="other")
    jobs, _ = await bench.page()
    before = [await bench.info(job) for job in jobs]

    assert await stranded(bench) == []
    assert await requeue(bench, *jobs, "no job", "") == 0

    assert [await bench.info(job) for job in jobs] == before


async def test_many_are_found_lot_by_lot(bench: Bench) -> None:
    lost = await bench.add_many(5, queue="default")
    await bench.add_many(5, queue="other")
    some = "', '".join(lost)
    await by_hand(
        bench.storage,
        f"UPDATE job SET state = 5 WHERE id IN ('{some}')",
        f"DELETE FROM {{ready}} WHERE id IN ('{some}')",
    )
    assert await stranded(bench, 2) == sorted(lost)
    assert await requeue(bench, *lost) == 5
    worker = await bench.enlist()
    assert sorted(claim.id for claim in await bench.claim(worker)) == sorted(lost)


async def test_several_who_put_a_job_back_at_once_do_it_once(place: Place) -> None:
    benches = await place.benches(3)
    job = await benches[0].add()
    await by_hand(
        benches[0].storage,
        f"UPDATE job SET state = 5 WHERE id = '{job}'",
        f"DELETE FROM {{ready}} WHERE id = '{job}'",
    )
    assert sum(await asyncio.gather(*[requeue(bench, job) for bench in benches])) == 1
    worker = await benches[0].enlist()
    assert [claim.id for claim in await benches[0].claim(worker)] == [job]
    assert sum(await asyncio.gather(*[requeue(bench, job) for bench in benches])) == 0


async def test_what_a_worker_had_of_which_nothing_is_known_is_charged_and_its_room_is_free(
    bench: Bench,
) -> None:
    job = await add(bench)
    worker = await bench.enlist()
    [claim] = await claimed(bench, worker)
    await bench.begin(worker, claim)
    await by_hand(bench.storage, "DELETE FROM worker", "DELETE FROM {workers}")
    assert (await bench.reclaim()).workers == ()

    assert await requeue(bench, job) == 1

    info = await bench.info(job)
    assert (info.attempt, info.crashes, info.errors[0].kind) == (1, 1, "crash")
    assert (await limit(bench)).used == 0


async def test_who_is_put_back_asks_its_limit_again(bench: Bench) -> None:
    held, job = await add(bench), await add(bench)
    worker = await bench.enlist()
    [claim] = await claimed(bench, worker)
    assert claim.id == held
    await by_hand(bench.storage, "DELETE FROM blocked", "DELETE FROM {blocked}")
    assert await requeue(bench, job) == 1
    assert await claimed(bench, worker) == []
    assert (await bench.info(job)).blocked_by == "the limit 'tenant' is full for 'a'"
    await bench.finish(worker, bench.completed(claim))
    assert [claim.id for claim in await claimed(bench, worker)] == [job]
