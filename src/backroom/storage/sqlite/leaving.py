"""Schedules that leave an embedded store for another one, or come from there."""

from __future__ import annotations

import json
from typing import Final

from msgspec.structs import astuple

from backroom.baggage import Parcel, encode_schedules, fitting
from backroom.ports import Wake
from backroom.storage.arriving import arrived, mark_of
from backroom.storage.sqlite.ledger import Ledger
from backroom.storage.sqlite.moving import MAKE_PARCELS
from backroom.storage.sqlite.schedules import ADD, CHANGE, kept

__all__ = ["pack", "unpack"]

FIRST: Final = """
    SELECT key, octet_length(data) + ifnull(octet_length(options), 0) FROM schedule
    ORDER BY key LIMIT ?
"""
NAMES: Final = (
    "SELECT name FROM schedule WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key"
)


def pack(ledger: Ledger, limit: int, target: int, label: str) -> Parcel | None:
    """See `Movable.pack_schedules`."""
    sizes = list(ledger.run(FIRST, (limit,)))
    if not sizes:
        return None
    keys = json.dumps([key for key, _ in sizes[: fitting(sizes)]])
    found = [kept(ledger.run, str(name)) for (name,) in ledger.run(NAMES, (keys,)).fetchall()]
    schedules = [record for record in found if record is not None]
    for table, column in (("tick", "schedule"), ("schedule", "key")):
        ledger.run(
            f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", (keys,)
        )
    ledger.run(MAKE_PARCELS)
    [(number,)] = ledger.run(
        "INSERT INTO parcel (target, label, jobs) VALUES (?, ?, ?) RETURNING number",
        (target, label, encode_schedules(schedules)),
    )
    ledger.wakes.add(Wake.CONTROL)
    return Parcel(number, target, label, (), schedules)


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
    ledger.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (mark, parcel.number))
    ledger.wakes.add(Wake.CONTROL)
    return len(parcel.schedules)
