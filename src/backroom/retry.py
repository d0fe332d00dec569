"""Backoff policies: how long to wait before a retry. Pure: chance is an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from backroom.errors import OptionError

__all__ = ["CENTURY", "Backoff", "exponential", "fixed", "linear", "read_backoff"]

HOUR: Final = 3600.0
CENTURY: Final = 100 * 366 * 86_400.0
"""The longest wait of all, in seconds."""


class Backoff(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the wait grows. Build one with `fixed`, `linear` or `exponential`.

    The wait before retry number `n` (1 is the first) is, from the job's `retry_delay`:
    fixed `retry_delay`; linear `retry_delay * n`; exponential `retry_delay * factor ** (n - 1)`.
    The last two grow to `cap` seconds, or to `retry_delay` where that is more: no wait is shorter
    than was asked for. Then `jitter` spreads it, at the cap too, where most retries of a long
    outage are: "up" adds at most a quarter (so that jobs that failed together do not come back
    together, and none earlier than said), "full" takes any wait from 0 to it, "none" leaves it.
    """

    kind: Literal["fixed", "linear", "exponential"] = "exponential"
    factor: float = 2.0
    cap: float = HOUR
    jitter: Literal["none", "up", "full"] = "up"

    def wait(self, retry: int, base: float, chance: float) -> float:
        """Seconds before retry number `retry`, for a `base` in seconds and `chance` in [0, 1)."""
        if self.kind == "fixed":
            wait = base
        elif self.kind == "linear":
            wait = base * retry
        else:
            # 2.0 ** 1024 overflows; from 64 doublings on, only the cap matters.
            wait = base * self.factor ** min(retry - 1, 64)
        if self.kind != "fixed":
            wait = min(wait, max(self.cap, base))
        if self.jitter == "up":
            wait *= 1 + chance / 4
        elif self.jitter == "full":
            wait *= chance
        return min(wait, CENTURY)


BackoffPolicy = Backoff | Literal["fixed", "linear", "exponential"] | Callable[[int], float]
"""What `backoff=` takes on a handler: a policy, its name, or a function from the number of the
retry (1 is the first) to seconds."""


def fixed(*, jitter: Literal["none", "up", "full"] = "none") -> Backoff:
    """Always `retry_delay`, however long that is."""
    return _checked(Backoff("fixed", jitter=jitter))


def linear(*, cap: float = HOUR, jitter: Literal["none", "up", "full"] = "up") -> Backoff:
    """`retry_delay` times the number of the retry, up to `cap` seconds (`Backoff` says how)."""
    return _checked(Backoff("linear", cap=cap, jitter=jitter))


def exponential(
    *, factor: float = 2.0, cap: float = HOUR, jitter: Literal["none", "up", "full"] = "up"
) -> Backoff:
    """`retry_delay`, then `factor` times longer each time, up to `cap` seconds (`Backoff` says
    how)."""
    return _checked(Backoff("exponential", factor, cap, jitter))


def read_backoff(value: object) -> Backoff:
    """A policy from what a caller gave.

    Raises:
        OptionError: it is neither a `Backoff` nor the name of one.
    """
    if isinstance(value, Backoff):
        return _checked(value)
    if value == "fixed":
        return fixed()
    if value == "linear":
        return linear()
    if value == "exponential":
        return exponential()
    raise OptionError(
        f'backoff must be "fixed", "linear", "exponential" or a Backoff, got {value!r}; '
        "a function is taken on a handler only, since a job in the store cannot hold code"
    )


def _checked(policy: Backoff) -> Backoff:
    try:
        msgspec.convert(msgspec.to_builtins(policy), Backoff)
    except msgspec.ValidationError as error:
        raise OptionError(
            f"this is no backoff: {error}; build one with fixed(), linear() or exponential()"
        ) from None
    if not 1 <= policy.factor <= 1000:
        raise OptionError(f"backoff factor must be 1 to 1000, got {policy.factor!r}")
    if not 0 < policy.cap <= CENTURY:
        raise OptionError(f"backoff cap must be more than 0 seconds, got {policy.cap!r}")
    return policy
