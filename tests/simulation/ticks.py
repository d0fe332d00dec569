"""Promise 7, from what the storage said of schedules: each tick is decided once, by one job or by
why there is none, in the order of the rule and without a gap; and what it keeps at the end says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from backroom.schedule import ScheduleRecord
from backroom.ticking import Rule, read_rule
from tests.simulation.history import Event
from tests.simulation.server import Row

__all__ = ["TickBooks"]


class _Book(msgspec.Struct):
    rule: Rule
    next_at: int | None
    revision: int
    paused: bool
    rows: list[Row] = msgspec.field(default_factory=list)
    seen: set[tuple[Any, ...]] = msgspec.field(default_factory=set)
    """What was carried out: it may be said again, as its answer was lost."""


class TickBooks:
    """One for each schedule of a world."""

    def __init__(self, wrong: Callable[..., None]) -> None:
        """`wrong` takes a promise, and how it is broken."""
        self._wrong = wrong
        self._books: dict[str, _Book] = {}

    def kept(self, event: Event) -> None:
        """Somebody declared it: most have been there before him."""
        record: ScheduleRecord = event.more["record"]
        book = self._books.get(record.name)
        if book is None:
            self._books[record.name] = _Book(
                read_rule(record), record.next_at, record.revision, record.paused
            )
        elif (record.revision, record.next_at) != (book.revision, book.next_at):
            self._wrong(7, f"schedule {record.name} was changed by who says the same of it")

    def switched(self, event: Event) -> None:
        """People paused or resumed it, or it was so already."""
        record: ScheduleRecord = event.more["record"]
        book = self._books[record.name]
        if record.revision == book.revision:
            return
        if event.more["tick"] is not None:
            self._decide(record.name, book, [event.more["tick"]])
        if record.next_at != book.next_at:
            self._wrong(
                7, f"schedule {record.name} was to go on with {book.next_at}, and goes on with"
                f" {record.next_at}, when people paused or resumed it",
            )  # fmt: skip
        book.revision, book.paused, book.next_at = record.revision, record.paused, record.next_at

    def fires(self, event: Event) -> None:
        """A worker decided ticks that have come, and was told that this stands."""
        more = event.more
        name, decided = more["name"], more["rows"]
        book = self._books[name]
        said = (more["expected"], *decided)
        if said in book.seen:
            return
        book.seen.add(said)
        if more["expected"] != book.next_at:
            self._wrong(7, f"tick {more['expected']} of {name} was decided twice", *jobs(decided))
            return
        if book.paused or more["revision"] != book.revision:
            self._wrong(7, f"{name} fired by a word that holds no more", *jobs(decided))
        self._decide(name, book, decided)
        if more["next_at"] != book.next_at:
            self._wrong(7, f"{name} goes on with {more['next_at']}, not with {book.next_at}")
            book.next_at = more["next_at"]

    def _decide(self, name: str, book: _Book, decided: list[Row]) -> None:
        for row in decided:
            if row.at != book.next_at:
                self._wrong(7, f"{name} was at {book.next_at}, and decided {row}", *jobs([row]))
            if (row.job is None) is (row.outcome == "fired"):
                self._wrong(7, f"{name}: of {row.at} is said {row}", *jobs([row]))
            book.rows.append(row)
            book.next_at = book.rule.next(row.until)

    def stands_still(self, event: Event) -> None:
        """All is well, and nobody decides what has come."""
        self._wrong(7, f"schedules stand still: {event.more['names']}")

    def final(self, kept: dict[str, tuple[ScheduleRecord, list[Row]]], *, all_kept: bool) -> None:
        """What the storage keeps of them: all, or the last ones, where retention removes ticks."""
        for name, book in self._books.items():
            if name not in kept:
                self._wrong(7, f"schedule {name} is gone")
                continue
            record, found = kept[name]
            told = book.rows if all_kept else book.rows[len(book.rows) - len(found) :]
            if record.next_at != book.next_at or found != told:
                self._wrong(
                    7, f"schedule {name} keeps {found} and goes on with {record.next_at}; the book"
                    f" says {told} and {book.next_at}",
                )  # fmt: skip


def jobs(decided: list[Row]) -> list[int]:
    """Of those that fired."""
    return [row.job for row in decided if row.job is not None]
