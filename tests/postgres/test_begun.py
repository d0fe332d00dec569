"""What a worker may have begun stands in few short lists, whatever happens on the way."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from backroom.errors import StorageError
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.begun import MOST_LISTS
from backroom.transition import Claim
from tests.contract.parts import Bench
from tests.postgres.test_guards import bench, other

__all__ = ["bench", "other"]

NAMED = "SELECT b.id FROM background_jobs_begun AS l, unnest(l.ids) AS b (id)"
LISTS = "SELECT count(*) FROM background_jobs_begun"


async def named(other: asyncpg.Connection) -> list[str]:
    return [str(row[0]) for row in await other.fetch(NAMED)]


async def claimed(bench: Bench, count: int) -> tuple[int, list[Claim]]:
    worker = await bench.enlist()
    await bench.add_many(count)
    return worker, await bench.claim(worker)


async def test_a_start_names_what_is_new(bench: Bench, other: asyncpg.Connection) -> None:
    worker, claims = await claimed(bench, 5)
    for claim in claims:
        await bench.begin(worker, claim)
    assert await other.fetchval(LISTS) == 5
    assert sorted(await named(other)) == [claim.id for claim in claims]


async def test_lists_of_what_has_ended_go_with_the_next_start(
    bench: Bench, other: asyncpg.Connection
) -> None:
    worker, claims = await claimed(bench, 6)
    await bench.begin(worker, *claims[:2])
    await bench.begin(worker, *claims[2:4])
    await bench.storage.finish(worker, [bench.completed(claims[at]) for at in (0, 2, 3)])
    await bench.begin(worker, claims[4])
    # The first one names one that runs still.
    assert set(await named(other)) == {claims[at].id for at in (0, 1, 4)}


async def test_jobs_that_run_long_keep_few_lists(bench: Bench, other: asyncpg.Connection) -> None:
    worker, claims = await claimed(bench, 60)
    long, short = claims[::2], claims[1::2]
    for one, another in zip(long, short, strict=True):
        await bench.begin(worker, another, one)
        await bench.storage.finish(worker, [bench.completed(another)])
        assert await other.fetchval(LISTS) <= MOST_LISTS + 1
        assert len(await named(other)) <= len(long) + MOST_LISTS + 1
    assert {claim.id for claim in long} <= set(await named(other))


async def test_who_starts_nothing_more_may_have_begun_nothing_else_that_was_disowned(
    bench: Bench, other: asyncpg.Connection
) -> None:
    worker, claims = await claimed(bench, 4)
    for claim in claims:
        await bench.begin(worker, claim)
    await bench.storage.disown(worker, [claims[1].key, claims[2].key])
    assert sorted(await named(other)) == [claims[0].id, claims[3].id]


async def test_a_list_that_could_not_be_written_is_not_missed_and_not_left(
    bench: Bench, other: asyncpg.Connection
) -> None:
    worker, claims = await claimed(bench, 3)
    await bench.begin(worker, claims[0])
    await other.execute("ALTER TABLE background_jobs_begun RENAME TO elsewhere")
    with pytest.raises(StorageError):
        await bench.storage.start(worker, [claims[1].key])
    await other.execute("ALTER TABLE elsewhere RENAME TO background_jobs_begun")
    await bench.begin(worker, claims[2])
    assert await other.fetchval(LISTS) == 1  # Of all, as it is not known which of them stand.
    assert {claims[0].id, claims[2].id} <= set(await named(other))
    await bench.begin(worker, claims[1])
    assert set(await named(other)) == {claim.id for claim in claims}
    assert (await bench.end_leases()).crashed == 3
    assert await other.fetchval(LISTS) == 0


async def test_one_list_of_all_whose_answer_was_lost_loses_nothing(
    bench: Bench, other: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, claims = await claimed(bench, 12)
    for claim in claims[:MOST_LISTS]:
        await bench.begin(worker, claim)
    fetch = Base.fetch

    async def unheard(self: Base, name: str, *arguments: Any) -> Any:
        rows = await fetch(self, name, *arguments)
        if name == "start":
            raise StorageError("the answer was lost")
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(Base, "fetch", unheard)
        with pytest.raises(StorageError):
            await bench.storage.start(worker, [claims[MOST_LISTS].key])
    assert await other.fetchval(LISTS) == 1  # It was carried out.
    await bench.finish(worker, bench.completed(claims[0]))
    await bench.begin(worker, claims[10])
    running = {claim.id for claim in (*claims[1:MOST_LISTS], claims[10])}
    assert running <= set(await named(other))
    await bench.begin(worker, claims[11])
    assert running <= set(await named(other))
