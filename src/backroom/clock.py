"""The clock of the machine."""

from __future__ import annotations

import time

__all__ = ["SystemClock"]

# On Linux CLOCK_BOOTTIME goes on while the machine is suspended; where it is missing, the
# monotonic clock is the nearest there is.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The wall clock of the machine, and its uptime, suspend included."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def uptime(self) -> float:
        return time.clock_gettime(_UPTIME)
