"""What looks for jobs, and changes many of them, in the same way in every storage."""

from __future__ import annotations

import re
import string
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from backroom.inspecting import BulkProgress, Looked, Progress
from backroom.job import JobInfo

__all__ = ["LOOKED", "Done", "Needle", "Tally", "is_id", "needle", "whole_page"]

LOOKED: Final = 5000
"""Jobs that one look goes through, where its caller does not say."""
_FOLDED: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class Needle(NamedTuple):
    """A text that is looked for, folded."""

    text: str
    escaped: str
    """As it stands within JSON."""


def needle(text: str) -> Needle:
    """The letters A to Z as small ones: what `lower` makes of them in every database, whatever it
    has been told of languages."""
    folded = text.translate(_FOLDED)
    return Needle(folded, msgspec.json.encode(folded)[1:-1].decode())


def is_id(text: str) -> bool:
    """Whether a text is the whole id of a job, if there is one."""
    return _ID.match(text) is not None


class Done(NamedTuple):
    """What the change of a page of jobs did."""

    changed: int = 0
    refused: int = 0
    treated: Collection[Any] = ()
    """The keys of those that it looked at, where these are more than the page has."""


class Tally:
    """How far a change of many jobs has come."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._so_far = BulkProgress()
        self._treated: set[Any] = set()

    @property
    def changed(self) -> int:
        return self._so_far.changed

    def untreated(self, keys: Sequence[Any]) -> list[Any]:
        """Those of these that did not come along with an earlier page."""
        return [key for key in keys if key not in self._treated]

    def add(self, looked: int, done: Done, unknown: int = 0) -> None:
        """A page stands."""
        before = self._so_far
        self._treated.update(done.treated)
        self._so_far = BulkProgress(
            before.looked + looked,
            before.changed + done.changed,
            before.refused + done.refused + unknown,
        )
        if self._progress is not None:
            self._progress(self._so_far)


async def whole_page(
    look: Callable[[int, str | None, int], Awaitable[Looked]], limit: int, cursor: str | None
) -> tuple[list[JobInfo], str | None]:
    """Looks on until a page is full, and it is known whether there is another one.

    `look`: takes how many jobs, a cursor, and how many may be looked at.
    """
    jobs: list[JobInfo] = []
    following = cursor
    while len(jobs) < limit:
        looked = await look(limit - len(jobs), following, LOOKED)
        jobs += looked.jobs
        following = looked.cursor
        if following is None:
            return jobs, None
    behind: str | None = following
    while behind is not None:
        looked = await look(1, behind, LOOKED)
        if looked.jobs:
            return jobs, following
        behind = looked.cursor
    return jobs, None
