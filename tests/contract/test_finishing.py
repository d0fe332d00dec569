"""Finishing: what each outcome makes of a job, and what is kept with it."""

from collections.abc import Callable

import pytest

from backroom.job import JobStatus, to_datetime
from backroom.ports import Report
from backroom.transition import Claim, Transition
from tests.contract.parts import Bench


async def test_a_completed_job_keeps_its_result_and_its_times(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    started = bench.now
    bench.clock.advance(3)
    done = Transition.completed(claim, started, bench.now, '{"pages":[1,2],"title":"Ü"}')

    assert await bench.finish(worker, done) == [True]

    info = await bench.info(job)
    assert (info.status, info.attempt) == (JobStatus.COMPLETED, 1)
    assert info.result == {"pages": [1, 2], "title": "Ü"}
    assert (info.started_at, info.finished_at) == (to_datetime(started), to_datetime(bench.now))
    assert (info.worker, info.error, info.errors) == (None, None, ())
    outlook = (await bench.storage.outlook([job], bench.now))[job]
    assert (outlook.status, outlook.result) == (JobStatus.COMPLETED, '{"pages":[1,2],"title":"Ü"}')


async def test_a_retry_waits_until_its_time_and_has_cost_an_attempt(bench: Bench) -> None:
    job, worker, claim = await bench.running()

    await bench.finish(worker, bench.retried(claim, delay=30, message="no route"))

    info = await bench.info(job)
    assert (info.status, info.attempt, info.error) == (JobStatus.SCHEDULED, 1, "no route")
    assert (info.finished_at, info.worker) == (None, None)
    assert await bench.claim(worker) == []
    bench.clock.advance(30)
    again = await bench.claim_one(worker)
    assert (again.id, again.attempt, again.crashes) == (job, 1, 0)


async def test_a_failed_job_keeps_its_error(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.failed(claim, "no such user"))
    info = await bench.info(job)
    assert (info.status, info.attempt, info.error) == (JobStatus.FAILED, 1, "no such user")
    assert info.finished_at == to_datetime(bench.now)
    assert await bench.claim(worker) == []


async def test_each_attempt_that_failed_keeps_its_begin_and_its_end(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    kept = []
    for seconds, ends in ((3, bench.retried), (40, bench.retried), (0.5, bench.failed)):
        began = bench.now
        bench.clock.advance(seconds)
        outcome = ends(claim)
        outcome.started_at = began
        assert await bench.finish(worker, outcome) == [True]
        kept.append((to_datetime(began), to_datetime(bench.now)))
        bench.clock.advance(7)
        for claim in await bench.claim(worker):
            await bench.begin(worker, claim)
    info = await bench.info(job)
    assert [(error.started_at, error.at) for error in info.errors] == kept


async def test_a_job_may_fail_without_having_started(bench: Bench) -> None:
    job, worker = await bench.add(), await bench.enlist()
    claim = await bench.claim_one(worker)
    failure = bench.failure(claim, "poison")
    await bench.finish(worker, Transition.failed(claim, None, bench.now, 0, failure))
    info = await bench.info(job)
    assert (info.status, info.attempt, info.started_at) == (JobStatus.FAILED, 0, None)
    assert info.errors[0].started_at is None


async def test_a_snoozed_job_waits_and_has_cost_no_attempt(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.snoozed(claim, delay=60))
    info = await bench.info(job)
    assert (info.status, info.attempt, info.errors) == (JobStatus.SCHEDULED, 0, ())
    assert info.run_at == to_datetime(bench.later(60))
    bench.clock.advance(60)
    assert (await bench.claim_one(worker)).attempt == 0


async def test_a_released_job_is_as_if_its_attempt_had_not_been(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim))
    again = await bench.claim_one(worker)
    await bench.begin(worker, again)
    assert (await bench.info(job)).attempt == 2

    await bench.finish(worker, Transition.released(again))

    info = await bench.info(job)
    assert (info.status, info.attempt, len(info.errors)) == (JobStatus.PENDING, 1, 1)
    assert info.run_at == to_datetime(again.run_at)


async def test_a_job_that_its_handler_cancelled_keeps_the_reason(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.cancelled(claim, "the order was withdrawn"))
    info = await bench.info(job)
    assert (info.status, info.error) == (JobStatus.CANCELLED, "the order was withdrawn")
    assert (info.attempt, info.finished_at) == (1, to_datetime(bench.now))


async def test_finishing_nothing_is_no_error(bench: Bench) -> None:
    assert await bench.finish(await bench.enlist()) == []


async def test_a_batch_may_hold_any_mix_of_outcomes(bench: Bench) -> None:
    ids, worker = await bench.add_many(7), await bench.enlist()
    claims = await bench.claim(worker)

    answers = await bench.finish(
        worker,
        bench.completed(claims[0]),
        bench.retried(claims[1], delay=5),
        bench.failed(claims[2]),
        bench.snoozed(claims[3]),
        bench.cancelled(claims[4]),
        Transition.released(claims[5]),
        Transition.parked(claims[6]),
    )

    assert answers == [True] * 7
    assert [await bench.status(job) for job in ids] == [
        "completed", "scheduled", "failed", "scheduled", "cancelled", "pending", "pending",
    ]  # fmt: skip


# -- cancel while it runs ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["retried", "snoozed"])
async def test_a_cancel_that_was_asked_for_wins_over_running_again(bench: Bench, how: str) -> None:
    job, worker, claim = await bench.running()
    await bench.storage.cancel(job, bench.now)
    assert (await bench.info(job)).cancel_requested
    bench.clock.advance(1)

    assert await bench.finish(worker, getattr(bench, how)(claim)) == [True]

    info = await bench.info(job)
    assert (info.status, info.cancel_requested) == (JobStatus.CANCELLED, False)
    assert info.finished_at == to_datetime(bench.now)
    assert info.error is not None
    assert await bench.claim(worker) == []


@pytest.mark.parametrize("build", [Transition.released, Transition.parked])
async def test_a_cancel_that_was_asked_for_wins_over_waiting_for_another_worker(
    bench: Bench, build: Callable[[Claim], Transition]
) -> None:
    job, worker = await bench.add(), await bench.enlist()
    claim = await bench.claim_one(worker)
    await bench.storage.cancel(job, bench.now)

    await bench.finish(worker, build(claim))

    info = await bench.info(job)
    assert (info.status, info.error) == (JobStatus.CANCELLED, "cancelled by request")
    assert info.finished_at == to_datetime(bench.now)
    assert await bench.claim(worker, types={claim.type: 1}) == []


@pytest.mark.parametrize(("how", "status"), [("completed", "completed"), ("failed", "failed")])
async def test_a_job_that_ends_before_it_learns_of_its_cancel_ends_as_it_ended(
    bench: Bench, how: str, status: str
) -> None:
    job, worker, claim = await bench.running()
    await bench.storage.cancel(job, bench.now)
    await bench.finish(worker, getattr(bench, how)(claim))
    info = await bench.info(job)
    assert (info.status, info.cancel_requested) == (status, False)


# -- errors ------------------------------------------------------------------------------------


async def test_every_failed_attempt_is_kept_with_its_number(bench: Bench) -> None:
    job, worker = await bench.add(), await bench.enlist()
    for attempt in (1, 2, 3):
        claim = await bench.claim_one(worker)
        await bench.begin(worker, claim)
        build = bench.retried if attempt < 3 else bench.failed
        await bench.finish(worker, build(claim, message=f"error {attempt}"))
        bench.clock.advance(1)

    info = await bench.info(job)
    assert [(error.attempt, error.kind, error.message) for error in info.errors] == [
        (1, "OSError", "error 1"), (2, "OSError", "error 2"), (3, "OSError", "error 3"),
    ]  # fmt: skip
    assert info.errors[0].at < info.errors[1].at < info.errors[2].at
    assert info.errors[0].traceback == "Traceback ..."
    assert info.error == "error 3"


async def test_the_error_of_an_earlier_attempt_is_kept_when_the_job_completes(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim))
    await bench.finish(worker, bench.completed(await bench.claim_one(worker)))
    info = await bench.info(job)
    assert (info.status, info.error) == (JobStatus.COMPLETED, None)
    assert [error.attempt for error in info.errors] == [1]


async def test_only_the_last_fifty_errors_are_kept(bench: Bench) -> None:
    job, worker = await bench.add(), await bench.enlist()
    for _ in range(53):
        await bench.finish(worker, bench.retried(await bench.claim_one(worker)))

    info = await bench.info(job)

    assert info.attempt == 53
    assert [error.attempt for error in info.errors] == list(range(4, 54))


async def test_deaths_are_among_the_last_fifty_errors(bench: Bench) -> None:
    job, worker = await bench.add(), await bench.enlist()
    for _ in range(50):
        await bench.finish(worker, bench.retried(await bench.claim_one(worker)))
    await bench.begin(worker, await bench.claim_one(worker))
    await bench.end_leases()

    info = await bench.info(job)

    assert [error.attempt for error in info.errors] == list(range(2, 52))
    assert info.errors[-1].kind == "crash"


async def test_the_errors_of_one_job_do_not_push_out_those_of_another(bench: Bench) -> None:
    quiet, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim, delay=10_000))
    await bench.add()
    for _ in range(52):
        await bench.finish(worker, bench.retried(await bench.claim_one(worker)))
    assert len((await bench.info(quiet)).errors) == 1


# -- progress and log --------------------------------------------------------------------------


async def test_progress_is_seen_while_a_job_runs_and_after_it(bench: Bench) -> None:
    job, worker, claim = await bench.running()

    await bench.storage.report(worker, [Report(claim.key, claim.token, 1, 0.25, "a quarter", None)])
    info = await bench.info(job)
    assert (info.progress, info.progress_message) == (0.25, "a quarter")

    await bench.storage.report(worker, [Report(claim.key, claim.token, 1, 0.5, None, None)])
    await bench.finish(worker, bench.completed(claim))
    info = await bench.info(job)
    assert (info.progress, info.progress_message) == (0.5, "a quarter")


async def test_an_outcome_may_bring_the_last_progress_and_log_lines(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    outcome = bench.completed(claim)
    outcome.progress, outcome.progress_message = 1.0, "done"
    outcome.log = [(bench.now, "info", "bye")]
    await bench.finish(worker, outcome)
    await bench.finish(worker, outcome)
    info = await bench.info(job)
    assert (info.progress, info.progress_message) == (1.0, "done")
    assert [line.message for line in info.log] == ["bye"]


async def test_log_lines_are_kept_in_order_with_their_attempt(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    lines = [(bench.now, "info", "one"), (bench.later(1), "warning", "two")]
    await bench.storage.report(worker, [Report(claim.key, claim.token, 1, None, None, lines)])
    await bench.finish(worker, bench.retried(claim))
    again = await bench.claim_one(worker)
    lines = [(bench.now, "error", "three")]
    await bench.storage.report(worker, [Report(again.key, again.token, 2, None, None, lines)])

    log = (await bench.info(job)).log

    assert [(line.attempt, line.level, line.message) for line in log] == [
        (1, "info", "one"), (1, "warning", "two"), (2, "error", "three"),
    ]  # fmt: skip
    assert log[0].at < log[1].at


async def test_only_the_last_thousand_log_lines_are_kept(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    for start in range(0, 1200, 400):
        lines = [(bench.now, "info", f"line {n}") for n in range(start, start + 400)]
        await bench.storage.report(worker, [Report(claim.key, claim.token, 1, None, None, lines)])
    outcome = bench.completed(claim)
    outcome.log = [(bench.now, "info", "the end")]
    await bench.finish(worker, outcome)

    log = (await bench.info(job)).log

    assert len(log) == 1000
    assert (log[0].message, log[-1].message) == ("line 201", "the end")
