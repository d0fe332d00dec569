"""Which of the states that a power cut may leave are built."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

from tests.crash.power_cuts.disk import KEPT, LOST, Change, Fate, Torn, Write, sectors

__all__ = ["KINDS", "Cut", "cuts", "told"]

KINDS: Final = ("nothing", "everything", "one missing", "one alone", "first ones", "some", "torn")

Cut = tuple[str, tuple[Fate, ...]]
"""Its kind, and the fate of each pending change."""


def cuts(pending: Sequence[Change], rng: random.Random, most: int) -> Iterator[Cut]:
    """Both extremes, and up to `most` others: half of them regular, half by chance."""
    count = len(pending)
    yield "nothing", (LOST,) * count
    if not count:
        return
    yield "everything", (KEPT,) * count
    regular: list[Cut] = []
    for at in range(count):
        one_missing = (KEPT,) * at + (LOST,) + (KEPT,) * (count - at - 1)
        regular.append(("one missing", one_missing))
        regular.append(("one alone", tuple(not kept for kept in one_missing)))
        regular.append(("first ones", (KEPT,) * at + (LOST,) * (count - at)))
    yield from rng.sample(regular, min(len(regular), most // 2))
    for _ in range(most - most // 2):
        yield _by_chance(pending, rng)


def _by_chance(pending: Sequence[Change], rng: random.Random) -> Cut:
    share = rng.choice((0.1, 0.5, 0.9))
    tearing = rng.choice((0.0, 0.2, 0.8))
    fates = [_fate(change, rng, share, tearing) for change in pending]
    torn = any(isinstance(fate, Torn) for fate in fates)
    return "torn" if torn else "some", tuple(fates)


def _fate(change: Change, rng: random.Random, share: float, tearing: float) -> Fate:
    if isinstance(change, Write) and rng.random() < tearing:
        parts = range(len(sectors(change)))
        some = frozenset(part for part in parts if rng.random() < share)
        return Torn(some, grown=rng.random() < 0.5)
    return rng.random() < share


def told(change: Change, fate: Fate) -> str:
    """For people."""
    what = repr(change)
    if isinstance(change, Write):
        end = change.offset + len(change.data)
        what = f"Write(node={change.node}, bytes {change.offset} to {end})"
    if isinstance(fate, Torn):
        of = len(sectors(change)) if isinstance(change, Write) else 0
        grown = ", but grown" if fate.grown else ""
        return f"torn {what}: sectors {sorted(fate.sectors)} of {of}{grown}"
    return f"{'kept' if fate else 'lost'} {what}"
