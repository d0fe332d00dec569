"""What a worker of this process holds, which of it may have begun, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from backroom.transition import Transition

__all__ = ["Begun", "Listed"]

MOST_LISTS: Final = 8
"""Lists that stand beside each other, until one of all takes their place."""


class Listed(NamedTuple):
    """What is to be written of jobs that may begin."""

    number: int
    keys: list[int]
    needless: list[int]
    """Lists that go, if they are there: all that they name has ended, or is named by this one."""


class Begun:
    """The claims of one worker, by key their token."""

    def __init__(self) -> None:
        self.claimed: dict[int, int] = {}
        self.marks: dict[int, int] = {}
        """Those that were said to start, one by one: what counted with its claim is kept there."""
        self.lease = 0.0
        """Seconds that it has from each time it extends it."""
        self.writing = asyncio.Lock()
        self._written = 0
        """The number of the last list."""
        self._lists: dict[int, list[int]] = {}
        """Those that stand, by number: what each names, less its end, as far as that has ended. One
        of which it is not known whether it was written names nothing."""
        self._unsure = False
        """The last one is such: what it made needless may be gone, what it named not be there."""

    def mark(self, keys: Iterable[int]) -> None:
        """User code of these may begin."""
        for key in keys:
            if key in self.claimed:
                self.marks[key] = self.claimed[key]

    def unmark(self, keys: Iterable[int]) -> None:
        """These are not to be charged."""
        for key in keys:
            self.marks.pop(key, None)

    def listed(self, keys: Sequence[int]) -> Listed:
        """The next list, where it names these. What was named before is not named again, until
        that is one list too many."""
        for named in self._lists.values():
            while named and named[-1] not in self.marks:
                named.pop()
        ended = [number for number, named in self._lists.items() if not named]
        if self._unsure or len(self._lists) - len(ended) >= MOST_LISTS:
            return self.relisted()
        return self._next((key for key in keys if key in self.marks), ended)

    def relisted(self) -> Listed:
        """The next list, where it names all that are marked, and stands alone."""
        return self._next(self.marks, list(self._lists))

    def _next(self, keys: Iterable[int], needless: list[int]) -> Listed:
        self._written += 1
        self._lists[self._written] = []
        self._unsure = True
        return Listed(self._written, list(keys), needless)

    def wrote(self, listed: Listed) -> None:
        """It stands."""
        self._unsure = False
        self._lists[listed.number] = listed.keys
        for number in listed.needless:
            del self._lists[number]

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
