"""Which cancelled jobs wait again, when some of those that they waited for run again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

__all__ = ["restorable"]

K = TypeVar("K")


def restorable(
    candidates: Iterable[K], links: Iterable[tuple[K, K]], in_vain: Iterable[tuple[K, K]]
) -> set[K]:
    """Those of the candidates that have nobody left to wait for in vain.

    Args:
        candidates: jobs that were cancelled behind those that run again now.
        links: between candidates, who is waited for and who waits.
        in_vain: a job that failed or was cancelled, and is neither a candidate nor runs again;
            and a candidate that waits for it.
    """
    back = set(candidates)
    behind: dict[K, list[K]] = {}
    for parent, child in links:
        behind.setdefault(parent, []).append(child)
    lost = [child for _, child in in_vain]
    while lost:
        job = lost.pop()
        if job in back:
            back.discard(job)
            lost += behind.get(job, ())
    return back
