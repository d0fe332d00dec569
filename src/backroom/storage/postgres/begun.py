"""What a worker of this process holds, which of it may have begun, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from backroom.transition import Transition

__all__ = ["Begun"]


class Begun:
    """The claims of one worker, by key their token."""

    def __init__(self) -> None:
        self.claimed: dict[int, int] = {}
        self.marks: dict[int, int] = {}
        """Those that were said to start, one by one: what counted with its claim is kept there."""
        self.lease = 0.0
        """Seconds that it has from each time it extends it."""
        self.lists = 0
        """How many lists of these were written."""
        self.writing = asyncio.Lock()

    def mark(self, keys: Iterable[int]) -> None:
        """User code of these may begin."""
        for key in keys:
            if key in self.claimed:
                self.marks[key] = self.claimed[key]

    def unmark(self, keys: Iterable[int]) -> None:
        """These are not to be charged."""
        for key in keys:
            self.marks.pop(key, None)

    def forget(self, keys: Iterable[int]) -> None:
        """These have gone back."""
        for key in keys:
            self.claimed.pop(key, None)
            self.marks.pop(key, None)

    def finished(self, transitions: Sequence[Transition], stands: Sequence[bool]) -> None:
        """The outcomes that stand are written. Where one does not, the job may have been claimed
        anew."""
        for transition, stood in zip(transitions, stands, strict=True):
            if stood and self.claimed.get(transition.key) == transition.token:
                del self.claimed[transition.key]
                self.marks.pop(transition.key, None)
