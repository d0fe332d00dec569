"""What becomes of a job after an attempt: every outcome, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from backroom import Backoff, OptionError
from backroom.job import SECOND, State
from backroom.transition import (
    MAX_CRASHES,
    Cancelled,
    Claim,
    Completed,
    Errored,
    Expired,
    Outcome,
    Parked,
    Policy,
    Released,
    Snoozed,
    decide,
    hopeless,
)

NOW = 1_000 * SECOND
STARTED = 990 * SECOND


def claim(*, attempt: int = 0, crashes: int = 0, budget: int = 0) -> Claim:
    return Claim(
        key=7, token=3, id="id", type="T", queue="q", priority=2, run_at=900 * SECOND,
        created_at=900 * SECOND, data="{}", options=None, expires_at=None,
        attempt=attempt, crashes=crashes, budget=budget,
    )  # fmt: skip


def policy(retries: int = 3, backoff: Any = None) -> Policy:
    return Policy(retries, 10.0, backoff or Backoff("fixed", jitter="none"), 300.0)


ERROR = Errored("ValueError", "boom", "Traceback ...")


@pytest.mark.parametrize(
    ("outcome", "started", "state", "attempt", "run_at", "finished"),
    [
        (Completed('"x"'), True, State.COMPLETED, 1, None, True),
        (ERROR, True, State.WAITING, 1, NOW + 10 * SECOND, False),
        (Errored("E", "m", delay=77), True, State.WAITING, 1, NOW + 77 * SECOND, False),
        (Errored("E", "m", delay=0), True, State.WAITING, 1, NOW, False),
        (Errored("E", "m", retry=False), True, State.FAILED, 1, None, True),
        (Errored("E", "m", retry=False), False, State.FAILED, 0, None, True),
        (ERROR, False, State.FAILED, 0, None, True),
        (Snoozed(30), True, State.WAITING, 0, NOW + 30 * SECOND, False),
        (Cancelled("why"), True, State.CANCELLED, 1, None, True),
        (Cancelled("why"), False, State.CANCELLED, 0, None, True),
        (Expired(), False, State.CANCELLED, 0, None, True),
        (Released(), True, State.WAITING, 0, None, False),
        (Released(), False, State.WAITING, 0, None, False),
        (Parked(), False, State.PARKED, 0, None, False),
    ],
)
def test_every_outcome_has_one_transition(
    outcome: Outcome, started: bool, state: State, attempt: int, run_at: int | None, finished: bool
) -> None:
    one = decide(claim(), outcome, NOW, policy(), started_at=STARTED if started else None)
    assert (one.key, one.token) == (7, 3)
    assert one.state == state
    assert one.attempt == attempt
    assert one.run_at == run_at
    assert one.finished_at == (NOW if finished else None)


def test_only_what_had_begun_is_released_as_begun() -> None:
    """What began in time does not expire."""
    for outcome, started in ((Released(), STARTED), (Released(begun=False), None)):
        assert decide(claim(), outcome, NOW, policy(), started_at=STARTED).started_at == started


def test_a_failed_attempt_is_kept_with_its_number_and_moment() -> None:
    one = decide(claim(attempt=4), ERROR, NOW, policy(retries=9), started_at=STARTED)
    assert one.failure is not None
    assert (one.failure.attempt, one.failure.at) == (5, NOW)
    assert (one.failure.kind, one.failure.message) == ("ValueError", "boom")
    assert one.reason == "boom"
    assert one.started_at == STARTED


@pytest.mark.parametrize("retries", [0, 1, 2, 1000])
@pytest.mark.parametrize("budget", [0, 5])
def test_retries_n_allows_n_plus_one_attempts_of_a_fresh_budget(retries: int, budget: int) -> None:
    allowed = policy(retries=retries)
    for attempt in (budget, budget + retries - 1, budget + retries):
        if attempt < budget:
            continue
        held = claim(attempt=attempt, budget=budget)
        one = decide(held, ERROR, NOW, allowed, started_at=STARTED)
        last = attempt == budget + retries
        assert one.state == (State.FAILED if last else State.WAITING)
        assert hopeless(held, allowed) is None
    spent = claim(attempt=budget + retries + 1, budget=budget, crashes=1)
    assert hopeless(spent, allowed) is not None


@pytest.mark.parametrize(
    ("attempt", "crashes", "retries", "reason"),
    [
        (0, 0, 0, None),
        (1, 1, 1, None),
        (1, 1, 0, "the worker died during attempt 1, and no attempt is left"),
        (2, 2, 10, None),
        (3, MAX_CRASHES, 1000, "poison: 3 workers died while they ran this job"),
        (9, 9, 1000, "poison: 9 workers died while they ran this job"),
    ],
)
def test_a_job_that_kills_its_workers_is_given_up(
    attempt: int, crashes: int, retries: int, reason: str | None
) -> None:
    held = claim(attempt=attempt, crashes=crashes)
    error = hopeless(held, policy(retries=retries))
    assert (error and error.message) == reason
    if error is not None:
        assert (error.kind, error.retry) == ("crash", False)
        one = decide(held, error, NOW, policy(retries=retries), started_at=None)
        assert (one.state, one.attempt) == (State.FAILED, attempt)  # not charged once more


@pytest.mark.parametrize(
    ("attempt", "budget", "retries", "reason"),
    [
        (1, 0, 0, "no attempt is left: 1 was made, and retries is 0 now"),
        (3, 0, 1, "no attempt is left: 3 were made, and retries is 1 now"),
        (9, 7, 1, "no attempt is left: 2 were made, and retries is 1 now"),
        (9, 7, 2, None),
    ],
)
def test_a_job_whose_retries_were_taken_away_does_not_blame_a_worker(
    attempt: int, budget: int, retries: int, reason: str | None
) -> None:
    held = claim(attempt=attempt, budget=budget)
    error = hopeless(held, policy(retries=retries))
    assert (error and error.message) == reason
    if error is not None:
        assert (error.kind, error.retry) == ("exhausted", False)


def test_the_number_of_the_retry_starts_anew_with_a_fresh_budget() -> None:
    asked: list[int] = []

    def backoff(retry: int) -> float:
        asked.append(retry)
        return retry

    for attempt in (4, 5, 6):
        held = claim(attempt=attempt, budget=4)
        one = decide(held, ERROR, NOW, policy(backoff=backoff), started_at=STARTED)
        assert one.run_at == NOW + asked[-1] * SECOND
    assert asked == [1, 2, 3]


@pytest.mark.parametrize(
    "wait", [-1, float("nan"), float("inf"), 1e300, 10**400, "soon", None, True]
)
def test_what_a_backoff_function_returns_is_checked(wait: Any) -> None:
    with pytest.raises(OptionError, match="what the backoff function returned must be"):
        decide(claim(), ERROR, NOW, policy(backoff=lambda retry: wait), started_at=STARTED)


def test_chance_spreads_retries_and_nothing_else_does() -> None:
    spread = policy(backoff=Backoff("fixed", jitter="up"))
    moments = [
        decide(claim(), ERROR, NOW, spread, started_at=STARTED, chance=chance).run_at
        for chance in (0.0, 0.0, 0.5)
    ]
    assert moments == [NOW + 10 * SECOND, NOW + 10 * SECOND, NOW + round(11.25 * SECOND)]
