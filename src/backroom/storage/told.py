"""What tellings of figures come to in the tables, whichever these are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from backroom.crew import RunningJob
from backroom.figure import OTHER, Figures
from backroom.history import (
    COARSE,
    FINE,
    LONGEST,
    QUIET,
    Depth,
    begin_of,
)
from backroom.job import SECOND, microseconds

__all__ = [
    "ALL",
    "EVER",
    "KEPT",
    "MOST_SERIES",
    "STEPS",
    "UNUSED",
    "begins_of",
    "due_samples",
    "earliest",
    "read_figures",
    "read_sample",
    "rows_of",
    "together",
    "unchanged",
    "write_sample",
]

EVER: Final = 0
"""The step of what is never begun anew: the sums since the store was made."""
STEPS: Final = (EVER, FINE, COARSE)
KEPT: Final = {FINE: 2 * 3600 + 2 * COARSE, COARSE: LONGEST + 2 * COARSE}
"""For how many seconds stretches of these lengths are kept."""
MOST_SERIES: Final = 1000
"""Queues and job types of which a store keeps figures by name."""
UNUSED: Final = 86_400
"""Seconds without figures after which one lets go its name, where there are so many: what was
counted of it since the store was made goes to that of the others."""
ALL: Final = ""
"""Stands for all job types of a queue together, or for all queues: none has this name. So who asks
for them need not read each."""

Series = tuple[str, str]


class _Told(msgspec.Struct):
    """What is needed of a `WorkerReport`."""

    running: tuple[RunningJob, ...] = ()


def begins_of(report: str | None) -> dict[tuple[str, int], int]:
    """When the attempts that a worker ran had begun, by job id and attempt, as far as it has told.
    A report that cannot be read tells nothing: the jobs of the dead come back all the same."""
    with suppress(msgspec.MsgspecError, TypeError):
        told = msgspec.json.decode(report or "{}", type=_Told)
        return {(one.id, one.attempt): microseconds(one.since) for one in told.running}
    return {}


def rows_of(figures: Iterable[Figures], known: Collection[Series]) -> list[tuple[Any, ...]]:
    """The rows that these are to be added to, in the order of their keys, no key twice: step, at,
    then as `Figures`, its maps as JSON.

    Args:
        known: queues and job types that have their rows already.
    """
    series = set(known)
    rows: dict[tuple[int, int, str, str], Figures] = {}
    for one in figures:
        pair = (one.queue, one.type)
        if pair not in series:
            if len(series) < MOST_SERIES:
                series.add(pair)
            else:
                pair = (OTHER, OTHER)
        for step in STEPS:
            at = begin_of(one.at, step) if step else 0
            _row(rows, step, at, pair).add(one)
            for several in ((pair[0], ALL), (ALL, ALL)) if step else ():
                whole = _row(rows, step, at, several)
                whole.add(one)
                whole.errors.clear()  # They are counted by job type.
    return [(key[0], key[1], *_values(rows[key])) for key in sorted(rows)]


def together(figures: Iterable[Figures]) -> list[tuple[Any, ...]]:
    """The row, as of `rows_of`, that what was counted of these since the store was made is to be
    added to, as that of others."""
    whole = Figures(OTHER, OTHER)
    for one in figures:
        whole.add(one)
    return [(EVER, 0, *_values(whole))]


def _row(
    rows: dict[tuple[int, int, str, str], Figures], step: int, at: int, pair: Series
) -> Figures:
    key = (step, at, *pair)
    row = rows.get(key)
    if row is None:
        row = rows[key] = Figures(*pair, at)
    return row


def _values(one: Figures) -> tuple[Any, ...]:
    plain = msgspec.structs.astuple(one)
    maps = (one.waits, one.runs, one.errors)
    return (one.queue, one.type, *plain[3:-3], *(_encode(each) for each in maps))


def _encode(counts: Mapping[Any, Any]) -> str:
    return msgspec.json.encode(counts).decode()


_bins: Final = msgspec.json.Decoder(dict[int, int])
_kinds: Final = msgspec.json.Decoder(dict[str, int])


def read_figures(row: Sequence[Any]) -> Figures:
    """Of a row: queue, type, at, then as `Figures`, its maps as JSON."""
    *plain, waits, runs, errors = row
    values: Any = (*plain, _bins.decode(waits), _bins.decode(runs), _kinds.decode(errors))
    return Figures(*values)


_Numbers = tuple[int, int, int, int, float | None]
_depths: Final = msgspec.json.Decoder(dict[str, _Numbers])


def read_sample(at: int, depths: str) -> tuple[int, dict[str, Depth]]:
    """Of a row: when it was taken, and what `write_sample` made."""
    return at, {name: Depth(*numbers) for name, numbers in _depths.decode(depths).items()}


def write_sample(depths: Mapping[str, Depth]) -> str:
    """JSON text: by queue the numbers, in their order."""
    return _encode({name: msgspec.structs.astuple(one) for name, one in depths.items()})


def due_samples(now: int, last: dict[int, int]) -> list[tuple[int, int]]:
    """The steps of which no sample of the stretch that is now is there, and when that began.
    `last`: by step, the moment of the last sample."""
    begins = ((step, begin_of(now, step)) for step in (FINE, COARSE))
    return [(step, at) for step, at in begins if last.get(step, -1) < at]


def unchanged(before: dict[str, Depth], before_at: int, depths: dict[str, Depth], now: int) -> bool:
    """Whether a sample need not be kept: it says what the last one does, which is not old."""
    return depths == before and now - before_at < QUIET * SECOND


def earliest(now: int, step: int) -> int:
    """Stretches that began before this moment are forgotten."""
    return now - KEPT[step] * SECOND
