"""The versions of the tables, each made from the one before it.

A file tells two numbers. Its header (`user_version`) has the oldest version whose code may use
it: older code refuses it. Its table `meta` has the version of its tables, and whoever opens it
adds what is missing there; code of a version before goes on beside that, and opens it still.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import apsw

__all__ = ["MIGRATIONS", "bring_forward", "make"]

MIGRATIONS: Final = (
    "schema",
    "0002_schedules",
    "0003_versions_of_parked_data",
    "0004_steps",
    "0005_holds",
    "0006_flows",
    "0007_limits",
    "0008_flows_on_their_way",
    "0009_figures",
    "0010_counts",
    "0011_steering",
    "0012_begins_of_attempts",
)
"""The files of all versions, from the first. One that was released never changes: what it made
is what a later one finds."""


def make(connection: apsw.Connection) -> None:
    """All tables, in an empty database, within a transaction."""
    _apply(connection, 0)


def bring_forward(connection: apsw.Connection) -> None:
    """Adds what a store of an earlier version lacks, whole or not at all. Of two who open it at
    once, one does so, and the other finds it done."""
    if _version(connection) >= len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _apply(connection, _version(connection))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # A full disk has ended it already.
            connection.execute("ROLLBACK")
        raise


def _apply(connection: apsw.Connection, version: int) -> None:
    for name in MIGRATIONS[version:]:
        connection.execute(files("backroom.storage.sqlite").joinpath(f"{name}.sql").read_text())
    if version < len(MIGRATIONS):
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (len(MIGRATIONS),))


def _version(connection: apsw.Connection) -> int:
    """The first one had no need to say so."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    return 1 if row is None else int(row[0])
