"""Turns: jobs of one queue and priority that are run key by key.

A job that takes turns waits at a moment like any other; but that is not when it was scheduled. It
is the moment of the first that waits there, or one microsecond behind the last of its own key,
whichever is later. So a million jobs of one key stand behind each other, and the single one of
another stands beside the first of them; and a claim reads what it always did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from backroom.job import SECOND, JobRecord
from backroom.limit import FAIR, LEAD, turn_of
from backroom.step import FOREVER
from backroom.storage.sqlite.ledger import Ledger, encode

__all__ = ["in_turn", "take", "take_again", "take_late", "take_later", "tidy"]

LATELY: Final = SECOND
"""Microseconds: who waits again since so short a time was not given back, most likely."""
LATE: Final = 1000
"""Jobs that are looked at together when they are to take their turn late."""
LOOKS: Final = 10
"""So many times in one call."""

FIRST: Final = """
    SELECT run_at FROM job WHERE state = 0 AND queue = ?1 AND priority = ?2
    ORDER BY run_at LIMIT 1
"""
LAST: Final = "SELECT stamp FROM turn WHERE queue = ?1 AND priority = ?2 AND key = ?3"
PUT: Final = "INSERT OR REPLACE INTO turn (queue, priority, key, stamp) VALUES (?1, ?2, ?3, ?4)"
WAIT: Final = "INSERT OR REPLACE INTO later (job, due) VALUES (?1, ?2)"
AGAIN: Final = f"""
    SELECT key, run_at, options FROM job
    WHERE key IN (SELECT value FROM json_each(?1)) AND state = 0 AND run_at > ?2 AND run_at < ?3
    AND instr(options, '{FAIR}')
"""
DUE: Final = """
    DELETE FROM later WHERE job IN (SELECT job FROM later WHERE due <= ?1 LIMIT ?2) RETURNING job
"""
WAITS: Final = """
    SELECT key, queue, priority, options FROM job
    WHERE key IN (SELECT value FROM json_each(?1)) AND state = 0 AND run_at <= ?2
    ORDER BY run_at, key
"""
MOVE: Final = "UPDATE job SET run_at = ?2 WHERE key = ?1"
# Turns that are over say nothing: the next one begins at the first that waits.
OVER: Final = """
    DELETE FROM turn WHERE stamp < ifnull((
        SELECT run_at FROM job WHERE state = 0 AND job.queue = turn.queue
        AND job.priority = turn.priority ORDER BY run_at LIMIT 1), ?1)
"""


def take(ledger: Ledger, queue: str, priority: int, key: str, now: int) -> int:
    """The moment at which one more job of this key waits."""
    first: Any = ledger.run(FIRST, (queue, priority)).fetchone()
    last: Any = ledger.run(LAST, (queue, priority, key)).fetchone()
    stamp: int = now - LEAD if first is None else min(now, first[0])
    if last is not None:
        stamp = max(stamp, last[0] + 1)
    ledger.run(PUT, (queue, priority, key, stamp))
    return stamp


def in_turn(ledger: Ledger, job: JobRecord, now: int) -> JobRecord:
    """The same job, where it waits among those of other keys, if it takes turns and is due."""
    key = None if job.run_at > now else turn_of(job.options)
    if key is None:
        return job
    stamp = take(ledger, job.queue, job.priority, key, now)
    return msgspec.structs.replace(job, run_at=stamp)


def take_later(ledger: Ledger, key: int, due: int) -> None:
    """This job has its turn when it is due."""
    ledger.run(WAIT, (key, due))


def take_again(ledger: Ledger, keys: Iterable[int], now: int) -> None:
    """Of these, those that take turns and wait for later, or since just now, do so when they are
    due; not those that wait for ever, since that is no moment."""
    rows: Any = ledger.run(AGAIN, (encode(list(keys)), now - LATELY, FOREVER)).fetchall()
    for key, due, options in rows:
        if turn_of(options) is not None:
            take_later(ledger, key, due)


def take_late(ledger: Ledger, now: int) -> int:
    """Those that have become due take their turn, if they still wait; how many, or many where it
    has not come to the end."""
    moved = 0
    for _ in range(LOOKS):  # Those that do not wait any more hide nobody behind them.
        due = [key for (key,) in ledger.run(DUE, (now, LATE))]
        moved += _take(ledger, due, now)
        if len(due) < LATE:
            return moved
    return max(moved, LATE)


def _take(ledger: Ledger, due: Sequence[int], now: int) -> int:
    moved = 0
    waiting: Any = ledger.run(WAITS, (encode(due), now)).fetchall()
    for key, queue, priority, options in waiting:
        turn = turn_of(options)
        if turn is not None:
            moved += 1
            stamp = take(ledger, queue, priority, turn, now)
            ledger.run(MOVE, (key, stamp))
    return moved


def tidy(ledger: Ledger, now: int) -> None:
    """Forgets turns that are over."""
    ledger.run(OVER, (now,))
