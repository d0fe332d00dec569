"""What user code raised, as an outcome."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backroom import FailJob, OptionError, RetryJob
from backroom.outcome import raised
from backroom.transition import Errored


def told(error: Exception) -> Errored:
    outcome = raised(error)
    assert isinstance(outcome, Errored)
    return outcome


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("unhandled errors in a TaskGroup", errors)


def test_an_error_is_retried_with_its_own_text() -> None:
    outcome = told(ValueError("boom"))
    assert (outcome.kind, outcome.message) == ("ValueError", "boom")
    assert (outcome.retry, outcome.delay) == (True, None)


@pytest.mark.parametrize(
    "error",
    [
        group(ValueError("boom")),
        group(group(ValueError("boom"))),
    ],
)
def test_a_group_with_one_error_speaks_with_its_voice(error: Exception) -> None:
    outcome = told(error)
    assert (outcome.kind, outcome.message, outcome.retry) == ("ValueError", "boom", True)
    assert outcome.traceback is not None
    assert "unhandled errors in a TaskGroup" in outcome.traceback


def test_a_group_with_several_errors_speaks_for_itself() -> None:
    outcome = told(group(ValueError("a"), KeyError("b")))
    assert outcome.kind == "ExceptionGroup"
    assert outcome.message == "unhandled errors in a TaskGroup (2 sub-exceptions)"
    assert outcome.retry


@pytest.mark.parametrize(
    "error",
    [
        FailJob("final"),
        group(FailJob("final")),
        group(ValueError("boom"), FailJob("final"), RetryJob("again")),
        group(RetryJob("again", delay=-1), group(group(FailJob("final")))),
    ],
)
def test_one_that_says_fail_is_enough(error: Exception) -> None:
    outcome = told(error)
    assert (outcome.kind, outcome.message, outcome.retry) == ("FailJob", "final", False)


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (RetryJob("again", delay=5), 5),
        (RetryJob("again"), None),
        (group(RetryJob("again", delay=5)), 5),
        (group(ValueError("boom"), RetryJob("again")), None),
        (group(RetryJob("again", delay=5), RetryJob("b", delay=timedelta(minutes=1))), 60),
        (group(RetryJob("again"), group(RetryJob("b", delay=3))), 3),
    ],
)
def test_of_those_who_ask_for_a_retry_the_longest_delay_counts(
    error: Exception, delay: float | None
) -> None:
    outcome = told(error)
    assert (outcome.kind, outcome.message) == ("RetryJob", "again")
    assert (outcome.retry, outcome.delay) == (True, delay)


def test_a_delay_that_is_none_is_an_error_of_the_attempt() -> None:
    outcome = told(group(RetryJob("again", delay=-1)))
    assert (outcome.kind, outcome.retry) == (OptionError.__name__, True)
    assert outcome.traceback is not None
    assert "again" in outcome.traceback
