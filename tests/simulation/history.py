"""What happened in a world, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

__all__ = ["Event", "History", "story"]

LAST: Final = 40
"""Events that a story tells at most."""
AFTER: Final = 1.0
"""Seconds that it goes on after what it is about."""


class Event(NamedTuple):
    at: float
    """Virtual seconds."""
    who: str
    """A process; "storage" for what it has really done."""
    what: str
    job: int | None
    """The number that the world gave it."""
    more: dict[str, Any]

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.more.items())
        about = "" if self.job is None else f" job {self.job}"
        return f"{self.at:10.4f}  {self.who:<10} {self.what}{about}{': ' if told else ''}{told}"


class History:
    """Takes events."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self.events: list[Event] = []

    def note(self, who: str, what: str, job: int | None = None, **more: Any) -> None:
        self.events.append(Event(self._time(), who, what, job, more))

    def count(self, what: str) -> int:
        return sum(event.what == what for event in self.events)


_OF_PROCESSES: Final = {
    "crashes", "stands still", "is told to stop", "has stopped", "starts", "is cut off",
    "sets its clock", "blocks its loop",
}  # fmt: skip


def story(history: History, jobs: set[int], at: float) -> str:
    """The last events of these jobs, and of the processes that had to do with them, before and
    a little after a moment."""
    before = [event for event in history.events if event.at <= at + AFTER]
    who = {event.who for event in before if event.job in jobs}
    told = [
        event
        for event in before
        if event.job in jobs
        or (event.what in _OF_PROCESSES and (event.who in who or not jobs))
        or (event.who == "storage" and event.job is None and event.more.get("process") in who)
        or event.what in ("reclaims", "calm")
    ]
    left = len(told) - LAST
    lines = [f"  ... {left} events before ..."] if left > 0 else []
    return "\n".join(lines + [f"  {event}" for event in told[-LAST:]])
