"""Finding: every word of a filter, alone and with others, looks at some of the jobs at a time, and
changes of many."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from backroom.errors import OptionError
from backroom.flow import Member, Piece, Role
from backroom.inspecting import BulkProgress, Filter
from backroom.job import JobStatus
from tests.contract.flows import KEYED, Flows
from tests.contract.parts import Bench

UNKNOWN = "0197a1b2-0000-7000-8000-000000000000"


async def failed(bench: Bench, message: str = "boom", **fields: object) -> str:
    job, worker, claim = await bench.running(**{"priority": 0, **fields})
    assert await bench.finish(worker, bench.failed(claim, message)) == [True]
    return job


async def found(bench: Bench, **which: object) -> list[str]:
    return (await bench.page(**which))[0]


# -- what a filter says ------------------------------------------------------------------------


async def test_jobs_are_found_by_the_kind_of_their_last_error(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim))
    await bench.add()
    await bench.end_leases()

    assert await found(bench, error="OSError") == [job]
    assert await found(bench, error="oserror") == []
    assert await found(bench, error="OS%") == []
    assert await found(bench, error="OSError", status=JobStatus.FAILED) == []


async def test_the_error_that_counts_is_the_last_one(bench: Bench) -> None:
    job, _, _ = await bench.running()
    await bench.end_leases()
    assert await found(bench, error="crash") == [job]
    worker = await bench.enlist()
    await bench.finish(worker, bench.failed(await bench.claim_one(worker)))
    assert await found(bench, error="crash") == []
    assert await found(bench, error="OSError", status=JobStatus.FAILED) == [job]


@pytest.mark.parametrize(
    "fields",
    [
        {"data": '{"to":"Ada Lovelace"}'},
        {"type": "ADA_LOVELACE", "data": '"lovelace"'},
        {"options": '{"tags":["x","lovelace"]}'},
        {"unique_key": "Lovelace-1"},
        {"options": '{"unique_key":"lovelace"}'},
    ],
)
async def test_a_text_is_found_wherever_it_stands_in_either_case(
    bench: Bench, fields: dict[str, object]
) -> None:
    await bench.add(data='{"to":"Grace"}', options='{"tags":["love"],"metadata":{"a":"lovelace"}}')
    job = await bench.add(**fields)
    await bench.add(data='{"to":"love lace"}')
    for text in ("lovelace", "LOVELACE", "oVeLaCe"):
        assert await found(bench, text=text) == [job], text
    assert await found(bench, text="lovelaces") == []


async def test_a_text_is_found_in_the_last_error_and_in_the_id(bench: Bench) -> None:
    job = await failed(bench, message="no route to Host 7")
    other = await bench.add()
    assert await found(bench, text="ROUTE to") == [job]
    assert await found(bench, text=job) == [job]
    assert await found(bench, text=job.upper()) == [job]
    assert await found(bench, text=other[-12:]) == [other]


async def test_the_id_of_a_job_as_a_text_means_that_job_alone(bench: Bench) -> None:
    job = await bench.add()
    await bench.add(data=f'{{"of":"{job}"}}')
    assert await found(bench, text=job) == [job]
    assert len(await found(bench, text=job[:-1])) == 2


@pytest.mark.parametrize("text", ["%", "_", "\\", "100%", "' OR 1=1 --", '"', "$1", "{jobs}"])
async def test_signs_that_mean_something_elsewhere_mean_themselves(bench: Bench, text: str) -> None:
    await bench.add(type="T", data='{"to":"nobody"}')
    job = await bench.add(type="T", data=msgspec.json.encode([f"a{text}b"]).decode())
    assert await found(bench, text=f"a{text}b") == [job]
    if text != '"':  # It stands in all data.
        assert await found(bench, text=text) == [job]


async def test_a_text_is_not_looked_for_in_the_data_of_types_that_hide_some(bench: Bench) -> None:
    async def counted(**which: object) -> int:
        return (
            await bench.storage.count(msgspec.convert(which, Filter), bench.now, None, 1000)
        ).jobs

    hidden = await bench.add(type="LOGIN", data='{"password":"hush"}', unique_key="k-login")
    other = await bench.add(type="PAY", data='{"note":"hush"}')
    assert await found(bench, text="hush") == [other, hidden]
    assert await found(bench, text="hush", unseen=("LOGIN", "\0$1{jobs}'")) == [other]
    assert await found(bench, text="hush", unseen=("LOGIN", "PAY")) == []
    assert await counted(text="hush", unseen=("LOGIN",)) == 1
    for text in ("login", hidden, "K-LOG"):
        assert await found(bench, text=text, unseen=("LOGIN",)) == [hidden]


async def test_a_text_may_be_looked_for_in_ids_and_types_alone(bench: Bench) -> None:
    job = await failed(
        bench, type="HUSH", data='{"a":"data"}', options='{"tags":["tag"],"unique_key":"held"}',
        unique_key="key", message="error",
    )  # fmt: skip
    for text in ("data", "tag", "held", "key", "error"):
        assert await found(bench, text=text) == [job], text
        assert await found(bench, text=text, unseen="*") == [], text
    for text in ("hush", job, job[-12:]):
        assert await found(bench, text=text, unseen="*") == [job], text


async def test_what_many_are_changed_by_is_looked_for_in_the_same_way(bench: Bench) -> None:
    hidden = await bench.add(type="LOGIN", data='"hush"')
    other = await bench.add(type="PAY", data='"hush"')
    which = Filter(text="hush", unseen=("LOGIN",))
    assert await bench.storage.cancel(which, bench.now) == 1
    assert (await bench.info(other)).status == JobStatus.CANCELLED
    assert (await bench.info(hidden)).status == JobStatus.PENDING


async def test_jobs_are_found_by_the_worker_that_holds_them(bench: Bench) -> None:
    one, two = await bench.enlist("host:1"), await bench.enlist("host:2")
    jobs = await bench.add_many(3)
    await bench.claim(one, 1)
    await bench.claim(two, 1)
    assert await found(bench, worker="host:1") == [jobs[0]]
    assert await found(bench, worker="host:2", status=JobStatus.ACTIVE) == [jobs[1]]
    assert await found(bench, worker="host:3") == []
    assert await found(bench, worker="host:2", status=JobStatus.PENDING) == []


async def test_jobs_are_found_by_priority_and_by_when_they_were_made(bench: Bench) -> None:
    old = await bench.add(priority=3)
    bench.clock.advance(60)
    new = await bench.add(priority=1)
    assert await found(bench, priority=3) == [old]
    assert await found(bench, priority=0) == []
    assert await found(bench, since=bench.now) == [new]
    assert await found(bench, until=bench.now) == [old]
    assert await found(bench, since=bench.later(-60), until=bench.later(1)) == [new, old]


async def test_all_that_a_filter_says_must_be_so(bench: Bench) -> None:
    job = await failed(bench, type="A", queue="q", options='{"tags":["t"]}', data='"needle"')
    await failed(bench, type="A", queue="q", data='"needle"')
    await failed(bench, type="B", queue="q", options='{"tags":["t"]}', data='"needle"')
    which: dict[str, object] = {
        "status": JobStatus.FAILED, "type": "A", "queue": "q", "tag": "t", "error": "OSError",
        "text": "needle", "priority": 0, "since": bench.now, "until": bench.later(1),
    }  # fmt: skip
    assert await found(bench, **which) == [job]
    for name, other in {
        "status": JobStatus.COMPLETED, "type": "C", "queue": "r", "tag": "u", "error": "X",
        "text": "haystack", "priority": 1, "since": bench.later(1), "until": bench.now,
    }.items():  # fmt: skip
        assert await found(bench, **{**which, name: other}) == [], name


# -- some at a time ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [None, JobStatus.SCHEDULED])
async def test_a_look_goes_through_no_more_than_it_may_and_tells_where_it_goes_on(
    bench: Bench, status: JobStatus | None
) -> None:
    rare = await bench.add(type="RARE", delay=60)
    await bench.add_many(9, delay=60)
    which = Filter(type="RARE", status=status)
    cursor, seen, looks = None, 0, 0
    jobs: list[str] = []
    while True:
        looked = await bench.storage.look(which, bench.now, 5, cursor, 4)
        jobs += [job.id for job in looked.jobs]
        seen, looks, cursor = seen + looked.seen, looks + 1, looked.cursor
        if cursor is None:
            break
        assert looked.seen == 4
    assert (jobs, seen, looks) == ([rare], 10, 3)


async def test_a_look_ends_where_its_page_is_full(bench: Bench) -> None:
    ids = await bench.add_many(10)
    looked = await bench.storage.look(Filter(), bench.now, 3, None, 8)
    assert ([job.id for job in looked.jobs], looked.seen) == (ids[:-4:-1], 3)
    looked = await bench.storage.look(Filter(), bench.now, 7, looked.cursor, 8)
    assert [job.id for job in looked.jobs] == ids[6::-1]
    assert looked.cursor is None


async def test_matching_jobs_are_counted_some_at_a_time(bench: Bench) -> None:
    for _ in range(5):
        await bench.add(type="A")
        await bench.add(type="B")
    total, seen, cursor = 0, 0, None
    while True:
        counted = await bench.storage.count(Filter(type="A"), bench.now, cursor, 3)
        total, seen, cursor = total + counted.jobs, seen + counted.seen, counted.cursor
        if cursor is None:
            break
    assert (total, seen) == (5, 10)
    whole = await bench.storage.count(Filter(queue="never"), bench.now, None, 3)
    assert whole.jobs == 0


async def test_a_cursor_that_is_none_of_ours_is_refused_by_a_count(bench: Bench) -> None:
    with pytest.raises(OptionError, match="cursor"):
        await bench.storage.count(Filter(), bench.now, "x", 10)


# -- many at once ------------------------------------------------------------------------------


async def test_who_changes_many_is_told_how_far_it_has_come_after_each_page(bench: Bench) -> None:
    await bench.add_many(2500)
    told: list[BulkProgress] = []
    assert await bench.storage.cancel(Filter(type="SEND_EMAIL"), bench.now, told.append) == 2500
    assert [one.changed for one in told] == [1000, 2000, 2500]
    assert told[-1].refused == 0
    assert all(one.looked >= one.changed for one in told)


async def test_a_change_of_many_that_is_stopped_between_pages_stands_as_far_as_it_came(
    bench: Bench,
) -> None:
    await bench.add_many(2500)
    task: asyncio.Task[int] | None = None

    def stop(_: BulkProgress) -> None:
        assert task is not None
        task.cancel()

    task = asyncio.ensure_future(bench.storage.cancel(Filter(), bench.now, stop))
    with pytest.raises(asyncio.CancelledError):
        await task
    by_status = (await bench.storage.stats(bench.now)).by_status
    assert (by_status["cancelled"], by_status["pending"]) == (1000, 1500)


async def test_jobs_that_come_after_a_change_of_many_has_begun_are_left_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("backroom.storage.embedded", "backroom.storage.postgres.people"):
        monkeypatch.setattr(f"{room}.BULK", 1)
    await bench.add_many(30)
    late: list[asyncio.Task[str]] = []

    def tell(_: BulkProgress) -> None:
        if not late:  # It comes between two pages.
            late.append(asyncio.ensure_future(bench.add()))

    assert await bench.storage.cancel(Filter(), bench.now, tell) == 30
    assert await bench.status(await late[0]) == JobStatus.PENDING


async def test_jobs_are_changed_by_their_ids_and_those_that_cannot_be_are_told(
    bench: Bench,
) -> None:
    one, other = await failed(bench), await failed(bench)
    running, _, _ = await bench.running(priority=0)
    told: list[BulkProgress] = []

    changed = await bench.storage.retry(
        [one, UNKNOWN, running, one, "no id"], bench.now, progress=told.append
    )

    assert changed == 1
    assert told == [BulkProgress(4, 1, 3)]
    assert [await bench.status(job) for job in (one, other, running)] == [
        "pending", "failed", "active",
    ]  # fmt: skip
    assert await bench.storage.cancel([one, running], bench.now) == 2
    assert await bench.storage.delete([one, other, running]) == 2
    assert await found(bench) == [running]


@pytest.mark.parametrize("held", [False, True])
async def test_a_page_takes_the_jobs_of_a_workflow_along_or_leaves_them_all(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    for room in ("backroom.storage.embedded", "backroom.storage.postgres.people"):
        monkeypatch.setattr(f"{room}.BULK", 1)
    flows, worker = Flows(bench), await bench.enlist()
    await flows.put(
        Piece(
            [
                Member(flows.record("a"), Role.JOB, False),
                Member(flows.record("b", **flows.holding("k", None)), Role.JOB, False),
            ],
            [],
        )
    )
    await flows.run(worker, a="failed", b="failed")
    other = await failed(bench)
    if held:
        await bench.add(type=KEYED, unique_key="k", delay=60)
    told: list[BulkProgress] = []

    changed = await bench.storage.retry(
        Filter(status=JobStatus.FAILED), bench.now, progress=told.append
    )

    if held:
        assert (changed, told[-1].changed, told[-1].refused) == (1, 1, 2)
        assert await flows.statuses() == "a:failed b:failed"
    else:
        assert (changed, told[0].changed, told[-1].refused) == (3, 2, 0)
        assert await flows.statuses() == "a:pending b:pending"
    assert await bench.status(other) == JobStatus.PENDING


async def test_jobs_are_found_by_their_workflow(bench: Bench) -> None:
    flows = Flows(bench)
    await flows.make("a b c", "a>b")
    await bench.add()
    assert sorted(await found(bench, workflow=flows.id)) == sorted(flows.ids.values())
    assert await found(bench, workflow=flows.id, status=JobStatus.BLOCKED) == [flows.ids["b"]]
    assert await found(bench, workflow=UNKNOWN) == []
    assert await found(bench, workflow="no id") == []


async def test_how_many_were_looked_at_is_what_a_change_of_many_has_come_to(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is full long before the look has come to its end."""
    for room in ("backroom.storage.embedded", "backroom.storage.postgres.people"):
        monkeypatch.setattr(f"{room}.BULK", 10)
    await bench.add_many(25, type="A")
    await bench.add_many(5, type="B")
    told: list[BulkProgress] = []

    changed = await bench.storage.cancel(Filter(type="A"), bench.now, progress=told.append)

    assert changed == 25
    assert [one.looked for one in told] == [10, 20, 30]
