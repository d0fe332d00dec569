"""Jobs of a queue that take turns by key: many of one key do not stand in front of another's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backroom.flow import Member, Role
from backroom.inspecting import Filter
from backroom.job import JobStatus
from backroom.limit import Need
from backroom.tie import tied
from tests.contract.flows import Flows
from tests.contract.parts import Bench, Place


def turns(key: str, **said: Any) -> str:
    return tied(None, fair=key, **said)


async def add(bench: Bench, key: str, count: int = 1, **fields: Any) -> list[str]:
    return await bench.add_many(count, options=turns(key), **fields)


async def order(bench: Bench, worker: int, most: int = 100) -> list[str]:
    """The next jobs, in the order in which they are claimed."""
    claims = []
    while len(claims) < most:
        got = await bench.claim(worker, 1)
        if not got:
            break
        claims += got
    return [claim.id for claim in claims]


async def test_keys_take_turns(bench: Bench) -> None:
    a, b, c = await add(bench, "a", 4), await add(bench, "b", 2), await add(bench, "é\0")
    found = await order(bench, await bench.enlist())
    assert set(found[:3]) == {a[0], b[0], c[0]}
    assert set(found[3:5]) == {a[1], b[1]}
    assert found[5:] == a[2:]


async def test_a_single_job_does_not_wait_for_the_many_of_another(bench: Bench) -> None:
    worker = await bench.enlist()
    many = await add(bench, "a", 60)
    first = await order(bench, worker, 10)
    assert first == many[:10]
    bench.clock.advance(3600)
    await bench.storage.extend(worker)
    [one] = await add(bench, "b")
    more = await add(bench, "a", 2)
    assert one in await order(bench, worker, 2)
    assert (await order(bench, worker))[-2:] == more


async def test_each_priority_and_queue_has_its_own_turns(bench: Bench) -> None:
    low = await add(bench, "a", 3, priority=3)
    await add(bench, "a", 3, queue="other")
    urgent = await add(bench, "a", 2, priority=0)
    [other] = await add(bench, "b", priority=3)
    found = await order(bench, await bench.enlist())
    assert found[:2] == urgent
    assert other in found[2:4]
    assert [one for one in found[2:] if one != other] == low


async def test_jobs_without_turns_stand_where_they_did(bench: Bench) -> None:
    plain = await bench.add(run_at=bench.later(-10))
    [fair] = await add(bench, "a")
    later = await bench.add()
    assert await order(bench, await bench.enlist()) == [plain, fair, later]


async def test_a_job_for_later_takes_its_turn_when_it_is_due(bench: Bench) -> None:
    worker = await bench.enlist()
    many = await add(bench, "a", 20)
    [one] = await add(bench, "b", delay=10.0)
    [mine] = await add(bench, "a", delay=10.0)
    assert await order(bench, worker, 2) == many[:2]
    assert await bench.storage.free_up(bench.now) == 0
    bench.clock.advance(11)
    assert await bench.storage.free_up(bench.now) == 2
    assert one in await order(bench, worker, 2)
    assert (await order(bench, worker))[-1] == mine
    assert await bench.storage.free_up(bench.now) == 0


async def test_a_retry_takes_its_turn_when_it_is_due(bench: Bench) -> None:
    worker = await bench.enlist()
    [one] = await add(bench, "b")
    [claim] = await bench.claim(worker)
    await add(bench, "a", 20)
    assert await bench.finish(worker, bench.retried(claim, 5)) == [True]
    bench.clock.advance(6)
    await bench.storage.free_up(bench.now)
    assert one in await order(bench, worker, 2)


@pytest.mark.parametrize("how", ["one", "all", "sooner"])
async def test_what_people_retry_takes_its_turn(bench: Bench, how: str) -> None:
    worker = await bench.enlist()
    [one] = await add(bench, "b", delay=100.0 if how == "sooner" else 0.0)
    if how != "sooner":
        assert await bench.finish(worker, bench.failed(await bench.claim_one(worker))) == [True]
    await add(bench, "a", 20)
    bench.clock.advance(1)
    which = Filter(status=JobStatus.FAILED) if how == "all" else one
    assert await bench.storage.retry(which, bench.now) == 1
    await bench.storage.free_up(bench.now)
    assert one in await order(bench, worker, 2)


async def test_a_retry_of_what_has_its_turn_changes_nothing(bench: Bench) -> None:
    worker = await bench.enlist()
    jobs = await add(bench, "a", 5)
    await bench.storage.retry(jobs[2], bench.now)
    await bench.storage.free_up(bench.now)
    assert await order(bench, worker) == jobs


async def test_what_is_gone_takes_no_turn(bench: Bench) -> None:
    [one] = await add(bench, "b", delay=5.0)
    [two] = await add(bench, "b", delay=5.0)
    await bench.storage.delete(one)
    await bench.storage.cancel(two, bench.now)
    bench.clock.advance(6)
    assert await bench.storage.free_up(bench.now) == 0
    assert (await bench.page())[0] == [two]


async def test_many_that_are_gone_hide_nobody_who_waits(bench: Bench) -> None:
    worker = await bench.enlist()
    await add(bench, "a", 2100, delay=5.0)
    await bench.storage.cancel(Filter(status=JobStatus.SCHEDULED), bench.now)
    [one] = await add(bench, "b", delay=6.0)
    await add(bench, "a", 20)
    bench.clock.advance(7)
    await bench.storage.extend(worker)
    assert await bench.storage.free_up(bench.now) == 1
    assert one in await order(bench, worker, 2)


async def test_what_was_given_back_keeps_its_turn(bench: Bench) -> None:
    worker = await bench.enlist()
    await add(bench, "a", 3)
    first = await bench.claim(worker, 1)
    bench.clock.advance(5)
    await bench.storage.give_back(worker, [])
    assert (await order(bench, worker, 1)) == [first[0].id]


async def test_an_id_that_is_there_takes_no_second_turn(bench: Bench) -> None:
    record = bench.record(options=turns("a"))
    for created in (True, False, False):
        [inserted] = await bench.insert([record])
        assert inserted.created is created
    [one] = await add(bench, "a")
    assert await order(bench, await bench.enlist()) == [record.id, one]
    assert await bench.storage.stats(bench.now)


async def test_several_who_schedule_share_the_turns(place: Place) -> None:
    near, far = await place.benches(2)
    ids = [*await add(near, "a", 3), *await add(far, "a", 3), *await add(near, "a", 3)]
    moments = [(await near.info(one)).run_at for one in ids]
    assert len(set(moments)) == len(ids)
    assert moments == sorted(moments)


async def test_turns_and_limits_go_together(bench: Bench) -> None:
    worker = await bench.enlist()
    need = Need("tenant", "a", 1, 1)
    busy = await bench.add_many(3, options=tied(None, fair="a", limits=[need]))
    [one] = await add(bench, "b")
    found = [claim.id for claim in await bench.claim(worker)]
    assert set(found) == {busy[0], one}
    assert len((await bench.storage.page(Filter(), bench.now, 10, None))[0]) == 4


# -- jobs of workflows ---------------------------------------------------------------------------


def fair(flows: Flows, key: str) -> dict[str, Any]:
    """What is said of jobs of a workflow that take turns."""
    return {"options": turns(key, workflow=flows.id)}


async def names(flows: Flows, worker: int, most: int = 100) -> list[str]:
    """The next jobs, by their names in the workflow; others have none."""
    return [flows.names.get(one, "") for one in await order(flows.bench, worker, most)]


async def test_the_first_jobs_of_a_workflow_take_turns(bench: Bench) -> None:
    flows = Flows(bench)
    await add(bench, "a", 20)
    await flows.make("one two", **fair(flows, "b"))
    found = await names(flows, await bench.enlist())
    assert "one" in found[:2]
    assert found.index("two") in (2, 3)


async def test_a_first_job_for_later_takes_its_turn_when_it_is_due(bench: Bench) -> None:
    flows = Flows(bench)
    await add(bench, "a", 20)
    await flows.make("one", delay=10.0, **fair(flows, "b"))
    bench.clock.advance(11)
    assert await bench.storage.free_up(bench.now) == 1
    assert "one" in await names(flows, await bench.enlist(), 2)


async def test_a_job_that_a_workflow_lets_go_takes_its_turn(bench: Bench) -> None:
    flows, worker = Flows(bench), await bench.enlist()
    await flows.make("a b c", "a>b a>c", callbacks="done", **fair(flows, "b"))
    claims = await flows.claim(worker)
    many = await add(bench, "a", 20)
    bench.clock.advance(1)
    await flows.end(worker, claims["a"])
    assert await bench.storage.free_up(bench.now) == 2
    found = await names(flows, worker)
    assert {"b", "c"} & set(found[:2])
    assert {"b", "c"} < set(found[:4])
    assert len(found) == len(many) + 2


async def test_what_is_retried_of_a_workflow_takes_its_turn(bench: Bench) -> None:
    flows, worker = Flows(bench), await bench.enlist()
    await flows.make("a b", "a>b", **fair(flows, "b"))
    assert await flows.run(worker, a="failed") == "a"
    await add(bench, "a", 20)
    bench.clock.advance(1)
    assert await flows.storage.retry_flow(flows.id, bench.now) == 1
    assert await bench.storage.free_up(bench.now) == 1
    assert "a" in await names(flows, worker, 2)


async def test_many_that_a_workflow_lets_go_take_turns_with_another_key(bench: Bench) -> None:
    flows, worker = Flows(bench), await bench.enlist()
    children = [f"j{n}" for n in range(20)]
    edges = " ".join(f"a>{name}" for name in children)
    await flows.make(" ".join(["a", *children]), edges, **fair(flows, "a"))
    claims = await flows.claim(worker)
    await flows.end(worker, claims["a"])
    await bench.storage.free_up(bench.now)
    bench.clock.advance(60)
    await bench.storage.extend(worker)
    [one] = await add(bench, "b")
    assert one in await order(bench, worker, 2)


@pytest.mark.parametrize("role", ["callback", "undo"])
async def test_what_follows_a_workflow_takes_its_turn(bench: Bench, role: str) -> None:
    flows, worker = Flows(bench), await bench.enlist()
    callback = flows.record("done", **fair(flows, "b"))
    undo = flows.record("a-undo", **fair(flows, "b"))
    piece = flows.piece("a z", "a>z")
    first, last = piece.members
    members = [msgspec.structs.replace(first, undo=undo), last]
    if role == "callback":
        members.append(Member(callback, Role.CALLBACK, anyway=True))
    await flows.put(msgspec.structs.replace(piece, members=members), "compensate")
    assert await flows.run(worker) == "a"
    claims = await flows.claim(worker)
    await add(bench, "a", 20)
    bench.clock.advance(1)
    await flows.end(worker, claims["z"], "completed" if role == "callback" else "failed")
    await bench.storage.free_up(bench.now)
    follows = "done" if role == "callback" else "a-undo"
    assert follows in await names(flows, worker, 2)


async def test_a_job_that_is_added_to_a_workflow_takes_its_turn(bench: Bench) -> None:
    flows, worker = Flows(bench), await bench.enlist()
    await flows.make("a z", "a>z")
    claims = await flows.claim(worker)
    await add(bench, "a", 20)
    bench.clock.advance(1)
    more = flows.piece("x", **fair(flows, "b"))
    for _ in range(2):  # The first answer was lost.
        await flows.storage.extend_flow(more, claims["a"].key, claims["a"].token, bench.now)
    await bench.storage.free_up(bench.now)
    assert "x" in await names(flows, worker, 2)


async def test_jobs_of_a_workflow_wait_for_room_in_a_limit_as_others_do(bench: Bench) -> None:
    flows, worker = Flows(bench), await bench.enlist()
    limited = {"options": tied(None, workflow=flows.id, limits=[Need("tenant", "a", 1, 1)])}
    await flows.make("a b c d", "a>b a>c a>d", **limited)
    ended = []
    while claims := await flows.claim(worker):
        [(name, claim)] = claims.items()
        [limit] = await bench.storage.limits()
        assert limit.used == 1
        ended.append(name)
        await flows.end(worker, claim)
    assert (ended[0], sorted(ended)) == ("a", ["a", "b", "c", "d"])
    [limit] = await bench.storage.limits()
    assert (limit.used, limit.blocked) == (0, 0)
