"""How many workers a backlog needs: pure arithmetic, for those who start and stop them."""

from __future__ import annotations

import math
from typing import Final

import msgspec

__all__ = ["MOST", "Demand", "wanted_workers"]

MOST: Final = 1000
"""Workers that are wanted at most, where nobody says another bound."""


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to do at one moment."""

    backlog: int
    """Jobs that are due, and wait."""
    active: int
    """Jobs that run."""
    oldest: float = 0.0
    """Seconds for which the oldest of the backlog has been due."""
    workers: int = 0
    """Those that live."""
    duration: float | None = None
    """Seconds that a job usually takes; None: not known yet."""


def wanted_workers(
    demand: Demand, *, slots: int, target: float, least: int = 0, most: int = MOST
) -> int:
    """How many workers would clear the backlog within `target` seconds.

    What runs keeps its slots; of the rest, a slot does `target / duration` jobs in that time, and
    where it is not known how long a job takes, one. A backlog that is older than the target says
    that those who live are too few, whatever was reckoned: then there is one more of them.

    Args:
        slots: jobs that one worker runs at once, at least 1.
        target: seconds, more than 0.
        least, most: bounds of the answer; `least` is what an idle store keeps.
    """
    each = target if demand.duration is None else demand.duration
    # No slot does a part of a job: what waits alone needs a slot of its own, however short it is.
    new = min(demand.backlog, math.ceil(demand.backlog * each / target))
    if demand.backlog and not new:
        new = 1
    wanted = math.ceil((demand.active + new) / slots)
    if demand.backlog and demand.oldest > target:
        wanted = max(wanted, demand.workers + 1)
    return max(least, min(wanted, most))
