"""SQL for those who may make tables, where the application may not."""

from __future__ import annotations

from typing import Final

from backroom.errors import ConfigurationError
from backroom.storage.postgres.schema import Schema, Stored

__all__ = ["grants", "script"]

ROLE: Final = "ROLE"
"""Stands for the user of the application where none was named."""
LONGEST: Final = 63
"""Bytes of a name in PostgreSQL."""

_BEFORE: Final = """DO $$ BEGIN
    IF (SELECT value FROM {meta} WHERE name = 'schema') <> {version} THEN
        RAISE EXCEPTION 'these tables are not of version {version}; nothing was changed';
    END IF;
END $$;"""


def script(schema: Schema, stored: Stored, role: str | None = None) -> str:
    """What brings a store from what is there to the version of this code, a transaction for each
    step, and lets `role` use it. To be carried out once, by a user who may make tables: where
    something else is there than was thought, it changes nothing.

    Raises:
        ConfigurationError: `role` can be no name.
    """
    missing, name = schema.missing(stored), schema.statements.name("jobs")
    parts = [f"-- The tables of the job store {name}, version {schema.known}."]
    if not missing:
        parts.append(f"-- They are of version {stored.version}: nothing is missing.")
    for migration in missing:
        statements = [f"-- {migration.label}", "BEGIN;", schema.turn()]
        if migration.version > 1:
            meta = schema.statements.name("meta")
            statements.append(_BEFORE.format(meta=meta, version=migration.version - 1))
        elif schema.statements.schema is not None:
            statements.append(f'CREATE SCHEMA IF NOT EXISTS "{schema.statements.schema}";')
        parts.append("\n".join([*statements, "", schema.text(migration), "COMMIT;"]))
    parts.append("\n".join(grants(schema, role)))
    return "\n\n".join(parts) + "\n"


def grants(schema: Schema, role: str | None) -> list[str]:
    """What a user needs who works on the tables and did not make them."""
    named = ROLE if role is None else _quoted(role)
    tables, sequences = schema.tables(schema.known)
    lines = [
        *("GRANT SELECT, INSERT, UPDATE, DELETE ON", *_listed(tables), f"TO {named};"),
        *("GRANT USAGE ON SEQUENCE", *_listed(sequences), f"TO {named};"),
    ]
    if schema.statements.schema is not None:
        lines.insert(0, f'GRANT USAGE ON SCHEMA "{schema.statements.schema}" TO {named};')
    if role is not None:
        return lines
    head = f"-- For the user that the application connects as, in place of {ROLE}:"
    return [head, *(f"-- {line}" for line in lines)]


def _listed(names: list[str]) -> list[str]:
    return [f"    {name}{',' if name != names[-1] else ''}" for name in names]


def _quoted(role: str) -> str:
    if not role or "\0" in role or len(role.encode()) > LONGEST:
        raise ConfigurationError(
            f"{role!r} can be no role of PostgreSQL: names have 1 to {LONGEST} bytes"
        )
    doubled = role.replace('"', '""')
    return f'"{doubled}"'
