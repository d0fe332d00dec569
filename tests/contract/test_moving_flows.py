"""Moving house with workflows: what waits still waits, and nobody touches it on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from backroom import moving
from backroom.baggage import Parcel
from backroom.errors import JobStateError, StorageError, WorkflowNotFoundError
from backroom.flow import FlowView, Piece, WorkflowStatus
from backroom.inspecting import Filter
from backroom.job import JobStatus
from backroom.limit import Need
from backroom.moving import Move, Moved
from backroom.step import FOREVER, SignalRecord, StepKind, StepRecord
from backroom.storage import arriving
from backroom.tie import tied
from backroom.transition import Transition
from tests.contract.flows import Flows
from tests.contract.parts import DAY, Bench
from tests.contract.test_moving import Ends, ends, house
from tests.process.parts import eventually_async

__all__ = ["ends"]


@pytest.fixture(autouse=True)
def small_parcels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes does so in several."""
    monkeypatch.setattr(moving, "PARCEL", 3)
    monkeypatch.setattr(moving, "EDGES", 2)
    monkeypatch.setattr(arriving, "JOBS", 5)
    monkeypatch.setattr(moving, "LOOK", 0.0)


def there(ends: Ends, flows: Flows) -> Flows:
    """The same flow, as the target knows it."""
    other = Flows(ends.target)
    other.id, other.ids, other.names = flows.id, flows.ids, flows.names
    return other


async def move(ends: Ends, **said: Any) -> Moved:
    moved = await Move(house(ends.source), house(ends.target), **said).run()
    assert await house(ends.source).parcel() is None
    return moved


async def half_done(ends: Ends) -> Flows:
    """`c` waits for `a`, which has completed, and `b`, which waits for its retry; `d` for `c`."""
    flows = Flows(ends.source)
    await flows.make(
        "a b c d", "a>c b>c c>d", callbacks="success complete", anyway="complete", undo="a b"
    )
    worker = await ends.source.enlist()
    claims = await flows.claim(worker)
    await ends.source.begin(worker, *claims.values())
    await flows.end(worker, claims["a"])
    assert await ends.source.finish(worker, ends.source.retried(claims["b"], 60)) == [True]
    await ends.source.storage.retire(worker)
    return flows


def told(view: FlowView) -> Any:
    return view.kept, list(view.jobs), sorted(view.edges)


async def test_a_workflow_goes_on_where_it_was(ends: Ends) -> None:
    flows = await half_done(ends)
    before = await flows.view()
    plain = await ends.source.add()
    moved = await move(ends)
    assert (moved.flows, moved.whole, sum(moved.moved.values())) == (1, True, 7)
    with pytest.raises(WorkflowNotFoundError):
        await flows.storage.cancel_flow(flows.id, ends.source.now)
    assert await ends.source.page() == ([], None)

    flows = there(ends, flows)
    assert told(await flows.view()) == told(before)
    assert await ends.target.status(plain) == JobStatus.PENDING
    worker = await ends.target.enlist()
    await ends.target.storage.cancel(plain, ends.target.now)
    assert await flows.run(worker) == ""
    ends.target.clock.advance(60)
    assert await flows.run(worker) == "b"
    [(name, claim)] = (await flows.claim(worker)).items()
    assert name == "c"
    assert list(await flows.results(claim)) == [
        ("a", "completed", '""'), ("b", "completed", '"b"'),
    ]  # fmt: skip
    await flows.end(worker, claim)
    assert await flows.run(worker) == "d"
    assert await flows.run(worker) == "complete success"
    assert await flows.status() == WorkflowStatus.COMPLETED


async def test_there_and_back_it_is_the_same(ends: Ends) -> None:
    flows = await half_done(ends)
    before = await flows.view()
    first = await move(ends)
    back = await Move(house(ends.target), house(ends.source)).run()
    assert told(await flows.view()) == told(before)
    assert (back.flows, back.checksum) == (1, first.checksum)
    assert (await move(ends)).checksum == first.checksum
    assert told(await there(ends, flows).view()) == told(before)


async def test_what_had_failed_is_undone_there_and_what_was_cancelled_waits_again(
    ends: Ends,
) -> None:
    undone, again = Flows(ends.source), Flows(ends.source)
    await undone.make("a b c d", "a>b c>d", undo="a c", on_failure="compensate")
    await again.make("e f g h", "e>f f>g", callbacks="success", undo="h")
    worker = await ends.source.enlist()
    claims = await ends.source.claim(worker)
    names = {**undone.names, **again.names}
    by_name = {names[claim.id]: claim for claim in claims}
    await undone.end(worker, by_name["a"])
    await again.end(worker, by_name["h"])
    await again.end(worker, by_name["e"], "failed")
    await undone.end(worker, by_name["c"])
    await ends.source.storage.retire(worker)
    assert (
        await again.statuses() == "e:failed f:cancelled g:cancelled h:completed success:cancelled"
    )
    assert (await move(ends)).flows == 1  # The other one has ended.

    # What has ended stays, and can be run again there as before.
    assert await again.storage.retry_flow(again.id, ends.source.now) == 1
    assert (await move(ends)).flows == 1
    again, undone = there(ends, again), there(ends, undone)
    assert await again.statuses() == "e:pending f:blocked g:blocked h:completed success:blocked"
    worker = await ends.target.enlist()
    claims = await ends.target.claim(worker)
    by_name = {names[claim.id]: claim for claim in claims}
    assert sorted(by_name) == ["b", "d", "e"]
    await undone.end(worker, by_name["b"], "failed")
    await again.end(worker, by_name["e"])
    await undone.end(worker, by_name["d"])
    ends.target.clock.advance(1)
    by_name = {names[claim.id]: claim for claim in await ends.target.claim(worker)}
    assert sorted(by_name) == ["c-undo", "f"]  # Of the undo jobs the last one first.
    undo = by_name["c-undo"]
    assert await undone.results(undo) == [("c", "completed", '""')]


async def test_one_that_is_being_undone_goes_on_so(ends: Ends) -> None:
    flows = Flows(ends.source)
    await flows.make("a b c", "a>b b>c", undo="a b", on_failure="compensate")
    worker = await ends.source.enlist()
    for outcomes in ({}, {}, {"c": "failed"}):
        ends.source.clock.advance(1)
        await flows.run(worker, **outcomes)
    assert await flows.status() == WorkflowStatus.UNDOING
    await ends.source.storage.retire(worker)
    await move(ends)
    flows = there(ends, flows)
    assert await flows.status() == WorkflowStatus.UNDOING
    worker = await ends.target.enlist()
    assert await flows.run(worker) == "b-undo"
    assert await flows.run(worker) == "a-undo"
    assert await flows.status() == WorkflowStatus.FAILED


async def test_what_was_cancelled_for_a_failure_waits_again_there(ends: Ends) -> None:
    flows = Flows(ends.source)
    await flows.make("a b c z", "a>b b>c", callbacks="success")
    worker = await ends.source.enlist()
    claims = await flows.claim(worker)
    await flows.end(worker, claims["a"], "failed")
    await ends.source.storage.give_back(worker, ())
    await ends.source.storage.retire(worker)
    await move(ends)
    flows = there(ends, flows)
    assert await flows.statuses() == "a:failed b:cancelled c:cancelled success:blocked z:pending"
    assert await flows.storage.retry_flow(flows.id, ends.target.now) == 1
    worker = await ends.target.enlist()
    assert [await flows.run(worker) for _ in range(4)] == ["a z", "b", "c", "success"]


@pytest.mark.parametrize("history", [False, True])
async def test_one_that_has_ended_is_history_and_arrives_as_it_was(
    ends: Ends, history: bool
) -> None:
    flows = Flows(ends.source)
    await flows.make("a b c", "a>b", callbacks="complete", anyway="complete")
    worker = await ends.source.enlist()
    for _ in range(3):
        await flows.run(worker, c="failed")
    before = await flows.view()
    assert before.kept.finished_at is not None
    moved = await move(ends, history=history)
    assert (moved.flows, moved.whole) == (int(history), True)
    if not history:
        assert told(await flows.view()) == told(before)
        return
    flows = there(ends, flows)
    assert told(await flows.view()) == told(before)
    assert await flows.storage.retry_flow(flows.id, ends.target.now) == 1
    worker = await ends.target.enlist()
    assert await flows.run(worker) == "c"


async def test_an_empty_one_is_history_too(ends: Ends) -> None:
    flows, other = Flows(ends.source), Flows(ends.source)
    await flows.make("", kind="batch")
    await other.make("a")
    before = await flows.view()
    assert (await move(ends, history=True)).flows == 2
    assert told(await there(ends, flows).view()) == told(before)
    assert await there(ends, other).run(await ends.target.enlist()) == "a"


async def test_one_of_which_a_job_runs_stays_until_none_does(ends: Ends) -> None:
    flows, other = Flows(ends.source), Flows(ends.source)
    await flows.make("a b", "a>b")
    worker = await ends.source.enlist()
    claim = await ends.source.claim_one(worker)
    await other.make("c d", "c>d")
    parcel = await house(ends.source).pack_flows(10, False, 7, "there")
    assert parcel is not None
    assert [flow.id for flow in parcel.flows] == [other.id]
    assert await house(ends.source).pack_flows(10, False, 7, "there") is None
    await flows.end(worker, claim)
    assert await flows.of("b") == [JobStatus.PENDING]


async def test_one_that_somebody_took_up_meanwhile_is_told(ends: Ends) -> None:
    flows = Flows(ends.source)
    await flows.make("a b", "a>b")
    worker = await ends.source.enlist()

    class Late(Move):
        async def look(self) -> dict[str, int]:
            counts = await super().look()
            await ends.source.claim_one(worker)
            return counts

    moved = await Late(house(ends.source), house(ends.target)).run()
    assert (moved.flows, moved.going_on, moved.active, moved.whole) == (0, 1, 1, False)
    assert await flows.statuses() == "a:active b:blocked"


async def test_one_of_which_a_job_runs_is_waited_for(ends: Ends) -> None:
    flows = Flows(ends.source)
    await flows.make("a b", "a>b")
    worker = await ends.source.enlist()
    claims = await flows.claim(worker)
    plain = await ends.source.add()
    mover = asyncio.create_task(move(ends, wait=True))

    async def arrived() -> bool:
        return await ends.target.storage.find(plain, ends.target.now) is not None

    await eventually_async(arrived, "what waits is there first")
    await flows.end(worker, claims["a"])
    moved = await mover
    assert (moved.flows, moved.whole) == (1, True)
    assert await there(ends, flows).statuses() == "a:completed b:pending"


async def test_they_leave_a_lot_at_a_time(ends: Ends) -> None:
    made = [Flows(ends.source) for _ in range(4)]
    for flows, jobs in zip(made, ("a b c", "d e", "f", "g h i j k l"), strict=True):
        await flows.make(jobs)
    lots = []
    while (lot := await house(ends.source).pack_flows(10, False, 7, "there")) is not None:
        lots.append([flow.id for flow in lot.flows])
    assert lots == [[made[0].id, made[1].id], [made[2].id], [made[3].id]]


# -- on the way ----------------------------------------------------------------------------------


async def untouchable(bench: Bench, ids: dict[str, str]) -> None:
    """Nobody reaches these jobs: none is claimed, or changed by people or by upkeep."""
    storage, now = bench.storage, bench.now
    before = {name: await bench.info(job) for name, job in ids.items()}
    worker = await bench.enlist()
    assert await bench.claim(worker, queues=None) == []
    for job in ids.values():
        signal = SignalRecord("1", "go", "1", now)
        for act in (
            storage.cancel(job, now),
            storage.retry(job, now),
            storage.delete(job),
            storage.send_signal(job, signal, now),
            storage.retry(job, now, 1),
        ):
            with pytest.raises(JobStateError, match="on its way"):
                await act
    assert await storage.cancel(Filter(), now) == 0
    assert await storage.retry(Filter(), now) == 0
    assert await storage.delete(Filter()) == 0
    bench.clock.advance(100 * DAY)
    assert await bench.prune_all() == 0
    await bench.storage.retire(worker)
    assert {name: await bench.info(job) for name, job in ids.items()} == before


async def test_nobody_touches_it_on_the_way(ends: Ends) -> None:
    flows = Flows(ends.source)
    await flows.make("a b c d", "a>c b>c", callbacks="complete", expires_at=ends.source.later(60))
    worker = await ends.source.enlist()
    claims = await flows.claim(worker)
    await flows.end(worker, claims["a"])
    await flows.end(worker, claims["d"], "failed")
    await ends.source.storage.give_back(worker, ())
    await ends.source.storage.retire(worker)
    jobs = {name: flows.ids[name] for name in ("a", "b", "c", "d", "complete")}
    before = await flows.view()

    source, target = house(ends.source), house(ends.target)
    lot = await source.pack_flows(10, False, 7, "there")
    assert lot is not None
    assert await flows.storage.flow(flows.id, ends.source.now, 10) is None
    await untouchable(ends.source, jobs)

    edges = await source.pack_edges([flows.id], 10, 7, "there")
    assert edges is not None
    parcel = await source.pack_members([flows.id], 10, 7, "there")
    assert parcel is not None
    assert [job.id for job in parcel.jobs] == list(jobs.values())
    assert await source.pack_edges([flows.id], 10, 7, "there") is None
    assert await source.pack_members([flows.id], 10, 7, "there") is None
    assert len((await target.unpack(parcel.jobs)).kept) == 5
    await untouchable(ends.target, jobs)
    assert sorted((await target.unpack(parcel.jobs)).known) == sorted(jobs.values())
    await target.unpack_edges(edges.edges)
    await untouchable(ends.target, jobs)

    assert await target.unpack_flows(await source.number(), lot) == 1
    # What expires does so from now on, and what follows from it.
    ends.target.clock._now = ends.source.later(-200 * DAY)
    assert told(await there(ends, flows).view()) == told(before)
    worker = await ends.target.enlist()
    assert await there(ends, flows).run(worker) == "b"


async def test_an_end_that_its_flow_was_not_told_of_is_told_where_it_arrives(ends: Ends) -> None:
    """As a worker of an earlier version ends jobs."""
    flows = Flows(ends.source)
    await flows.make("a b", "a>b")
    worker = await ends.source.enlist()
    outcome = ends.source.completed((await flows.claim(worker))["a"])
    outcome.tied = False
    assert await ends.source.finish(worker, outcome) == [True]
    await ends.source.storage.retire(worker)
    number = await house(ends.target).number()
    assert await house(ends.source).pack_flows(10, False, number, "there") is not None
    await ends.source.prune_all()
    assert await ends.source.storage.retry(Filter(), ends.source.now) == 0
    assert await flows.of("a", "b") == [JobStatus.COMPLETED, JobStatus.BLOCKED]

    await move(ends)

    worker, flows = await ends.target.enlist(), there(ends, flows)
    assert await flows.run(worker) == ""
    await ends.target.prune_all()
    assert await flows.run(worker) == "b"


async def test_it_arrives_only_when_all_of_it_has(ends: Ends) -> None:
    flows = await half_done(ends)
    source, target = house(ends.source), house(ends.target)
    lot = await source.pack_flows(10, False, 7, "there")
    parcels: list[Parcel] = []
    edges: list[Parcel] = []
    assert lot is not None
    while (some := await source.pack_edges([flows.id], 2, 7, "there")) is not None:
        edges.append(some)
    while (some := await source.pack_members([flows.id], 4, 7, "there")) is not None:
        parcels.append(some)
    assert ([len(one.edges) for one in edges], [len(one.jobs) for one in parcels]) == (
        [2, 1], [4, 2],
    )  # fmt: skip
    number = await source.number()
    with pytest.raises(JobStateError, match="0 of 6 jobs have arrived"):
        await target.unpack_flows(number, lot)
    await target.unpack(parcels[1].jobs)
    with pytest.raises(StorageError, match="before the jobs"):
        await target.unpack_edges(edges[0].edges)
    with pytest.raises(JobStateError, match="2 of 6 jobs have arrived"):
        await target.unpack_flows(number, lot)
    await target.unpack(parcels[0].jobs)
    await target.unpack_edges(edges[1].edges)
    with pytest.raises(JobStateError, match="1 of 3 edges"):
        await target.unpack_flows(number, lot)
    await target.unpack_edges(edges[0].edges)
    await target.unpack_edges(edges[0].edges)
    assert await target.unpack_flows(number, lot) == 1

    # Who moved it died; it is at work in the target by now, and what comes again changes nothing.
    flows = there(ends, flows)
    await flows.storage.cancel_flow(flows.id, ends.target.now)
    before = await flows.view()
    assert await target.unpack_flows(number, lot) == 0
    assert not (await target.unpack(parcels[0].jobs)).kept
    assert told(await flows.view()) == told(before)
    await source.unload(lot)
    assert await source.number() == number


async def test_one_that_came_and_is_gone_does_not_come_again(ends: Ends) -> None:
    """Who moved it died before the source knew that it had arrived."""
    flows = Flows(ends.source)
    await flows.make("a")
    source, target = house(ends.source), house(ends.target)
    lot = await source.pack_flows(10, False, await target.number(), "there")
    parcel = await source.pack_members([flows.id], 10, await target.number(), "there")
    assert lot is not None
    assert parcel is not None
    await target.unpack(parcel.jobs)
    await source.unload(parcel)
    await target.unpack_flows(await source.number(), lot)
    worker = await ends.target.enlist()
    assert await there(ends, flows).run(worker) == "a"
    await ends.target.storage.delete(flows.ids["a"])
    assert not (await target.unpack(parcel.jobs)).kept
    ends.target.clock.advance(100 * DAY)
    await ends.target.prune_all()
    assert await flows.storage.flows(10, None) == []
    assert (await move(ends)).whole
    assert await there(ends, flows).storage.flows(10, None) == []


async def test_a_move_that_ended_at_any_step_goes_on_there(ends: Ends) -> None:
    """Each verb carried out, and its answer lost."""
    steps = 0
    while True:
        flows, other = await half_done(ends), Flows(ends.source)
        await other.make("x y", "x>y")
        before = await flows.view()
        done = await broken_after(ends, steps)
        await move(ends)
        assert told(await there(ends, flows).view()) == told(before), steps
        assert await there(ends, other).statuses() == "x:pending y:blocked"
        for one in (flows, other):
            await there(ends, one).storage.cancel_flow(one.id, ends.target.now)
        assert (await ends.target.storage.stats(ends.target.now)).by_status["blocked"] == 0
        await ends.target.storage.cancel(Filter(), ends.target.now)
        if done:
            break
        steps += 1
    assert steps > 12


async def broken_after(ends: Ends, steps: int) -> bool:
    """A move that breaks off after so many changes; whether it came to its end before."""

    class Broken(Exception):
        pass

    left = steps

    def breaking(bench: Bench) -> Any:
        class House:
            def __getattr__(self, name: str) -> Any:
                verb = getattr(bench.storage, name)
                if not name.startswith(("pack", "unpack", "unload")):
                    return verb

                async def call(*arguments: Any) -> Any:
                    nonlocal left
                    answer = await verb(*arguments)
                    if not left:
                        raise Broken
                    left -= 1
                    return answer

                return call

        return House()

    try:
        await Move(breaking(ends.source), breaking(ends.target)).run()
    except Broken:
        return False
    return True


async def test_one_may_not_move_to_where_a_move_away_has_not_ended(ends: Ends) -> None:
    await half_done(ends)
    await house(ends.source).pack_flows(10, False, await house(ends.target).number(), "there")
    with pytest.raises(JobStateError, match="to there has not ended: run that one again"):
        await Move(house(ends.target), house(ends.source)).run()


# -- what hangs on its jobs ----------------------------------------------------------------------


async def test_a_signal_wakes_a_job_of_a_workflow_there(ends: Ends) -> None:
    flows = Flows(ends.source)
    await flows.make("a b", "a>b")
    worker = await ends.source.enlist()
    claim = (await flows.claim(worker))["a"]
    await ends.source.begin(worker, claim)
    step = StepRecord(1, StepKind.SIGNAL, "go", ends.source.now, FOREVER)
    aside = Transition.waiting(claim, ends.source.now, step)
    assert await ends.source.finish(worker, aside) == [True]
    await ends.source.storage.retire(worker)
    await move(ends)
    flows = there(ends, flows)
    worker = await ends.target.enlist()
    assert await flows.run(worker) == ""
    signal = SignalRecord("1", "go", "1", ends.target.now)
    await ends.target.storage.send_signal(flows.ids["a"], signal, ends.target.now)
    assert await flows.run(worker) == "a"
    assert await flows.run(worker) == "b"


async def test_who_stands_in_a_line_or_is_parked_may_run_there(ends: Ends) -> None:
    flows = Flows(ends.source)
    options = tied(None, workflow=flows.id, limits=[Need("tenant", "a", 1, 1)])
    piece = flows.piece("a b c", "b>c", options=options)
    parked = flows.piece("d e", "d>e")
    members = [*piece.members, *parked.members]
    await flows.put(Piece(members, [*piece.edges, *parked.edges]))
    worker = await ends.source.enlist()
    claims = await flows.claim(worker)
    assert sorted(claims) == ["a", "d"]
    assert await flows.of("b") == [JobStatus.BLOCKED]
    assert await ends.source.finish(worker, Transition.parked(claims["d"])) == [True]
    await ends.source.storage.give_back(worker, ())
    await ends.source.storage.retire(worker)
    await ends.source.storage.free_up(ends.source.now)

    await move(ends)

    flows = there(ends, flows)
    worker = await ends.target.enlist()
    assert await flows.run(worker) == "a d"
    assert await flows.run(worker) == "b e"
    assert await flows.run(worker) == "c"


async def test_a_job_that_runs_there_adds_to_its_workflow(ends: Ends) -> None:
    flows = Flows(ends.source)
    await flows.make("a b", "a>b")
    await move(ends)
    flows = there(ends, flows)
    worker = await ends.target.enlist()
    claim = (await flows.claim(worker))["a"]
    added = flows.piece("c d", "c>d")
    await flows.storage.extend_flow(added, claim.key, claim.token, ends.target.now)
    await flows.end(worker, claim)
    assert [await flows.run(worker) for _ in range(3)] == ["c", "d", "b"]


def with_key(flows: Flows, key: str) -> Piece:
    """`b` waits for `a`, which has a unique key."""
    piece = flows.piece("a b", "a>b")
    first, *others = piece.members
    record = msgspec.structs.replace(first.record, unique_key=key)
    return Piece([msgspec.structs.replace(first, record=record), *others], piece.edges)


async def test_the_keys_of_its_jobs_are_held_there(ends: Ends) -> None:
    flows = Flows(ends.source)
    await flows.put(with_key(flows, "k"))
    assert (await move(ends)).flows == 1
    for bench, created in ((ends.source, True), (ends.target, False)):
        [twin] = await bench.insert([bench.record(type="A", unique_key="k")])
        assert twin.created == created
    assert twin.id == flows.ids["a"]


async def test_a_key_of_its_jobs_that_is_held_there_is_told(ends: Ends) -> None:
    flows = Flows(ends.source)
    await flows.put(with_key(flows, "k"))
    before = await flows.view()
    other = await ends.target.add(type="A", unique_key="k", delay=60)
    with pytest.raises(JobStateError, match="hold unique keys"):
        await move(ends)
    with pytest.raises(JobStateError, match="moves whole or not at all, so nothing was moved"):
        await move(ends, twins="stay")
    assert told(await flows.view()) == told(before)
    moved = await move(ends, twins="cancel")
    assert (moved.flows, moved.cancelled, moved.whole) == (1, 1, True)
    flows = there(ends, flows)
    assert await flows.statuses() == "a:cancelled b:blocked"
    await ends.target.prune_all()
    assert await flows.statuses() == "a:cancelled b:cancelled"
    assert other in ((await ends.target.info(flows.ids["a"])).error or "")
