"""Schedules that leave an embedded store for another one, or come from there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import astuple

from backroom.baggage import TICK_BYTES, Freight, Parcel, PastTick, encode_freight, fitting
from backroom.ports import Wake
from backroom.storage.arriving import arrived, mark_of, new_ticks
from backroom.storage.sqlite.ledger import Ledger
from backroom.storage.sqlite.moving import MAKE_PARCELS
from backroom.storage.sqlite.schedules import ADD, CHANGE, KEEP, kept

__all__ = ["pack", "unpack"]

FIRST: Final = """
    SELECT key, octet_length(data) + ifnull(octet_length(options), 0) + kept * ?2 FROM schedule
    ORDER BY key LIMIT ?1
"""
NAMES: Final = (
    "SELECT name FROM schedule WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key"
)
TICKS: Final = """
    SELECT at, until, count, outcome, job, asked, decided_at FROM tick
    WHERE schedule = (SELECT key FROM schedule WHERE name = ?) ORDER BY at
"""
SPANS: Final = "SELECT at, until FROM tick WHERE schedule = ? ORDER BY at"
MORE: Final = "UPDATE schedule SET kept = kept + ?2 WHERE key = ?1"


def pack(ledger: Ledger, limit: int, target: int, label: str) -> Parcel | None:
    """See `Movable.pack_schedules`."""
    sizes = list(ledger.run(FIRST, (limit, TICK_BYTES)))
    if not sizes:
        return None
    keys = json.dumps([key for key, _ in sizes[: fitting(sizes)]])
    found = [kept(ledger.run, str(name)) for (name,) in ledger.run(NAMES, (keys,)).fetchall()]
    schedules = [record for record in found if record is not None]
    freight = Freight(tuple(schedules), {one.name: _ticks(ledger, one.name) for one in schedules})
    for table, column in (("tick", "schedule"), ("schedule", "key")):
        ledger.run(
            f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", (keys,)
        )
    ledger.run(MAKE_PARCELS)
    [(number,)] = ledger.run(
        "INSERT INTO parcel (target, label, jobs) VALUES (?, ?, ?) RETURNING number",
        (target, label, encode_freight(freight)),
    )
    ledger.wakes.add(Wake.CONTROL)
    return Parcel(number, target, label, (), freight)


def _ticks(ledger: Ledger, name: str) -> tuple[PastTick, ...]:
    return tuple(PastTick(*row) for row in ledger.run(TICKS, (name,)))


def unpack(ledger: Ledger, source: int, parcel: Parcel) -> int:
    """See `Movable.unpack_schedules`."""
    mark = mark_of(source)
    row = ledger.run("SELECT value FROM meta WHERE name = ?", (mark,)).fetchone()
    if row is not None and row[0] >= parcel.number:
        return 0
    changes = []
    for comes in parcel.schedules:  # Before anything is written: one may be refused.
        here = kept(ledger.run, comes.name)
        changes.append((ADD if here is None else CHANGE, arrived(here, comes)))
    for change, record in changes:
        ledger.run(change, astuple(record))
    if parcel.freight is not None:
        _keep_ticks(ledger, parcel.freight.ticks)
    ledger.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (mark, parcel.number))
    ledger.wakes.add(Wake.CONTROL)
    return len(parcel.schedules)


def _keep_ticks(ledger: Ledger, ticks: Mapping[str, Sequence[PastTick]]) -> None:
    for name, come in ticks.items():
        [(key,)] = ledger.run("SELECT key FROM schedule WHERE name = ?", (name,))
        new = new_ticks(list(ledger.run(SPANS, (key,))), come)
        KEEP.run(ledger, [(key, *astuple(tick)) for tick in new])
        ledger.run(MORE, (key, len(new)))
