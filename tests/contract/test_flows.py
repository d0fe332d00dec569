"""Workflows: who waits runs when all it waits for has ended, and never before; nothing is stuck."""

from __future__ import annotations

import asyncio

import pytest

from backroom.errors import JobStateError, LeaseLostError, WorkflowNotFoundError
from backroom.flow import Member, Piece, WorkflowStatus
from backroom.inspecting import Filter
from backroom.job import JobStatus, to_datetime
from tests.contract.flows import Flows
from tests.contract.parts import WEEK, Bench, Place

DIAMOND = "a>b a>c b>d c>d"


@pytest.fixture
def flows(bench: Bench) -> Flows:
    return Flows(bench)


# -- in order ------------------------------------------------------------------------------------


async def test_jobs_run_when_all_that_they_wait_for_has_completed(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    await flows.make("a b c d", DIAMOND)
    assert await flows.statuses() == "a:pending b:blocked c:blocked d:blocked"
    assert await flows.run(worker) == "a"
    claims = await flows.claim(worker)
    assert sorted(claims) == ["b", "c"]
    await flows.end(worker, claims["b"])
    assert await flows.run(worker) == ""
    await flows.end(worker, claims["c"])
    assert await flows.status() == WorkflowStatus.RUNNING
    assert await flows.run(worker) == "d"
    assert await flows.run(worker) == ""
    assert await flows.status() == WorkflowStatus.COMPLETED


async def test_two_that_end_in_one_batch_are_counted_both(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    await flows.make("a b c", "a>c b>c")
    assert await flows.run(worker) == "a b"
    assert await flows.run(worker) == "c"


async def test_two_that_end_at_once_in_two_workers_let_the_third_go(place: Place) -> None:
    first, second = await place.benches(2)
    flows = Flows(first)
    workers = [await first.enlist(), await second.enlist()]
    for _ in range(5):
        await flows.make("a b c", "a>c b>c")
        claims = await flows.claim(workers[0])
        await asyncio.gather(
            first.finish(workers[0], first.completed(claims["a"])),
            second.finish(workers[0], second.completed(claims["b"])),
        )
        assert await flows.run(workers[0]) == "c"
        flows = Flows(first)


async def test_what_a_job_waited_for_tells_its_results(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    await flows.make("a b c", "a>c b>c")
    await flows.run(worker)
    claims = await flows.claim(worker)
    expected = [("a", "completed", '"a"'), ("b", "completed", '"b"')]
    assert await flows.results(claims["c"]) == expected
    assert await flows.results(claims["c"], limit=1) == expected
    assert await flows.results(claims["c"], "B") == expected[1:]


async def test_a_flow_that_is_put_twice_is_there_once(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    piece = await flows.make("a b", "a>b")
    await flows.put(piece)
    assert (await flows.counts()).jobs == 2
    assert [await flows.run(worker) for _ in range(3)] == ["a", "b", ""]


# -- failures ------------------------------------------------------------------------------------


async def test_what_waits_for_a_job_that_failed_is_cancelled_and_says_why(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    await flows.make("a b c d", DIAMOND)
    await flows.run(worker)
    await flows.run(worker, b="failed")
    assert await flows.statuses() == "a:completed b:failed c:completed d:cancelled"
    assert await flows.status() == WorkflowStatus.FAILED
    info = await flows.bench.info(flows.ids["d"])
    assert info.error == f"B {flows.ids['b']}, which it waited for, failed"
    assert await flows.run(worker) == ""


async def test_what_waits_behind_what_waits_is_cancelled_too(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    await flows.make("a b c d e", "a>b b>c c>d")
    await flows.run(worker, a="cancelled")
    assert await flows.of("b", "c", "d", "e") == [JobStatus.CANCELLED] * 3 + [JobStatus.COMPLETED]
    assert await flows.status() == WorkflowStatus.CANCELLED


async def test_what_runs_anyway_runs_when_all_has_ended(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    await flows.make("a b c d", "a>b b>c a>d c>d", anyway="d")
    await flows.run(worker, a="failed")
    claims = await flows.claim(worker)
    assert list(claims) == ["d"]
    said = [(name, status) for name, status, _ in await flows.results(claims["d"])]
    assert said == [("a", "failed"), ("c", "cancelled")]


async def test_what_had_completed_is_undone_from_the_last_one_on(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    await flows.make("a b c d", "a>b b>c c>d", undo="a b c", on_failure="compensate")
    for _ in range(2):
        await flows.run(worker)
        flows.bench.clock.advance(1)
    await flows.run(worker, c="failed")
    assert await flows.status() == WorkflowStatus.UNDOING
    claims = await flows.claim(worker)
    assert list(claims) == ["b-undo"]
    assert await flows.results(claims["b-undo"]) == [("b", "completed", '"b"')]
    await flows.end(worker, claims["b-undo"], "failed")
    assert await flows.run(worker) == "a-undo"  # As much as can be is taken back.
    assert await flows.run(worker) == ""
    assert await flows.status() == WorkflowStatus.FAILED


async def test_an_undo_job_expires_so_long_after_it_was_made_as_was_said(flows: Flows) -> None:
    """Not so long after its workflow was: what was done a day ago is taken back all the same."""
    bench = flows.bench
    worker = await bench.enlist()
    undo = flows.record("a-undo", expires_at=bench.later(60))
    members = [Member(flows.record("a"), undo=undo), Member(flows.record("b"))]
    await flows.put(Piece(members, flows.edges("a>b")), "compensate")
    await flows.run(worker)
    bench.clock.advance(3600)
    await flows.run(worker, b="failed")
    await bench.prune_all()
    [job] = [id_ for id_, type_, *_ in (await flows.view()).jobs if type_ == "A-UNDO"]
    info = await bench.info(job)
    assert (info.status, info.expires_at) == (JobStatus.PENDING, to_datetime(bench.later(60)))


async def test_what_has_completed_as_a_whole_is_not_undone(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    await flows.make("a b", "a>b", undo="a b", on_failure="compensate")
    assert [await flows.run(worker) for _ in range(3)] == ["a", "b", ""]
    assert await flows.status() == WorkflowStatus.COMPLETED


# -- rare ends -----------------------------------------------------------------------------------


async def test_a_job_that_is_cancelled_while_it_waits_ends_for_its_flow(flows: Flows) -> None:
    await flows.make("a b", "a>b")
    await flows.bench.storage.cancel(flows.ids["a"], flows.bench.now)
    assert await flows.statuses() == "a:cancelled b:cancelled"
    assert await flows.status() == WorkflowStatus.CANCELLED


async def test_a_blocked_job_that_is_cancelled_takes_with_it_what_waits(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    await flows.make("a b c", "a>b b>c")
    await flows.bench.storage.cancel(flows.ids["b"], flows.bench.now)
    assert await flows.statuses() == "a:pending b:cancelled c:cancelled"
    assert await flows.run(worker) == "a"
    assert await flows.run(worker) == ""


async def test_a_job_that_expires_ends_for_its_flow(flows: Flows) -> None:
    bench = flows.bench
    await flows.make("a b", "a>b", anyway="b", expires_at=bench.later(60))
    bench.clock.advance(61)
    await bench.prune()
    assert await flows.statuses() == "a:cancelled b:cancelled"


async def test_a_job_that_was_asked_to_end_and_comes_back_ends_for_its_flow(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b", anyway="b")
    await flows.claim(worker)
    await bench.storage.cancel(flows.ids["a"], bench.now)
    assert await bench.storage.give_back(worker, ()) == 1
    assert await flows.of("a") == [JobStatus.CANCELLED]
    assert await flows.run(worker) == "b"


async def test_a_worker_that_dies_with_a_job_that_was_asked_to_end_ends_it_for_its_flow(
    flows: Flows,
) -> None:
    bench = flows.bench
    dead, worker = await bench.enlist(), await bench.enlist()
    await flows.make("a b", "a>b", anyway="b")
    [claim] = (await flows.claim(dead)).values()
    await bench.begin(dead, claim)
    await bench.storage.cancel(flows.ids["a"], bench.now)
    await bench.end_leases(but=[worker])
    assert await flows.of("a") == [JobStatus.CANCELLED]
    assert await flows.run(worker) == "b"


async def test_a_worker_that_dies_takes_nothing_with_it(flows: Flows) -> None:
    bench = flows.bench
    dead, worker = await bench.enlist(), await bench.enlist()
    await flows.make("a b", "a>b")
    [claim] = (await flows.claim(dead)).values()
    await bench.begin(dead, claim)
    await bench.end_leases(but=[worker])
    assert await flows.statuses() == "a:pending b:blocked"
    assert await bench.finish(dead, bench.completed(claim)) == [False]
    assert await flows.statuses() == "a:pending b:blocked"
    assert [await flows.run(worker) for _ in range(3)] == ["a", "b", ""]


async def test_a_retry_that_waits_lets_nobody_go(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b")
    claims = await flows.claim(worker)
    assert await bench.finish(worker, bench.retried(claims["a"], 60)) == [True]
    assert await flows.run(worker) == ""
    bench.clock.advance(60)
    assert [await flows.run(worker) for _ in range(3)] == ["a", "b", ""]


async def test_what_a_worker_of_an_earlier_version_ended_is_found_by_upkeep(flows: Flows) -> None:
    """It knows of no flows, and its outcome lets nobody go."""
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b")
    claims = await flows.claim(worker)
    outcome = bench.completed(claims["a"])
    outcome.tied = False
    assert await bench.finish(worker, outcome) == [True]
    assert await flows.run(worker) == ""
    await bench.prune()
    assert await flows.run(worker) == "b"


# -- people --------------------------------------------------------------------------------------


async def test_blocked_jobs_are_counted_and_listed(flows: Flows) -> None:
    bench = flows.bench
    await flows.make("a b c", "a>b a>c")
    stats = await bench.storage.stats(bench.now)
    assert (stats.by_status["blocked"], stats.by_status["pending"]) == (2, 1)
    ids, _ = await bench.page(status=JobStatus.BLOCKED)
    assert sorted(ids) == sorted([flows.ids["b"], flows.ids["c"]])
    outlook = await bench.storage.outlook([flows.ids["b"]], bench.now)
    assert outlook[flows.ids["b"]].status == JobStatus.BLOCKED
    await bench.storage.retry(flows.ids["b"], bench.now)  # It waits for others: nothing to do.
    assert await flows.of("b") == [JobStatus.BLOCKED]
    assert await bench.storage.cancel(Filter(type="C"), bench.now) == 1
    assert await flows.statuses() == "a:pending b:blocked c:cancelled"


async def test_a_retry_of_what_failed_lets_wait_again_what_was_cancelled_for_it(
    flows: Flows,
) -> None:
    worker = await flows.bench.enlist()
    await flows.make("a b c d e", "a>b b>c c>d e>d")
    await flows.run(worker, a="failed")
    assert await flows.statuses() == "a:failed b:cancelled c:cancelled d:cancelled e:completed"
    await flows.bench.storage.retry(flows.ids["a"], flows.bench.now)
    assert await flows.statuses() == "a:pending b:blocked c:blocked d:blocked e:completed"
    assert await flows.status() == WorkflowStatus.RUNNING
    assert [await flows.run(worker) for _ in range(5)] == ["a", "b", "c", "d", ""]
    assert await flows.status() == WorkflowStatus.COMPLETED


async def test_what_waits_for_two_that_failed_waits_again_when_both_are_retried(
    flows: Flows,
) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b c", "a>c b>c")
    await flows.run(worker, a="failed", b="failed")
    await bench.storage.retry(flows.ids["a"], bench.now)
    assert await flows.statuses() == "a:pending b:failed c:cancelled"
    with pytest.raises(JobStateError, match="waits for a job of its workflow that failed"):
        await bench.storage.retry(flows.ids["c"], bench.now)
    assert await bench.storage.retry(Filter(status=JobStatus.CANCELLED), bench.now) == 0
    await bench.storage.retry(flows.ids["b"], bench.now)
    assert await flows.statuses() == "a:pending b:pending c:blocked"
    assert await flows.run(worker) == "a b"
    assert await flows.run(worker) == "c"


async def test_a_job_that_people_cancelled_waits_again_when_they_retry_it(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b c", "a>b b>c")
    await bench.storage.cancel(flows.ids["b"], bench.now)
    await bench.storage.retry(flows.ids["b"], bench.now)
    assert await flows.statuses() == "a:pending b:blocked c:blocked"
    assert [await flows.run(worker) for _ in range(4)] == ["a", "b", "c", ""]


async def test_a_job_that_completed_and_is_run_again_holds_up_who_still_waits(
    flows: Flows,
) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b c", "a>c b>c")
    claims = await flows.claim(worker)
    await flows.end(worker, claims["a"])
    await bench.storage.retry(flows.ids["a"], bench.now)
    await flows.end(worker, claims["b"])
    assert await flows.statuses() == "a:pending b:completed c:blocked"
    assert [await flows.run(worker) for _ in range(3)] == ["a", "c", ""]


async def test_a_retried_flow_runs_what_did_not_complete(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b c d", "a>b b>c", on_failure="stop")
    await flows.run(worker, d="failed")
    await bench.storage.cancel(flows.ids["b"], bench.now)
    assert await flows.statuses() == "a:completed b:cancelled c:cancelled d:failed"
    assert await flows.storage.retry_flow(flows.id, bench.now) == 2
    assert await flows.statuses() == "a:completed b:pending c:blocked d:pending"
    assert [await flows.run(worker) for _ in range(3)] == ["b d", "c", ""]
    assert await flows.status() == WorkflowStatus.COMPLETED
    assert await flows.storage.retry_flow(flows.id, bench.now) == 0


async def test_a_cancelled_flow_starts_nothing_more(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b c d", "a>c c>d", anyway="d")
    claims = await flows.claim(worker)
    await flows.end(worker, claims["b"])
    assert await flows.storage.cancel_flow(flows.id, bench.now) == 3
    assert await flows.statuses() == "a:active b:completed c:cancelled d:cancelled"
    assert await bench.finish(worker, bench.retried(claims["a"])) == [True]
    assert await flows.statuses() == "a:cancelled b:completed c:cancelled d:cancelled"
    assert await flows.status() == WorkflowStatus.CANCELLED
    assert await flows.storage.cancel_flow(flows.id, bench.now) == 0


async def test_flows_that_nobody_knows_are_refused(flows: Flows) -> None:
    for flow_id in (flows.id, "nobody"):
        assert await flows.storage.flow(flow_id, flows.bench.now, 10) is None
        with pytest.raises(WorkflowNotFoundError):
            await flows.storage.cancel_flow(flow_id, flows.bench.now)
        with pytest.raises(WorkflowNotFoundError):
            await flows.storage.retry_flow(flow_id, flows.bench.now)


async def test_a_flow_that_was_undone_is_not_retried(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b", undo="a", on_failure="compensate")
    await flows.run(worker)
    await flows.run(worker, b="failed")
    assert await flows.run(worker, a_undo="failed") == "a-undo"
    with pytest.raises(JobStateError, match="has been undone"):
        await flows.storage.retry_flow(flows.id, bench.now)
    with pytest.raises(JobStateError, match="has been undone"):
        await bench.storage.retry(flows.ids["b"], bench.now)
    assert await bench.storage.retry(Filter(type="B", status=JobStatus.FAILED), bench.now) == 0
    await bench.storage.retry(flows.ids["a-undo"], bench.now)
    assert await flows.status() == WorkflowStatus.UNDOING
    assert await flows.run(worker) == "a-undo"


async def test_a_flow_is_seen_as_a_graph(flows: Flows) -> None:
    await flows.make("a b c", "a>b a>c")
    view = await flows.view()
    assert [flows.names[id_] for id_, *_ in view.jobs] == ["a", "b", "c"]
    assert list(view.edges) == flows.edges("a>b a>c")
    assert [len((await flows.view(limit)).jobs) for limit in (0, 1, 2)] == [0, 1, 2]
    assert list((await flows.view(1)).edges) == []


# -- callbacks -----------------------------------------------------------------------------------


async def test_callbacks_run_once_whatever_is_retried_after_them(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", callbacks="success complete", anyway="complete", kind="batch")
    await flows.run(worker, b="failed")
    assert await flows.status() == WorkflowStatus.RUNNING
    claims = await flows.claim(worker)
    assert list(claims) == ["complete"]
    said = [(name, status) for name, status, _ in await flows.results(claims["complete"])]
    assert said == [("a", "completed"), ("b", "failed")]
    await flows.end(worker, claims["complete"])
    assert await flows.status() == WorkflowStatus.FAILED
    info = await bench.info(flows.ids["success"])
    assert info.error == f"not all jobs of {flows.id} have completed"
    with pytest.raises(JobStateError):
        await bench.storage.retry(flows.ids["success"], bench.now)
    await bench.storage.retry(flows.ids["b"], bench.now)
    assert [await flows.run(worker) for _ in range(3)] == ["b", "success", ""]
    assert await flows.status() == WorkflowStatus.COMPLETED


async def test_a_callback_that_people_cancelled_waits_again_when_they_retry_it(
    flows: Flows,
) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a", callbacks="done", kind="batch")
    await bench.storage.cancel(flows.ids["done"], bench.now)
    await bench.storage.retry(flows.ids["done"], bench.now)
    assert await flows.statuses() == "a:pending done:blocked"
    assert [await flows.run(worker) for _ in range(3)] == ["a", "done", ""]


async def test_callbacks_of_a_flow_without_jobs_are_due_at_once(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    await flows.make("", callbacks="done", kind="batch")
    assert [await flows.run(worker) for _ in range(2)] == ["done", ""]
    assert await flows.status() == WorkflowStatus.COMPLETED


# -- from within ---------------------------------------------------------------------------------


async def test_what_a_job_adds_is_waited_for_by_those_that_wait_for_it(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b z", "a>b")
    claims = await flows.claim(worker)
    more = flows.piece("c d e", "c>d")
    more = Piece(more.members, [*more.edges, *flows.edges("z>e a>c")])
    await flows.storage.extend_flow(more, claims["a"].key, claims["a"].token, bench.now)
    await flows.storage.extend_flow(more, claims["a"].key, claims["a"].token, bench.now)
    assert (await flows.counts()).jobs == 6
    await flows.end(worker, claims["a"])
    await flows.end(worker, claims["z"])
    assert [await flows.run(worker) for _ in range(4)] == ["c e", "d", "b", ""]
    assert await flows.status() == WorkflowStatus.COMPLETED


async def test_what_an_added_job_waits_for_does_not_wait_for_it(flows: Flows) -> None:
    """Neither one that waited for the adding job before (c), nor one that this has added (e),
    nor what these wait for (b): each would wait for itself. Others wait for all (d)."""
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b c d", "a>b a>c b>c a>d")
    claims = await flows.claim(worker)
    claim = claims["a"]
    for jobs, edges in (("e", "a>e"), ("f g", "e>f c>g")):
        more = flows.piece(jobs)
        more = Piece(more.members, flows.edges(edges))
        await flows.storage.extend_flow(more, claim.key, claim.token, bench.now)
    await flows.end(worker, claim)
    assert [await flows.run(worker) for _ in range(6)] == ["e", "b f", "c", "g", "d", ""]
    assert await flows.status() == WorkflowStatus.COMPLETED


async def test_a_job_that_is_cancelled_while_it_runs_adds_nothing(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b")
    claim = (await flows.claim(worker))["a"]
    await flows.storage.cancel_flow(flows.id, bench.now)
    with pytest.raises(JobStateError, match="was cancelled while it ran"):
        await flows.storage.extend_flow(flows.piece("x"), claim.key, claim.token, bench.now)
    assert (await flows.counts()).jobs == 2


async def test_only_who_runs_a_job_adds_to_its_flow(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b", callbacks="done")
    claims = await flows.claim(worker)
    claim = claims["a"]
    with pytest.raises(LeaseLostError):
        await flows.storage.extend_flow(flows.piece("x"), claim.key, claim.token - 1, bench.now)
    other = Flows(bench)
    await other.make("o")
    flows.ids["o"] = other.ids["o"]
    flows.names[other.ids["o"]] = "o"
    for text in ("o>x", "a>x b>x"):
        if text != "o>x":
            await bench.storage.cancel(flows.ids["b"], bench.now)
        more = flows.piece("x", text)
        with pytest.raises(JobStateError, match="is no job of this workflow"):
            await flows.storage.extend_flow(more, claim.key, claim.token, bench.now)
    await flows.storage.extend_flow(flows.piece("x"), claim.key, claim.token, bench.now)
    more = Piece([*flows.piece("y").members, *flows.piece("x").members], [])
    await flows.end(worker, claim)
    with pytest.raises(LeaseLostError):
        await flows.storage.extend_flow(more, claim.key, claim.token, bench.now)
    await flows.run(worker)
    assert (await flows.counts()).jobs == 3
    [claim] = [one for name, one in (await flows.claim(worker)).items() if name == "done"] or [None]
    if claim is not None:
        with pytest.raises(JobStateError, match="callback or an undo job"):
            await flows.storage.extend_flow(flows.piece("x"), claim.key, claim.token, bench.now)


# -- how long they are kept ----------------------------------------------------------------------


async def test_a_job_that_has_ended_stays_until_its_flow_has_for_long_enough(
    flows: Flows,
) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b")
    await flows.run(worker)
    bench.clock.advance(3 * WEEK)
    await bench.prune_all()
    assert await flows.statuses() == "a:completed b:pending"
    claims = await flows.claim(worker)
    assert await flows.results(claims["b"]) == [("a", "completed", '"a"')]
    await flows.end(worker, claims["b"])
    await bench.prune_all()
    assert await flows.statuses() == "a:completed b:completed"
    bench.clock.advance(2 * WEEK)
    for _ in range(5):
        await bench.prune_all()
    assert await flows.storage.flow(flows.id, bench.now, 10) is None
    assert (await bench.page())[0] == []


async def test_a_flow_goes_before_its_jobs_so_that_none_is_retried_without_the_others(
    flows: Flows,
) -> None:
    """Retention removes a little at a time: what is left of a flow does not run again."""
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b c", "a>b b>c")
    await flows.run(worker)
    await flows.run(worker, b="failed")
    bench.clock.advance(2 * WEEK)
    await bench.prune(limit=1)
    with pytest.raises(WorkflowNotFoundError):
        await flows.storage.retry_flow(flows.id, bench.now)
    with pytest.raises(JobStateError, match="is not kept any more"):
        await bench.storage.retry(flows.ids["b"], bench.now)
    assert await bench.storage.retry(Filter(status=JobStatus.FAILED), bench.now) == 0
    await bench.prune_all(limit=1)
    assert (await bench.page())[0] == []


async def test_jobs_of_a_flow_that_goes_on_are_not_deleted(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b")
    await flows.run(worker)
    for name in ("a", "b"):
        with pytest.raises(JobStateError, match=f"belongs to workflow {flows.id}"):
            await bench.storage.delete(flows.ids[name])
    assert await bench.storage.delete(Filter(status=JobStatus.COMPLETED)) == 0
    await flows.run(worker)
    await bench.storage.delete(flows.ids["b"])
    assert await bench.storage.delete(Filter(status=JobStatus.COMPLETED)) == 1
    await bench.prune_all()
    assert await flows.statuses() == ""


async def test_a_worker_that_ends_jobs_beside_others_of_the_same_flow_waits_for_nobody_long(
    place: Place,
) -> None:
    """Many at once, in two processes' storages: none is stuck, none runs twice."""
    benches = await place.benches(2)
    flows = Flows(benches[0])
    names = [f"j{n}" for n in range(40)]
    await flows.make(" ".join([*names, "z"]), " ".join(f"{name}>z" for name in names))
    workers = [await bench.enlist() for bench in benches]
    claims = await flows.claim(workers[0])
    assert sorted(claims) == sorted(names)
    outcomes = [benches[0].completed(claim) for claim in claims.values()]
    stood = await asyncio.gather(
        *(benches[n % 2].storage.finish(workers[0], [one]) for n, one in enumerate(outcomes))
    )
    assert all(stand == [True] for stand in stood)
    assert [await flows.run(workers[0]) for _ in range(2)] == ["z", ""]
