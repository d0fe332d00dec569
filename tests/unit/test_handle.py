"""What a handler gets: its values, its progress, its lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backroom import Backoff, Job
from backroom.handle import MAX_LINE, MAX_LINES
from backroom.job import SECOND, microseconds
from backroom.transition import Claim, Policy, Transition

NOW = microseconds(datetime(2026, 3, 1, 12, tzinfo=UTC))


class Bench:
    def __init__(self, *, attempt: int = 0, budget: int = 0, options: str | None = None) -> None:
        self.now = NOW
        self.changed: list[Job[Any]] = []
        self.claim = Claim(
            7, 3, "019c", "MAIL", "mail", 1, NOW - SECOND, NOW, "{}", options, None,
            attempt, 0, budget,
        )  # fmt: skip
        policy = Policy(3, 60.0, Backoff(), 90.0)
        self.job: Job[dict[str, int]] = Job(
            self.claim, {"n": 1}, policy, NOW, lambda: self.now, self.changed.append
        )


def test_a_job_has_the_values_of_its_claim() -> None:
    job = Bench().job
    assert (job.id, job.type, job.data) == ("019c", "MAIL", {"n": 1})
    assert (job.queue, job.priority) == ("mail", "high")
    assert (job.attempt, job.max_attempts) == (1, 4)
    assert job.run_at == datetime(2026, 3, 1, 11, 59, 59, tzinfo=UTC)
    assert job.deadline == datetime(2026, 3, 1, 12, 1, 30, tzinfo=UTC)
    assert (job.tags, job.metadata) == ((), {})
    assert repr(job) == "<Job MAIL 019c attempt 1>"


def test_a_fresh_budget_moves_the_last_attempt() -> None:
    job = Bench(attempt=5, budget=4).job
    assert (job.attempt, job.max_attempts) == (6, 8)


def test_tags_and_metadata_are_what_the_call_said() -> None:
    job = Bench(options='{"tags":["a","b"],"metadata":{"user":7},"retries":3}').job
    assert (job.tags, job.metadata) == (("a", "b"), {"user": 7})


def test_it_is_cancelled_once_it_is_told_so() -> None:
    job = Bench().job
    assert not job.cancelled
    job.stop()
    assert job.cancelled


def test_a_report_says_what_is_new_and_then_nothing() -> None:
    bench = Bench()
    job = bench.job
    assert job.report() is None
    job.progress(0.25, "quarter")
    job.progress(0.5)
    job.log.info("line")
    report = job.report()
    assert report is not None
    assert (report.key, report.token, report.attempt) == (7, 3, 1)
    assert (report.progress, report.progress_message) == (0.5, None)
    assert report.log == [(NOW, "info", "line")]
    assert job.report() is None
    assert bench.changed == [job, job, job]


def test_what_was_not_reported_travels_with_the_outcome() -> None:
    bench = Bench()
    job = bench.job
    job.progress(1, "done")
    job.log.warning("last words")
    transition = Transition.completed(bench.claim, NOW, NOW, "null")
    job.settle(transition)
    assert (transition.progress, transition.progress_message) == (1.0, "done")
    assert transition.log == [(NOW, "warning", "last words")]
    assert job.report() is None


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan"), float("inf")])
def test_progress_is_0_to_1(fraction: float) -> None:
    job = Bench().job
    with pytest.raises(ValueError, match="progress must be 0 to 1"):
        job.progress(fraction)
    assert job.report() is None


def test_lines_carry_their_moment() -> None:
    bench = Bench()
    bench.job.log.debug("one")
    bench.now += 5 * SECOND
    bench.job.log.error("two")
    assert bench.job.log.take() == [(NOW, "debug", "one"), (NOW + 5 * SECOND, "error", "two")]


def test_lines_and_their_length_are_bounded() -> None:
    job = Bench().job
    for n in range(MAX_LINES + 50):
        job.log.info("x" * (MAX_LINE + n))
    lines = job.log.take()
    assert len(lines) == MAX_LINES
    assert {len(text) for _, _, text in lines[:-1]} == {MAX_LINE}
    assert "no more lines" in lines[-1][2]
    job.log.info("one more")
    assert job.log.take() == []


@pytest.mark.parametrize(
    ("message", "args", "text"),
    [
        ("plain", (), "plain"),
        ("100 %", (), "100 %"),
        ("%s and %d", ("a", 2), "a and 2"),
        ("%(a)s", ({"a": 1},), "1"),
        ("%s", ({"a": 1},), "{'a': 1}"),
        ("%(b)s", ({"a": 1},), "%(b)s (not formatted: 'b'"),
        ("%d", ("x",), "%d (not formatted: "),
        ("%s", (1, 2), "%s (not formatted: not all arguments converted"),
        ("\ud800", (), "?"),
    ],
)
def test_a_line_is_formatted_or_kept_as_it_was_said(
    message: str, args: tuple[Any, ...], text: str
) -> None:
    job = Bench().job
    job.log.info(message, *args)
    [(_, _, kept)] = job.log.take()
    assert kept.startswith(text)


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class MuteError(ValueError):
    __str__ = Mute.__str__


class Wrong(Mute):
    def __str__(self) -> str:
        raise MuteError


@pytest.mark.parametrize(
    ("message", "args", "text"),
    [
        (Mute(), (), "(Mute whose text failed: RuntimeError)"),
        (
            "%s", (Mute(), 7),
            "%s (not formatted: no text; arguments (Mute whose text failed: RuntimeError), 7)",
        ),
        (
            "%s", (Wrong(),),
            "%s (not formatted: (MuteError whose text failed: RuntimeError);"
            " arguments (Wrong whose text failed: RuntimeError))",
        ),
    ],
)  # fmt: skip
def test_what_cannot_say_its_text_ends_no_attempt(
    message: Any, args: tuple[Any, ...], text: str
) -> None:
    job = Bench().job
    job.log.info(message, *args)
    job.progress(0.5, Mute())  # type: ignore[arg-type]
    report = job.report()
    assert report is not None
    assert report.log is not None
    assert report.log[0][2] == text
    assert report.progress_message == "(Mute whose text failed: RuntimeError)"


def test_an_exception_brings_its_traceback() -> None:
    job = Bench().job
    try:
        raise KeyError("gone")
    except KeyError:
        job.log.exception("while %s", "looking")
    [(_, level, text)] = job.log.take()
    assert level == "error"
    assert text.startswith("while looking\nTraceback (most recent call last)")
    assert text.rstrip().endswith("KeyError: 'gone'")


def test_the_deadline_of_a_hundred_years_can_be_said() -> None:
    bench = Bench()
    policy = Policy(0, 0.0, Backoff(), timedelta(days=36_000).total_seconds())
    job: Job[None] = Job(bench.claim, None, policy, NOW, lambda: NOW, bench.changed.append)
    assert job.deadline.year == 2124
