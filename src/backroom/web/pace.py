"""How often somebody may do something: so many times in so many seconds."""

from __future__ import annotations

import math
from collections import OrderedDict

__all__ = ["Pace"]

MOST_KEYS = 10_000


class Pace:
    """At most `most` in any `seconds` for each key, roughly: a bucket that fills evenly. Keeps the
    10,000 keys that came last."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._each = seconds / most
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """When the bucket of a key is full again."""

    def wait(self, key: str, now: float) -> int | None:
        """Whole seconds until it may be done again; None: it may be done now."""
        full_at = max(self._full_at.get(key, now), now)
        late = full_at + self._each - now - self._each * self._most
        return max(1, math.ceil(late)) if late > 1e-9 else None

    def give_back(self, key: str) -> None:
        """It was counted, and is not to be."""
        if key in self._full_at:
            self._full_at[key] -= self._each

    def count(self, key: str, now: float) -> None:
        """It was done."""
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._each
        self._full_at.move_to_end(key)
        if len(self._full_at) > MOST_KEYS:
            self._full_at.popitem(last=False)
