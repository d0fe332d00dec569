"""The versions of the tables, each made from the one before it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from backroom.storage.postgres.statements import read

__all__ = ["MIGRATIONS", "Migration", "tables_of"]

_MADE: Final = re.compile(r"^\s*(CREATE|DROP) (TABLE|SEQUENCE) (?:IF EXISTS )?\{(\w+)\}", re.M)


@dataclass(frozen=True)
class Migration:
    """One step forward. There is none back.

    Args:
        version: of the tables after it, one more than before.
        name: what it does, for people.
        sql: the statements, with `{table}` for the names; one transaction carries out all.
        compatible: the oldest version whose code may work on the tables after it. Where that is
            not newer than the version before, workers go on while the tables change: nothing
            that they read or write may go, or be demanded of them.
    """

    version: int
    name: str
    sql: str
    compatible: int

    @property
    def label(self) -> str:
        return f"{self.version:04} {self.name}"


MIGRATIONS: Final = (
    Migration(1, "the first tables", read("schema"), compatible=1),
    Migration(2, "schedules and their ticks", read("migrations/0002_schedules"), compatible=1),
    Migration(
        3,
        "versions of parked data",
        read("migrations/0003_versions_of_parked_data"),
        compatible=1,
    ),
    Migration(4, "steps of handlers", read("migrations/0004_steps"), compatible=1),
    Migration(
        5, "keys that are held not until the end", read("migrations/0005_holds"), compatible=1
    ),
    Migration(6, "workflows and batches", read("migrations/0006_flows"), compatible=1),
    Migration(7, "limits and turns", read("migrations/0007_limits"), compatible=1),
    Migration(
        8, "workflows on their way", read("migrations/0008_flows_on_their_way"), compatible=1
    ),
    Migration(9, "figures over time", read("migrations/0009_figures"), compatible=1),
    Migration(10, "what operators do", read("migrations/0010_steering"), compatible=1),
    Migration(11, "counts that are kept", read("migrations/0011_counts"), compatible=1),
    Migration(
        12,
        "when attempts that failed began",
        read("migrations/0012_begins_of_attempts"),
        compatible=1,
    ),
)
"""All, in their order. The SQL of the next one goes to `migrations/0007_what_it_does.sql`, and is
`read("migrations/0007_what_it_does")` here. One that was released never changes."""


def tables_of(migrations: tuple[Migration, ...]) -> tuple[list[str], list[str]]:
    """What is there after these: the tables, and the sequences."""
    there: dict[str, dict[str, None]] = {"TABLE": {}, "SEQUENCE": {}}
    for migration in migrations:
        for verb, kind, name in _MADE.findall(migration.sql):
            if verb == "CREATE":
                there[kind][name] = None
            else:
                there[kind].pop(name, None)
    return list(there["TABLE"]), list(there["SEQUENCE"])
