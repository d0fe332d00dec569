"""How large many things were: counted by powers of two, for as long as a process lives."""

from __future__ import annotations

from typing import Final

__all__ = ["BOUNDS", "Sizes"]

BOUNDS: Final = tuple(1 << power for power in range(13))
"""The largest size of each count but the last: 1, 2, 4 ... 4,096."""


class Sizes:
    """Counts of sizes. One thread adds at a time; any may look."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """How many were at most as large as each of `BOUNDS`, and larger than the one before; the
        last count is of those that were larger than all."""
        self.total = 0
        """The sum of all sizes."""

    def add(self, size: int) -> None:
        """One of this size, which is not negative."""
        self.counts[min(max(size - 1, 0).bit_length(), len(BOUNDS))] += 1
        self.total += size
