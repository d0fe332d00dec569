"""Unique keys of jobs of workflows: a workflow has all of its keys, or is refused as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from backroom.errors import DuplicateJobError, JobStateError
from backroom.flow import WorkflowStatus
from backroom.inspecting import Filter
from backroom.job import Hold, JobStatus
from backroom.storage.postgres.looking import Inspector as PostgresInspector
from backroom.storage.sqlite.inspect import Inspector as SqliteInspector
from backroom.unique import OnConflict
from tests.contract.flows import KEYED, Flows
from tests.contract.parts import Bench, Place

HOUR = 3600.0
UNTILS = ("end", "start", "period")
HOWS: tuple[OnConflict, ...] = ("existing", "raise", "replace")


@pytest.fixture
def flows(bench: Bench) -> Flows:
    return Flows(bench)


def moment(bench: Bench, until: str) -> int | None:
    """As `Hold.until`."""
    return {"end": None, "start": 0, "period": bench.later(HOUR)}[until]


def plain(
    bench: Bench, how: OnConflict = "existing", until: str = "end", key: str = "k", **fields: Any
) -> Any:
    """A job of no flow with this key."""
    hold = Hold(moment(bench, until), how)
    options = None if until == "end" else f'{{"unique_key":"{key}"}}'
    return bench.record(type=KEYED, unique_key=key, hold=hold, options=options, **fields)


async def add(bench: Bench, **said: Any) -> str:
    [made] = await bench.insert([plain(bench, **said)])
    assert made.created
    return made.id


async def holder(bench: Bench, key: str = "k") -> str | None:
    """Who has this key, if anybody; nobody has it for that."""
    record = plain(bench, "raise", key=key)
    try:
        await bench.insert([record])
    except DuplicateJobError as error:
        return error.job_id
    await bench.storage.delete(record.id)
    return None


async def refused(flows: Flows, *said: Any, **more: Any) -> DuplicateJobError:
    """Nothing of this flow was kept."""
    before = await flows.bench.page()
    with pytest.raises(DuplicateJobError) as error:
        await flows.make(*said, **more)
    assert await flows.storage.flow(flows.id, flows.bench.now, 10) is None
    assert await flows.bench.page() == before
    return error.value


# -- a flow that is made -------------------------------------------------------------------------


@pytest.mark.parametrize("theirs", UNTILS)
@pytest.mark.parametrize("mine", UNTILS)
async def test_a_flow_is_refused_as_a_whole_where_a_key_is_held(
    bench: Bench, mine: str, theirs: str
) -> None:
    other = await add(bench, until=theirs)
    flows = Flows(bench)
    until = moment(bench, mine)
    error = await refused(flows, "a b c", "a>b", keys="a:free b:k c:last", until=until)
    assert (error.job_id, error.index) == (other, None)
    assert f"job {other} holds the unique key 'k'" in str(error)
    assert [await holder(bench, key) for key in ("free", "last")] == [None, None]
    await bench.storage.delete(other)
    await flows.make("a b c", "a>b", keys="a:free b:k c:last", until=until)
    assert await holder(bench) == flows.ids["b"]


async def test_a_callback_may_have_a_key(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    other = await add(bench, delay=60)
    assert (await refused(flows, "a", callbacks="done", keys="done:k")).job_id == other
    await bench.storage.cancel(other, bench.now)
    await flows.make("a", callbacks="done", keys="done:k")
    assert await holder(bench) == flows.ids["done"]
    assert [await flows.run(worker) for _ in range(3)] == ["a", "done", ""]
    assert await holder(bench) is None


@pytest.mark.parametrize("until", UNTILS)
async def test_two_jobs_of_one_flow_do_not_have_the_same_key(flows: Flows, until: str) -> None:
    bench = flows.bench
    keys = {"keys": "a:k b:other c:k", "until": moment(bench, until)}
    error = await refused(flows, "a b c", "a>b b>c", **keys)
    first, second = flows.ids["a"], flows.ids["c"]
    assert error.job_id == first
    assert f"KEYED {first} and KEYED {second} of one workflow have the same" in str(error)
    assert [await holder(bench, key) for key in ("k", "other")] == [None, None]


@pytest.mark.parametrize("until", UNTILS)
async def test_a_flow_that_is_put_again_is_not_in_its_own_way(flows: Flows, until: str) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    piece = await flows.make("a b", "a>b", keys="a:k b:l", until=moment(bench, until))
    await flows.put(piece)
    assert await flows.run(worker) == "a"
    if until != "period":
        await add(bench, delay=60)  # The key is another one's by now.
    await flows.put(piece)
    assert (await flows.counts()).jobs == 2
    assert await flows.statuses() == "a:completed b:pending"


async def test_of_many_flows_with_one_key_at_once_one_is_kept(place: Place) -> None:
    benches = await place.benches(3)
    many = [Flows(bench) for bench in benches for _ in range(4)]
    names = ("x a", "a x", "x y a")
    made = await asyncio.gather(
        *[
            one.make(names[n % 3], keys=" ".join(f"{name}:{name}" for name in names[n % 3].split()))
            for n, one in enumerate(many)
        ],
        return_exceptions=True,
    )
    kept = [one for one, said in zip(many, made, strict=True) if not isinstance(said, Exception)]
    assert len(kept) == 1
    errors = [said for said in made if isinstance(said, Exception)]
    assert {type(error) for error in errors} == {DuplicateJobError}
    ids = set(kept[0].ids.values())
    assert {error.job_id for error in errors} <= ids  # type: ignore[attr-defined]
    assert set((await benches[0].page())[0]) == ids


# -- for how long --------------------------------------------------------------------------------


@pytest.mark.parametrize("until", UNTILS)
async def test_a_job_that_waits_for_others_has_its_key(flows: Flows, until: str) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b", keys="b:k", until=moment(bench, until))
    await bench.prune_all()  # Upkeep lets go of no key that is held.
    for record in (plain(bench), plain(bench, until="start"), plain(bench, "replace")):
        if record.hold.on_conflict == "replace" and until == "start":
            continue
        [answer] = await bench.insert([record])
        assert (answer.id, answer.created) == (flows.ids["b"], False)
    assert await holder(bench) == flows.ids["b"]
    assert (await bench.info(flows.ids["b"])).unique_key == "k"
    await flows.run(worker)
    claims = await flows.claim(worker)
    await bench.begin(worker, *claims.values())
    assert await holder(bench) == (None if until == "start" else flows.ids["b"])
    await flows.end(worker, claims["b"])
    assert await holder(bench) == (flows.ids["b"] if until == "period" else None)
    bench.clock.advance(HOUR)
    assert await holder(bench) is None


class Ends:
    """Brings job b, which has the key and waits for a, to its end."""

    def __init__(self, flows: Flows, worker: int) -> None:
        self.flows = flows
        self.bench = flows.bench
        self.worker = worker

    async def completed(self) -> None:
        await self.flows.run(self.worker)
        await self.flows.run(self.worker)

    async def failed(self) -> None:
        await self.flows.run(self.worker)
        await self.flows.run(self.worker, b="failed")

    async def cancelled_by_itself(self) -> None:
        await self.flows.run(self.worker)
        await self.flows.run(self.worker, b="cancelled")

    async def waited_in_vain(self) -> None:
        await self.flows.run(self.worker, a="failed")

    async def cancelled(self) -> None:
        await self.bench.storage.cancel(self.flows.ids["b"], self.bench.now)

    async def cancelled_as_a_whole(self) -> None:
        await self.flows.storage.cancel_flow(self.flows.id, self.bench.now)

    async def expired(self) -> None:
        self.bench.clock.advance(61)
        await self.bench.prune()

    async def asked_and_given_back(self) -> None:
        await self.flows.run(self.worker)
        await self.flows.claim(self.worker)
        await self.cancelled()
        await self.bench.storage.give_back(self.worker, ())

    async def asked_and_dead(self) -> None:
        await self.flows.run(self.worker)
        await self.bench.begin(self.worker, *(await self.flows.claim(self.worker)).values())
        await self.cancelled()
        await self.bench.end_leases()

    async def deleted(self) -> None:
        await self.cancelled_as_a_whole()
        await self.bench.storage.delete(self.flows.ids["b"])


@pytest.mark.parametrize("until", ["end", "start"])
@pytest.mark.parametrize("how", [name for name in vars(Ends) if not name.startswith("_")])
async def test_a_key_is_free_whichever_way_its_job_ends(flows: Flows, how: str, until: str) -> None:
    bench = flows.bench
    expires = bench.later(60) if how == "expired" else None
    await flows.make("a b c", "a>b b>c", keys="b:k", until=moment(bench, until), expires_at=expires)
    assert await holder(bench) == flows.ids["b"]
    act: Callable[[], Awaitable[None]] = getattr(Ends(flows, await bench.enlist()), how)
    await act()
    assert (
        await bench.storage.find(flows.ids["b"], bench.now) is None
        or (await bench.status(flows.ids["b"])).terminal
    )
    assert await holder(bench) is None
    other = Flows(bench)
    await other.make("d", keys="d:k")
    assert await holder(bench) == other.ids["d"]


async def test_a_callback_that_does_not_run_lets_go_of_its_key(flows: Flows) -> None:
    worker = await flows.bench.enlist()
    await flows.make("a", callbacks="done", keys="done:k")
    await flows.run(worker, a="failed")
    assert await flows.statuses() == "a:failed done:cancelled"
    assert await holder(flows.bench) is None


async def test_a_key_stays_taken_while_its_job_may_run_again(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a", keys="a:k")
    claims = await flows.claim(worker)
    assert await bench.finish(worker, bench.retried(claims["a"], 60)) == [True]
    assert await holder(bench) == flows.ids["a"]
    bench.clock.advance(60)
    await bench.begin(worker, *(await flows.claim(worker)).values())
    await bench.end_leases()
    assert await holder(bench) == flows.ids["a"]


# -- what comes with the same key ----------------------------------------------------------------


@pytest.mark.parametrize("state", ["blocked", "pending"])
@pytest.mark.parametrize("until", UNTILS)
async def test_nothing_replaces_a_job_of_a_flow(flows: Flows, until: str, state: str) -> None:
    """It is as with one that a worker has taken ahead: what was said last runs in a job of its
    own where the key is held until the start, and nothing is lost."""
    bench = flows.bench
    edges = "a>b" if state == "blocked" else ""
    await flows.make("a b", edges, keys="b:k", until=moment(bench, until))
    before = await bench.info(flows.ids["b"])
    record = plain(bench, "replace", data='{"new":1}', queue="other", run_at=1234)
    [answer] = await bench.insert([record])
    assert await bench.info(flows.ids["b"]) == before
    if until == "start":
        assert (answer.id, answer.created) == (record.id, True)
        assert await holder(bench) == record.id
    else:
        assert (answer.id, answer.created) == (flows.ids["b"], False)
        assert await holder(bench) == flows.ids["b"]


# -- jobs that are added -------------------------------------------------------------------------


@pytest.mark.parametrize("until", UNTILS)
async def test_what_a_job_adds_is_refused_as_a_whole(flows: Flows, until: str) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b")
    claim = (await flows.claim(worker))["a"]
    other = await add(bench, delay=60, key="l")
    before = await flows.view()
    more = flows.piece("c d e", "c>d", keys="c:k d:l", until=moment(bench, until))

    async def extend() -> None:
        await flows.storage.extend_flow(more, claim.key, claim.token, bench.now)

    with pytest.raises(DuplicateJobError) as refusal:
        await extend()
    assert refusal.value.job_id == other
    assert await flows.view() == before
    assert await holder(bench, "k") is None
    await bench.storage.cancel(other, bench.now)
    await extend()
    await extend()  # An attempt that comes again finds what is there, and its keys.
    assert (await flows.counts()).jobs == 5
    assert [await holder(bench, key) for key in "kl"] == [flows.ids["c"], flows.ids["d"]]
    await flows.end(worker, claim)
    ran = [await flows.run(worker) for _ in range(4)]
    assert ran == ["c e", "d", "b", ""]


async def test_what_a_job_adds_may_not_have_the_key_of_one_that_is_there(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b", keys="a:k")
    claim = (await flows.claim(worker))["a"]
    for keys in ("c:k", "c:l d:l"):
        more = flows.piece("c d", keys=keys)
        with pytest.raises(DuplicateJobError):
            await flows.storage.extend_flow(more, claim.key, claim.token, bench.now)
    assert (await flows.counts()).jobs == 2


# -- jobs that run again -------------------------------------------------------------------------


async def test_jobs_that_run_again_take_their_keys_again(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b c", "a>b b>c", callbacks="done", keys="a:k c:l done:m")
    for retry in (
        lambda: bench.storage.retry(flows.ids["a"], bench.now),
        lambda: flows.storage.retry_flow(flows.id, bench.now),
        lambda: bench.storage.retry(Filter(status=JobStatus.FAILED), bench.now),
    ):
        await flows.run(worker, a="failed")
        assert [await holder(bench, key) for key in "klm"] == [None] * 3
        await retry()
        assert await flows.statuses() == "a:pending b:blocked c:blocked done:blocked"
        assert [await holder(bench, key) for key in "klm"] == [
            flows.ids[name] for name in ("a", "c", "done")
        ]
    assert [await flows.run(worker) for _ in range(5)] == ["a", "b", "c", "done", ""]
    assert [await holder(bench, key) for key in "klm"] == [None] * 3


@pytest.mark.parametrize("theirs", UNTILS)
@pytest.mark.parametrize("key", ["k", "l", "m"])
async def test_a_retry_is_refused_as_a_whole_where_a_key_is_held(
    flows: Flows, key: str, theirs: str
) -> None:
    """That of the job, that of one which was cancelled for it, and that of a callback."""
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b c d", "a>b b>c", callbacks="done", keys="a:k c:l done:m")
    await flows.run(worker, a="failed")
    other = await add(bench, key=key, until=theirs, delay=60)
    before = await flows.view()
    said = f"job {other} holds its unique key '{key}'"
    with pytest.raises(JobStateError, match=said if key != "k" else "holds its unique key"):
        await bench.storage.retry(flows.ids["a"], bench.now)
    with pytest.raises(JobStateError, match=said):
        await flows.storage.retry_flow(flows.id, bench.now)
    assert await bench.storage.retry(Filter(status=JobStatus.FAILED), bench.now) == 0
    assert await flows.view() == before
    assert await flows.status() == WorkflowStatus.FAILED
    assert [await holder(bench, one) for one in "klm" if one != key] == [None, None]
    await bench.storage.delete(other)
    await flows.storage.retry_flow(flows.id, bench.now)
    assert [await flows.run(worker) for _ in range(5)] == ["a", "b", "c", "done", ""]


async def test_of_a_flow_of_which_one_has_no_key_any_more_no_other_one_is_retried(
    flows: Flows,
) -> None:
    """Of jobs of no flow, that one is left alone, and the others run again."""
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b c", "a>c b>c", keys="b:k")
    await flows.run(worker, a="failed", b="failed")
    free = Flows(bench)
    await free.make("a")
    await free.run(worker, a="failed")
    alone = [await bench.add(type=KEYED, unique_key=key) for key in ("l", None)]
    for claim in await bench.claim(worker):
        await bench.finish(worker, bench.failed(claim))
    others = [await add(bench, key=key, delay=60) for key in "kl"]
    before = await flows.view()
    with pytest.raises(JobStateError, match=f"job {others[0]} holds its unique key 'k'"):
        await flows.storage.retry_flow(flows.id, bench.now)
    assert await bench.storage.retry(Filter(status=JobStatus.FAILED), bench.now) == 2
    assert await flows.view() == before
    assert await free.statuses() == "a:pending"
    assert [await bench.status(job) for job in alone] == [JobStatus.FAILED, JobStatus.PENDING]
    assert await bench.storage.retry(Filter(), bench.now) == 0
    await bench.storage.delete(others[0])
    assert await bench.storage.retry(Filter(status=JobStatus.FAILED), bench.now) == 2
    assert await flows.statuses() == "a:pending b:pending c:blocked"
    assert await holder(bench) == flows.ids["b"]


async def test_one_that_is_not_what_was_looked_for_any_more_keeps_no_other_one_from_a_retry(
    flows: Flows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the change it has completed, say, and others may have its key."""
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", keys="b:k")
    await flows.run(worker, a="failed")
    await add(bench, delay=60)
    ended, chosen = SqliteInspector.ended, PostgresInspector.chosen

    def all_ended(jobs: SqliteInspector, which: Filter, *said: Any) -> list[int]:
        return ended(jobs, Filter(), *said)

    async def all_chosen(jobs: PostgresInspector, which: Filter, **said: Any) -> list[Any]:
        return await chosen(jobs, Filter(), **said)

    monkeypatch.setattr(SqliteInspector, "ended", all_ended)
    monkeypatch.setattr(PostgresInspector, "chosen", all_chosen)
    assert await bench.storage.retry(Filter(status=JobStatus.FAILED), bench.now) == 1
    assert await flows.statuses() == "a:pending b:completed"


async def test_of_two_flows_with_one_key_that_are_retried_at_once_one_runs_again(
    bench: Bench,
) -> None:
    """Each behind a job without a key; and what has none, or belongs to no flow, is not held up."""
    worker = await bench.enlist()
    every = []
    for _ in range(2):
        flows = Flows(bench)
        await flows.make("a b", "a>b", keys="b:k")
        await flows.run(worker, a="failed")
        every.append(flows)
    free = Flows(bench)
    await free.make("a", keys="a:free")
    await free.run(worker, a="failed")
    alone = await bench.add()
    await bench.finish(worker, bench.failed(await bench.claim_one(worker)))
    assert await bench.storage.retry(Filter(status=JobStatus.FAILED), bench.now) == 3
    assert [await flows.statuses() for flows in every] == [
        "a:pending b:blocked", "a:failed b:cancelled",
    ]  # fmt: skip
    assert await free.statuses() == "a:pending"
    assert await bench.status(alone) is JobStatus.PENDING
    assert await holder(bench) == every[0].ids["b"]


async def test_two_of_one_flow_that_had_one_key_in_turn_do_not_both_run_again(
    flows: Flows,
) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", keys="a:k")
    claims = await flows.claim(worker)
    await flows.end(worker, claims["a"], "failed")
    more = flows.piece("c", keys="c:k")
    await flows.storage.extend_flow(more, claims["b"].key, claims["b"].token, bench.now)
    await flows.end(worker, claims["b"])
    await flows.run(worker, c="failed")
    before = await flows.view()
    with pytest.raises(JobStateError, match="holds its unique key 'k'"):
        await flows.storage.retry_flow(flows.id, bench.now)
    assert await flows.view() == before
    await bench.storage.retry(flows.ids["c"], bench.now)
    assert await flows.run(worker) == "c"
    assert await holder(bench) is None


@pytest.mark.parametrize("until", ["start", "period"])
async def test_a_job_that_held_its_key_not_until_its_end_runs_again_beside_who_has_it(
    flows: Flows, until: str
) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b", keys="b:k", until=moment(bench, until))
    await flows.run(worker, a="failed")
    bench.clock.advance(HOUR)
    other = await add(bench, until=until, delay=60)
    await flows.storage.retry_flow(flows.id, bench.now)
    assert await flows.statuses() == "a:pending b:blocked"
    assert await holder(bench) == other


async def test_a_job_that_waits_again_holds_its_key_until_it_starts(flows: Flows) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b", keys="b:k", until=0)
    await flows.run(worker, a="failed")
    await bench.prune_all()
    await bench.storage.retry(flows.ids["a"], bench.now)
    assert await holder(bench) == flows.ids["b"]


@pytest.mark.parametrize("key", ["k", "l"])
async def test_a_key_whose_time_is_over_is_in_no_retrys_way(flows: Flows, key: str) -> None:
    bench = flows.bench
    worker = await bench.enlist()
    await flows.make("a b", "a>b", keys="a:k b:l")
    for n, retry in enumerate(
        (
            lambda: flows.storage.retry_flow(flows.id, bench.now),
            lambda: bench.storage.retry(flows.ids["a"], bench.now),
            lambda: bench.storage.retry(Filter(status=JobStatus.FAILED), bench.now),
        )
    ):
        await flows.run(worker, a="failed")
        other = await add(bench, until="period", key=key, run_at=2**60, data=f"{n}")
        with pytest.raises(JobStateError, match="holds its unique key"):
            await flows.storage.retry_flow(flows.id, bench.now)
        bench.clock.advance(HOUR)
        await bench.storage.extend(worker)
        await retry()
        assert await flows.statuses() == "a:pending b:blocked"
        assert await holder(bench, key) == flows.ids["a" if key == "k" else "b"]
        await bench.storage.delete(other)
