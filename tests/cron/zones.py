"""Every zone of tzdata, in classes whose clocks show the same from 2020 to 2030.

A class is told by what stands in the files of tzdata, so that nothing is lost: what the clock
is set to when the years begin, each change from then on, and the rule for the time after the last.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tests.cron.oracle import HOUR, shown

__all__ = ["FIRST", "LAST", "Table", "classes", "names", "turns"]

FIRST = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
LAST = int(datetime(2031, 1, 1, tzinfo=UTC).timestamp())
MARGIN = 7 * 24 * HOUR
"""What comes before and after these years is looked at as well, for so long."""


class Table(NamedTuple):
    """How clocks are set."""

    offset: int | None
    """At the beginning, in seconds; None: as the rule has it."""
    changes: tuple[tuple[int, int], ...]
    """Moments, and the offset from each of them on."""
    rule: bytes
    """For what comes after the last change in the file."""


def names() -> list[str]:
    """Of every zone of tzdata."""
    return files("tzdata").joinpath("zones").read_text().split()


@cache
def classes() -> dict[Table, list[str]]:
    """The zones that are set alike."""
    found: defaultdict[Table, list[str]] = defaultdict(list)
    for name in names():
        found[table(name)].append(name)
    return dict(found)


def table(name: str) -> Table:
    """What the file of a zone says of these years (RFC 9636)."""
    data = files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    assert data[:4] == b"TZif"
    assert data[4:5] >= b"2"
    utc, std, leaps, times, types, chars = struct.unpack_from(">6l", data, 20)
    # A block with moments of 32 bits comes first; the same in 64 bits, and the rule, follow.
    at = 44 + times * 5 + types * 6 + chars + leaps * 8 + std + utc
    utc, std, leaps, times, types, chars = struct.unpack_from(">6l", data, at + 20)
    at += 44
    moments = struct.unpack_from(f">{times}q", data, at)
    kinds = data[at + times * 8 : at + times * 9]
    at += times * 9
    offsets = [struct.unpack_from(">l", data, at + kind * 6)[0] for kind in range(types)]
    at += types * 6 + chars + leaps * 12 + std + utc
    offset: int | None = offsets[0]
    changes: list[tuple[int, int]] = []
    for moment, kind in zip(moments, kinds, strict=True):
        if moment <= FIRST - MARGIN:
            offset = offsets[kind]
        elif moment <= LAST + MARGIN and offsets[kind] != (changes[-1][1] if changes else offset):
            changes.append((moment, offsets[kind]))
    if not moments or moments[-1] <= FIRST - MARGIN:
        offset = None  # The rule tells all.
    return Table(offset, tuple(changes), data[at:].strip())


def turns(zone: ZoneInfo, first: int = FIRST, last: int = LAST) -> Iterator[int]:
    """Each moment from which on a clock is set otherwise than a second before."""
    before, offset = first, shown(zone, first) - first
    for after in range(first + 6 * HOUR, last + 1, 6 * HOUR):
        changed = shown(zone, after) - after
        if changed != offset:
            low, high = before, after
            while high - low > 1:
                middle = (low + high) // 2
                if shown(zone, middle) - middle == offset:
                    low = middle
                else:
                    high = middle
            yield high
        before, offset = after, changed
