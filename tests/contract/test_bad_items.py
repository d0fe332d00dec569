"""One bad item never spoils the others of its batch, nor what others do at the same time."""

import asyncio

import pytest

from backroom.job import JobStatus
from backroom.ports import Report
from backroom.transition import Transition
from tests.contract.parts import Bench

UNWRITABLE = "\ud800"
"""Half of a surrogate pair: Python can say it, no storage can write it."""


async def test_an_outcome_that_cannot_be_written_does_not_spoil_the_others_of_its_batch(
    bench: Bench,
) -> None:
    ids, worker = await bench.add_many(3), await bench.enlist()
    first, bad, last = await bench.claim(worker)

    answers = await bench.finish(
        worker,
        bench.completed(first, "1"),
        bench.cancelled(bad, reason=UNWRITABLE),
        bench.failed(last),
    )

    assert answers == [True, False, True]
    assert [await bench.status(job) for job in ids] == ["completed", "failed", "failed"]


async def test_a_job_whose_outcome_cannot_be_written_fails_and_says_so(bench: Bench) -> None:
    job, worker, claim = await bench.running()

    assert await bench.finish(worker, bench.retried(claim, message=UNWRITABLE)) == [False]

    info = await bench.info(job)
    assert (info.status, info.attempt) == (JobStatus.FAILED, 1)
    assert "could not be written" in (info.error or "")
    assert [error.kind for error in info.errors] == ["StorageError"]
    assert await bench.finish(worker, bench.completed(claim)) == [True]  # It has ended already.
    assert await bench.status(job) == JobStatus.FAILED


async def test_an_outcome_that_cannot_be_written_does_not_spoil_what_others_finish(
    bench: Bench,
) -> None:
    ids, worker = await bench.add_many(7), await bench.enlist()
    claims = await bench.claim(worker)

    answers = await asyncio.gather(
        *[
            bench.finish(worker, bench.cancelled(claim, UNWRITABLE if i == 3 else "no"))
            for i, claim in enumerate(claims)
        ],
        return_exceptions=True,
    )

    assert [answers[i] for i in (0, 1, 2, 4, 5, 6)] == [[True]] * 6
    assert [await bench.status(job) for job in ids] == [
        "failed" if i == 3 else "cancelled" for i in range(7)
    ]


async def test_a_stale_and_an_unwritable_outcome_in_one_batch_are_told_apart_from_the_rest(
    bench: Bench,
) -> None:
    ids, worker = await bench.add_many(4), await bench.enlist()
    claims = await bench.claim(worker)
    await bench.storage.give_back(worker, [(claim.key, claim.token) for claim in claims[1:]])
    answers = await bench.finish(
        worker,
        bench.completed(claims[0]),
        bench.completed(claims[1]),
        bench.cancelled(claims[2], UNWRITABLE),
        bench.completed(claims[3]),
    )
    assert answers == [False, True, False, True]
    assert [await bench.status(job) for job in ids] == [
        "pending", "completed", "failed", "completed",
    ]  # fmt: skip


async def test_a_report_that_cannot_be_written_does_not_spoil_the_others(bench: Bench) -> None:
    ids, worker = await bench.add_many(3), await bench.enlist()
    claims = await bench.claim(worker)
    await bench.begin(worker, *claims)

    def report(i: int, message: str) -> Report:
        claim = claims[i]
        return Report(claim.key, claim.token, 1, 0.5, message, [(bench.now, "info", message)])

    await bench.storage.report(worker, [report(0, "a"), report(1, UNWRITABLE), report(2, "c")])

    infos = [await bench.info(job) for job in ids]
    assert [(info.progress_message, len(info.log)) for info in infos] == [
        ("a", 1), (None, 0), ("c", 1),
    ]  # fmt: skip


async def test_a_stale_report_does_not_spoil_the_others(bench: Bench) -> None:
    ids, worker = await bench.add_many(2), await bench.enlist()
    stale, good = await bench.claim(worker)
    await bench.storage.give_back(worker, [(good.key, good.token)])
    await bench.storage.report(
        worker,
        [
            Report(stale.key, stale.token, 1, 0.5, None, None),
            Report(10**12, 1, 1, 0.5, None, None),
            Report(good.key, good.token, 1, 0.7, None, None),
        ],
    )
    assert [(await bench.info(job)).progress for job in ids] == [None, 0.7]


async def test_starting_and_disowning_what_is_not_there_is_no_error(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.storage.start(worker, [10**12, claim.key])
    await bench.storage.disown(worker, [10**12 + 1])
    assert (
        await bench.storage.give_back(worker, [(claim.key, claim.token), (10**12, claim.token)])
        == 0
    )
    assert await bench.status(job) == JobStatus.ACTIVE
    assert (await bench.end_leases()).crashed == 1


@pytest.mark.parametrize("text", ["nul \0 inside", "\0", "\x01\x1b[31m", "'; drop table job; --"])
async def test_whatever_a_handler_says_is_kept_to_the_last_character(
    bench: Bench, text: str
) -> None:
    job, worker, claim = await bench.running()
    outcome = bench.retried(claim, message=text)
    outcome.progress_message = text
    outcome.log = [(bench.now, "info", text)]

    assert await bench.finish(worker, outcome) == [True]

    info = await bench.info(job)
    assert info.error == text
    assert (info.errors[0].message, info.log[0].message) == (text, text)
    assert info.progress_message == text


async def test_names_with_strange_characters_are_apart(bench: Bench) -> None:
    names = ["a", "a\0", "a\0b", "A", "a ", "à", "a\u0300"]
    for name in names:
        await bench.add(type=name, queue=name, unique_key=name)
    for name in names:
        [again] = await bench.insert([bench.record(type=name, unique_key=name)])
        assert not again.created
        claim = await bench.claim_one(await bench.enlist(), queues=(name,))
        assert (claim.type, claim.queue) == (name, name)


async def test_a_large_number_of_outcomes_with_large_texts_is_one_batch_like_any_other(
    bench: Bench,
) -> None:
    ids, worker = await bench.add_many(300), await bench.enlist()
    claims = await bench.claim(worker, 300)
    outcomes: list[Transition] = [
        bench.completed(claim, f'"{"x" * 10_000}"') if i % 2 else bench.failed(claim, "y" * 4096)
        for i, claim in enumerate(claims)
    ]
    assert await bench.finish(worker, *outcomes) == [True] * 300
    assert (await bench.info(ids[1])).result == "x" * 10_000
    assert (await bench.info(ids[0])).error == "y" * 4096
