"""Workflows and batches as an application says them: typed, whole or not at all, never stuck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from backroom import (
    DuplicateJobError,
    Job,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    JobRequest,
    JobStateError,
    JobStatus,
    JobType,
    JobTypeError,
    OptionError,
    ServiceError,
    Unique,
    WorkflowNotFoundError,
    WorkflowStatus,
)
from backroom.identity import JobIds
from backroom.job import SECOND
from backroom.service import JobService
from backroom.workflow import made_again
from tests.engine.world import World


@dataclass
class Url:
    url: str


@dataclass
class Page:
    text: str
    words: int


FETCH = JobType("FETCH", Url, result=Page)
REPORT = JobType("REPORT", dict[str, Any], result=int)
FAST = {"retries": 0}


async def fetch(job: Job[Url]) -> Page:
    if "broken" in job.data.url:
        raise OSError(job.data.url)
    return Page(job.data.url, len(job.data.url))


def make(world: World, **settings: Any) -> JobService:
    service = world.service(**settings)
    service.register_handler(FETCH, fetch, retries=0)
    return service


async def ended(service: JobService, workflow_id: str) -> WorkflowStatus:
    return (await service.wait_for_workflow(workflow_id, timeout=3600)).status


# -- results -------------------------------------------------------------------------------------


async def test_results_of_what_it_waited_for_reach_a_job_typed(world: World) -> None:
    service = make(world)
    seen: list[Any] = []

    @service.handler(REPORT)
    async def report(job: Job[dict[str, Any]]) -> int:
        pages = await job.results_of(FETCH)
        seen.extend(pages)
        return sum(page.words for page in pages)

    async with service:
        async with service.workflow("import") as flow:
            pages = flow.group([JobRequest(FETCH, Url(url)) for url in ("a", "bbb", "cc")])
            total = flow.add(REPORT, {}, after=pages)
        assert await service.result(total.id, timeout=60) == 6
        assert seen == [Page("a", 1), Page("bbb", 3), Page("cc", 2)]
        assert (await service.get_job(total.id)).workflow == flow.id


async def test_the_result_of_one_job_is_asked_for_by_its_type_or_its_id(world: World) -> None:
    service = make(world)
    ids: dict[str, Any] = {}

    @service.handler(REPORT, retries=0)
    async def report(job: Job[dict[str, Any]]) -> int:
        with pytest.raises(JobNotFoundError, match="of type NOBODY: say it as after="):
            await job.result_of("NOBODY")
        with pytest.raises(OptionError, match="waited for 2 jobs of type FETCH"):
            await job.result_of(FETCH)
        page: Page = await job.result_of(ids["one"])
        return page["words"] if isinstance(page, dict) else page.words

    async with service:
        async with service.workflow("import") as flow:
            one, two = flow.add(FETCH, Url("a")), flow.add(FETCH, Url("bb"))
            ids["one"] = one.id
            total = flow.add(REPORT, {}, after=[one, two])
        assert await service.result(total.id, timeout=60) == 1


async def test_a_handler_in_a_thread_asks_without_a_loop(world: World) -> None:
    service = make(world)

    @service.handler(REPORT, retries=0)
    def report(job: Job[dict[str, Any]]) -> int:
        assert [one.type for one in job.blocking.predecessors()] == ["FETCH"]
        assert job.blocking.results_of(FETCH) == [Page("a", 1)]
        return job.blocking.result_of(FETCH).words

    async with service:
        async with service.workflow("import") as flow:
            total = flow.add(REPORT, {}, after=flow.add(FETCH, Url("a")))
        assert await service.result(total.id, timeout=60) == 1


async def test_what_runs_anyway_is_told_of_what_failed(world: World) -> None:
    service = make(world)

    @service.handler(REPORT, retries=0)
    async def report(job: Job[dict[str, Any]]) -> int:
        with pytest.raises(JobFailedError, match="broken"):
            await job.result_of(FETCH)
        [one] = await job.predecessors()
        assert (one.status, one.result, one.error) == (JobStatus.FAILED, None, "broken")
        return len(await job.results_of(FETCH))

    async with service:
        async with service.workflow("import", on_failure="continue") as flow:
            total = flow.add(REPORT, {}, after=flow.add(FETCH, Url("broken")))
        assert await service.result(total.id, timeout=60) == 0
        assert await ended(service, flow.id) == WorkflowStatus.FAILED


# -- whole, or not at all ------------------------------------------------------------------------


async def test_an_error_in_the_block_leaves_nothing_behind(world: World) -> None:
    service = make(world)
    flow = service.workflow("import")

    async def say() -> None:
        async with flow:
            flow.add(FETCH, Url("a"))
            flow.add(FETCH, {"url": 3})  # type: ignore[arg-type]

    with pytest.raises(JobTypeError):
        await say()
    assert list(await service.get_jobs()) == list(await service.get_workflows()) == []
    with pytest.raises(WorkflowNotFoundError):
        await service.get_workflow(flow.id)


async def test_jobs_that_wait_for_each_other_are_refused_by_name(world: World) -> None:
    service = make(world)
    service.declare(REPORT)
    service.declare("STORE")

    async def say() -> None:
        async with service.workflow("import") as flow:
            first = flow.add(FETCH, Url("a"))
            report = flow.add(REPORT, {}, after=first)
            store = flow.add("STORE", {}, after=report)
            flow.order(store, report)

    with pytest.raises(OptionError, match=r"REPORT -> STORE -> REPORT|STORE -> REPORT -> STORE"):
        await say()
    assert list(await service.get_jobs()) == []


async def test_what_makes_no_sense_in_a_workflow_is_refused_where_it_is_said(world: World) -> None:
    service = make(world)
    service.declare(REPORT)
    async with service.workflow("other") as other:
        foreign = other.add(FETCH, Url("a"))
    async with service.workflow("import") as flow:
        with pytest.raises(OptionError, match="belongs to another workflow"):
            flow.add(REPORT, {}, after=foreign)
        with pytest.raises(OptionError, match="after= takes"):
            flow.add(FETCH, Url("a"), after="FETCH")  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="after= takes what add"):
            flow.add(FETCH, Url("a"), after=["FETCH"])  # type: ignore[list-item]
        with pytest.raises(OptionError, match='on_failure="compensate"'):
            flow.add(FETCH, Url("a"), undo=JobRequest(REPORT, {}))
        with pytest.raises(OptionError, match="anyway must be"):
            flow.add(FETCH, Url("a"), anyway=1)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="a workflow that is new has no jobs but"):
            flow.job(foreign.id)
        with pytest.raises(OptionError, match="belongs to another"):
            flow.order(foreign, foreign)
        with pytest.raises(OptionError, match="takes a JobRequest"):
            flow.group([FETCH])  # type: ignore[list-item]
    with pytest.raises(ServiceError, match="is kept already"):
        flow.add(FETCH, Url("a"))
    with pytest.raises(OptionError, match="on_failure must be one of stop, continue, compensate"):
        service.workflow("import", on_failure="retry")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="a workflow needs a name"):
        service.workflow("")
    async with service.batch("import") as batch:
        one = batch.add(FETCH, Url("a"))
        with pytest.raises(OptionError, match="jobs of a batch wait for nothing"):
            batch.add(FETCH, Url("b"), after=one)
    with pytest.raises(OptionError, match="on_complete takes a JobRequest"):
        async with service.batch("import", on_complete=FETCH):  # type: ignore[arg-type]
            pass
    assert await service.get_workflows(limit=1)
    for bad in (0, 1001, True):
        with pytest.raises(OptionError, match="limit must be"):
            await service.get_workflows(limit=bad)
    with pytest.raises(OptionError, match="no cursor"):
        await service.get_workflows(cursor="x")


# -- unique keys ---------------------------------------------------------------------------------

RAISES = Unique(by="data.url", on_conflict="raise")


async def test_a_batch_is_not_begun_twice(world: World) -> None:
    service = make(world)

    async def begin(*urls: str) -> list[str]:
        async with service.batch("nightly") as batch:
            return [batch.add(FETCH, Url(url), unique=RAISES).id for url in urls]

    first = await begin("a", "b")
    with pytest.raises(DuplicateJobError, match=f"FETCH: job {first[1]} holds") as refused:
        await begin("c", "b")
    assert refused.value.job_id == first[1]
    with pytest.raises(DuplicateJobError, match="of one workflow have the same unique key"):
        await begin("d", "e", "d")
    assert {job.id for job in await service.get_jobs()} == set(first)
    assert len(await service.get_workflows()) == 1
    assert await service.schedule(FETCH, Url("a"), unique=Unique(by="data.url")) == first[0]
    async with service:
        for job_id in first:
            await service.result(job_id)
        assert await begin("b", "c") != first


async def test_a_job_of_a_workflow_whose_key_is_held_refuses_the_whole_or_is_refused_itself(
    world: World,
) -> None:
    """Whoever says so: the call, or the type; and so of callbacks. An undo job has none at all."""
    service = make(world)
    lenient = JobType("LENIENT", Url, unique=Unique(by="data.url"))
    strict = JobType("STRICT", Url, unique=RAISES)
    with pytest.raises(
        OptionError, match=r'LENIENT: .* unique=Unique\(\.\.\., on_conflict="raise"'
    ):
        async with service.batch("import", on_success=JobRequest(lenient, Url("a"))):
            pass
    async with service.workflow("import", on_failure="compensate") as flow:
        for said in (
            {"unique_key": "a"}, {"unique": Unique(key="a")},
            {"unique": Unique(by="data", on_conflict="replace", until="start")},
        ):  # fmt: skip
            with pytest.raises(OptionError, match=r'FETCH: .* on_conflict="raise"'):
                flow.add(FETCH, Url("a"), **said)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match=r'LENIENT: .* on_conflict="raise"'):
            flow.add(lenient, Url("a"))
        for undo in (
            JobRequest(strict, Url("a")), JobRequest(lenient, Url("a")),
            JobRequest(FETCH, Url("a"), unique=RAISES),
        ):  # fmt: skip
            with pytest.raises(OptionError, match="an undo job has no unique key"):
                flow.add(FETCH, Url("a"), undo=undo)
        kept = [flow.add(strict, Url("a")), flow.add(lenient, Url("a"), unique=RAISES)]
    assert [(await service.get_job(one.id)).unique_key for one in kept] == ['url="a"'] * 2
    async with service.batch("import", on_success=JobRequest(strict, Url("b"))):
        pass
    with pytest.raises(DuplicateJobError, match="STRICT"):
        async with service.batch("import", on_success=JobRequest(strict, Url("b"))):
            pass


async def test_an_attempt_that_adds_the_same_jobs_again_is_not_refused_by_their_keys(
    world: World,
) -> None:
    service = make(world)
    errors: list[Exception | None] = []

    @service.handler("LIST", retries=2, retry_delay=10)
    async def list_files(job: Job[Any]) -> None:
        try:
            async with service.extend_workflow(job) as flow:
                flow.group(JobRequest(FETCH, Url(url), unique=RAISES) for url in "ab")
        except DuplicateJobError as error:
            errors.append(error)
            raise
        if job.attempt < 3:
            errors.append(None)
            raise OSError("after they were added")

    other = await service.schedule(FETCH, Url("b"), unique=RAISES, delay=5)
    async with service:
        async with service.workflow("import") as flow:
            flow.add("LIST")
        assert await ended(service, flow.id) == WorkflowStatus.COMPLETED
        assert (await service.get_workflow(flow.id)).total == 3
    refusal, again = errors
    assert isinstance(refusal, DuplicateJobError)
    assert (refusal.job_id, again) == (other, None)


# -- failures ------------------------------------------------------------------------------------


async def test_what_waits_for_a_failure_is_cancelled_and_a_retry_goes_on_from_there(
    world: World,
) -> None:
    service = world.service()
    broken = True

    @service.handler(FETCH, retries=1, retry_delay=10)
    async def fetch(job: Job[Url]) -> Page:
        if broken and job.data.url == "b":
            raise OSError("no route")
        return Page(job.data.url, 1)

    runs: list[int] = []

    @service.handler(REPORT)
    async def report(job: Job[dict[str, Any]]) -> int:
        runs.append(len(await job.results_of(FETCH)))
        return runs[-1]

    async with service:
        async with service.workflow("import") as flow:
            pages = flow.group(JobRequest(FETCH, Url(url)) for url in "abc")
            total = flow.add(REPORT, {}, after=pages)
        assert await ended(service, flow.id) == WorkflowStatus.FAILED
        with pytest.raises(JobCancelledError, match=f"FETCH {pages[1].id}, which it waited for"):
            await service.result(total.id)
        broken = False
        assert await service.retry_workflow(flow.id) == 1
        assert await ended(service, flow.id) == WorkflowStatus.COMPLETED
        assert runs == [3]
        attempts = [(await service.get_job(page.id)).attempt for page in pages]
        assert attempts == [1, 3, 1]


async def test_an_order_that_fails_takes_back_what_it_did_the_last_first(world: World) -> None:
    service = world.service()
    done: list[str] = []

    @service.handler("BOOK")
    async def book(job: Job[dict[str, Any]]) -> str:
        if job.data["what"] == "car":
            raise OSError("no car")
        done.append(f"book {job.data['what']}")
        return f"number of {job.data['what']}"

    @service.handler("CANCEL")
    async def cancel(job: Job[dict[str, Any]]) -> None:
        done.append(f"cancel {await job.result_of('BOOK')}")

    async with service:
        async with service.workflow("trip", on_failure="compensate") as flow:
            last: Any = ()
            for what in ("flight", "hotel", "car", "seat"):
                last = flow.add(
                    "BOOK", {"what": what}, after=last, undo=JobRequest("CANCEL", {}), retries=0
                )
        assert await ended(service, flow.id) == WorkflowStatus.FAILED
        assert done == [
            "book flight", "book hotel", "cancel number of hotel", "cancel number of flight"
        ]  # fmt: skip
        with pytest.raises(JobStateError, match="has been undone"):
            await service.retry_workflow(flow.id)
        info = await service.get_workflow(flow.id)
        assert [job.role for job in info.jobs] == ["job"] * 4 + ["undo"] * 2


async def test_a_cancelled_workflow_ends_also_where_it_runs(world: World) -> None:
    service = make(world, concurrency=1)

    @service.handler("WAIT")
    async def wait(job: Job[Any]) -> None:
        await job.wait_for("never")

    async with service:
        async with service.workflow("import") as flow:
            first = flow.add("WAIT")
            flow.add(FETCH, Url("a"), after=first)
        assert await service.cancel_workflow(flow.id) == 2
        assert await ended(service, flow.id) == WorkflowStatus.CANCELLED
        assert await service.cancel_workflow(flow.id) == 0


# -- from within ---------------------------------------------------------------------------------


async def test_a_job_adds_jobs_and_who_waits_for_it_waits_for_them(world: World) -> None:
    service = make(world)

    @service.handler("LIST", retries=1, retry_delay=1)
    async def list_(job: Job[Any]) -> None:
        async with service.extend_workflow(job) as more:
            pages = more.group(JobRequest(FETCH, Url(url)) for url in "abc")
            more.add(FETCH, Url("d"), after=pages)
        if job.attempt == 1:
            raise OSError("after it has added them")

    @service.handler(REPORT)
    async def report(job: Job[dict[str, Any]]) -> int:
        return len(await job.predecessors())

    async with service:
        async with service.workflow("import") as flow:
            total = flow.add(REPORT, {}, after=flow.add("LIST"))
        assert await service.result(total.id, timeout=3600) == 2  # LIST, and the last of those.
        info = await service.get_workflow(flow.id)
        assert (info.total, info.completed, info.status) == (6, 6, "completed")


async def test_an_attempt_that_would_add_other_jobs_is_refused(world: World) -> None:
    service = make(world)

    @service.handler("LIST", retries=1, retry_delay=1)
    async def list_(job: Job[Any]) -> None:
        async with service.extend_workflow(job) as more:
            for number in range(job.attempt):
                more.add(FETCH, Url(str(number)))
        raise OSError("once more")

    async with service:
        async with service.workflow("import") as flow:
            first = flow.add("LIST")
        with pytest.raises(JobFailedError, match="has added other jobs to its workflow"):
            await service.result(first.id, timeout=3600)


async def test_added_jobs_have_ids_of_their_own_in_their_order() -> None:
    job = JobIds()(1_750_000_000 * SECOND)
    ids = [made_again(job, block)(number) for block in (1, 2, 63) for number in (0, 1, 99_999)]
    assert sorted(set(ids)) == ids
    assert all(str(UUID(id_)) == id_ and UUID(id_).version == 7 for id_ in ids)
    assert made_again(job, 1)(0) == ids[0] != job
    with pytest.raises(ServiceError, match="at most 63 blocks"):
        made_again(job, 64)


async def test_what_a_hundred_thousand_jobs_add_that_one_has_added_is_of_different_ids() -> None:
    """Else what one of them adds was taken for what another one has added, and left out."""
    added = made_again("01974000-0000-7000-8000-000000000000", 1)
    ids = {made_again(added(number), 1)(0) for number in range(100_000)}
    assert len(ids) == 100_000


async def test_a_job_of_no_workflow_cannot_extend_one(world: World) -> None:
    service = make(world)

    @service.handler("LIST", retries=0)
    async def list_(job: Job[Any]) -> None:
        async with service.extend_workflow(job):
            pass

    async with service:
        with pytest.raises(JobFailedError, match="belongs to no workflow"):
            await service.result(await service.schedule("LIST"), timeout=60)


# -- batches -------------------------------------------------------------------------------------


async def callbacks(world: World, urls: str) -> tuple[list[str], WorkflowStatus]:
    service = make(world)
    told: list[str] = []

    @service.handler("TELL")
    async def tell(job: Job[dict[str, Any]]) -> None:
        pages = await job.results_of(FETCH)
        told.append(f"{job.data['what']} {len(pages)} of {len(await job.predecessors())}")

    async with service:
        async with service.batch(
            "import",
            on_success=JobRequest("TELL", {"what": "success"}),
            on_complete=JobRequest("TELL", {"what": "complete"}),
        ) as batch:
            for url in urls.split():
                batch.add(FETCH, Url(url))
        status = await ended(service, batch.id)
    return sorted(told), status


async def test_a_batch_calls_back_once_when_all_have_ended(world: World) -> None:
    assert await callbacks(world, "a b c") == (
        ["complete 3 of 3", "success 3 of 3"],
        WorkflowStatus.COMPLETED,
    )


async def test_a_batch_of_which_one_failed_is_complete_and_no_success(world: World) -> None:
    assert await callbacks(world, "a broken c") == (["complete 2 of 3"], WorkflowStatus.FAILED)


async def test_an_empty_batch_calls_back_at_once(world: World) -> None:
    assert await callbacks(world, "") == (
        ["complete 0 of 0", "success 0 of 0"],
        WorkflowStatus.COMPLETED,
    )


async def test_pages_of_workflows_are_read_from_the_newest_on(world: World) -> None:
    service = make(world)
    made = []
    for _ in range(3):
        async with service.workflow("import") as flow:
            flow.add(FETCH, Url("a"))
        made.append(flow.id)
    first = await service.get_workflows(limit=2)
    assert [info.id for info in first] == made[:0:-1]
    rest = await service.get_workflows(limit=2, cursor=first.cursor)
    assert [info.id for info in rest] == made[:1]
    assert rest.cursor is None


async def test_a_workflow_outside_its_block_takes_no_job(world: World) -> None:
    service = world.service()
    service.declare("FETCH")
    with pytest.raises(ServiceError, match="within its block"):
        service.workflow("import").add("FETCH")
    with pytest.raises(ServiceError, match="within its block"):
        service.batch("import").group([JobRequest("FETCH")])
    assert len(await service.get_workflows()) == 0
    with pytest.raises(OptionError, match="takes the job that a handler got, got 'x'"):
        service.extend_workflow("x")  # type: ignore[arg-type]
    await service.stop()


async def test_who_waits_too_short_for_a_workflow_is_told(world: World) -> None:
    service = world.service()
    service.declare("FETCH")
    async with service.workflow("import") as flow:
        flow.add("FETCH")
    with pytest.raises(TimeoutError, match=rf"workflow {flow.id} had not ended after 2 s"):
        await service.wait_for_workflow(flow.id, timeout=2)
    await service.stop()
