"""Backoff policies: how long to wait, for any number of the retry."""

from __future__ import annotations

import math
from typing import Any

import pytest

from backroom import Backoff, OptionError, exponential, fixed, linear
from backroom.job import LONGEST
from backroom.retry import HOUR, read_backoff


@pytest.mark.parametrize(
    ("policy", "waits"),
    [
        (fixed(), [10, 10, 10, 10]),
        (linear(jitter="none"), [10, 20, 30, 40]),
        (exponential(jitter="none"), [10, 20, 40, 80]),
        (exponential(jitter="none", factor=1), [10, 10, 10, 10]),
        (exponential(jitter="none", factor=1.5), [10, 15, 22.5, 33.75]),
        (exponential(jitter="none", cap=30), [10, 20, 30, 30]),
        (linear(jitter="none", cap=30), [10, 20, 30, 30]),
        (exponential(jitter="none", cap=5), [10, 10, 10, 10]),
        (linear(jitter="none", cap=5), [10, 10, 10, 10]),
    ],
)
def test_the_wait_before_each_retry(policy: Backoff, waits: list[float]) -> None:
    assert [policy.wait(retry, 10, 0.5) for retry in (1, 2, 3, 4)] == waits


@pytest.mark.parametrize("kind", ["fixed", "linear", "exponential"])
@pytest.mark.parametrize("jitter", ["none", "up", "full"])
@pytest.mark.parametrize("factor", [1, 2, 1000])
@pytest.mark.parametrize("cap", [1e-9, HOUR, LONGEST])
@pytest.mark.parametrize("base", [0, 1e-9, 60, LONGEST])
def test_no_wait_overflows_or_exceeds_what_was_said(
    kind: Any, jitter: Any, factor: float, cap: float, base: float
) -> None:
    policy = Backoff(kind, factor, cap, jitter)
    for retry in (1, 2, 64, 65, 1000, 10**9):
        for chance in (0.0, 0.5, math.nextafter(1, 0)):
            wait = policy.wait(retry, base, chance)
            most = base if kind == "fixed" else max(cap, base)
            assert 0 <= wait <= min(most * (1.25 if jitter == "up" else 1), LONGEST)


@pytest.mark.parametrize("policy", [exponential(), linear(), Backoff("fixed", jitter="up")])
def test_jitter_upward_is_never_early_and_at_most_a_quarter_late(policy: Backoff) -> None:
    exact = Backoff(policy.kind, policy.factor, policy.cap, "none")
    for retry in range(1, 12):
        least = exact.wait(retry, 1, 0)
        assert policy.wait(retry, 1, 0) == least
        assert least < policy.wait(retry, 1, math.nextafter(1, 0)) <= least * 1.25


@pytest.mark.parametrize("policy", [exponential(), linear(), exponential(jitter="full")])
def test_retries_are_spread_at_the_cap_too(policy: Backoff) -> None:
    assert len({policy.wait(100, 60, chance / 10) for chance in range(10)}) == 10


@pytest.mark.parametrize("policy", [fixed(), linear(), exponential(), exponential(cap=1)])
def test_a_retry_is_never_earlier_than_a_long_delay_that_was_asked_for(policy: Backoff) -> None:
    assert [policy.wait(retry, 6 * HOUR, 0) for retry in (1, 2, 9)] == [6 * HOUR] * 3


def test_full_jitter_takes_any_wait_up_to_the_whole_one() -> None:
    policy = exponential(jitter="full")
    assert policy.wait(3, 10, 0) == 0
    assert policy.wait(3, 10, 0.25) == 10
    assert policy.wait(3, 10, 0.999) == pytest.approx(39.96)


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ("fixed", fixed()),
        ("linear", linear()),
        ("exponential", exponential()),
        (Backoff("linear", cap=5), Backoff("linear", cap=5)),
    ],
)
def test_a_policy_may_be_named(value: Any, policy: Backoff) -> None:
    assert read_backoff(value) == policy


@pytest.mark.parametrize(
    "value",
    [
        "quadratic",
        None,
        3,
        lambda retry: 1.0,
        Backoff("cubic"),  # type: ignore[arg-type]
        Backoff(jitter="some"),  # type: ignore[arg-type]
        Backoff(factor="2"),  # type: ignore[arg-type]
        Backoff(factor=0.5),
        Backoff(factor=1001),
        Backoff(factor=math.nan),
        Backoff(cap=0),
        Backoff(cap=math.inf),
        Backoff(cap=math.nan),
        Backoff(cap=-1),
    ],
)
def test_what_is_no_policy_is_refused(value: Any) -> None:
    with pytest.raises(OptionError, match="backoff"):
        read_backoff(value)


@pytest.mark.parametrize("build", [linear, exponential])
def test_a_policy_is_checked_where_it_is_built(build: Any) -> None:
    with pytest.raises(OptionError, match="cap must be more than 0 seconds, got -1"):
        build(cap=-1)
    with pytest.raises(OptionError, match="no backoff"):
        build(jitter="down")
    with pytest.raises(OptionError, match="no backoff"):
        fixed(jitter="down")  # type: ignore[arg-type]
