"""What there is to say of a database and a store in it, changing nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backroom.storage.postgres.schema import Schema

__all__ = ["Examination", "examine"]


@dataclass(frozen=True)
class Examination:
    """What was found."""

    server: str
    """The version of PostgreSQL: "16.4"."""
    user: str
    """Who we are there."""
    encoding: str
    """Of the database; all but UTF8 refuse some texts."""
    version: int
    """Of the tables; 0: there are none."""
    known: int
    """The version of this code."""
    missing: tuple[str, ...]
    """The migrations that are not applied: "0002 what it does"."""
    rights: tuple[str, ...]
    """What the user may not, and has to: "UPDATE on background_jobs"."""
    connections: int
    """Of all users of the server."""
    most_connections: int


async def examine(schema: Schema, link: Any) -> Examination:
    """Looks at a store, also at one that is not there.

    Raises:
        ConfigurationError: what is there is not ours; the server is too old.
        StorageVersionError: it is of a newer Backroom, which leaves this one out.
        StorageError: the server is read-only.
    """
    stored = await schema.opened(link)
    tables, sequences = schema.tables(stored.version)
    server = link.get_server_version()
    user, encoding, used, most = await link.fetchrow(
        "SELECT current_user::text, getdatabaseencoding()::text,"
        " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
        " current_setting('max_connections')::integer"
    )
    rights = await link.fetch(
        "SELECT wanted || ' on ' || part FROM unnest($1::text[]) AS p (part),"
        " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS w (wanted)"
        " WHERE NOT has_table_privilege(part, wanted)"
        " UNION ALL SELECT 'USAGE on ' || part FROM unnest($2::text[]) AS p (part)"
        " WHERE NOT has_sequence_privilege(part, 'USAGE')",
        tables,
        sequences,
    )
    if not stored.version:
        rights = await link.fetch(
            "SELECT 'CREATE on ' || where_ FROM (SELECT 'schema ' || nspname, has_schema_privilege"
            "(oid, 'CREATE') FROM pg_namespace WHERE nspname = coalesce($1::text, current_schema())"
            " UNION ALL SELECT 'database ' || current_database(), has_database_privilege("
            "current_database(), 'CREATE') WHERE $1::text IS NOT NULL AND NOT EXISTS (SELECT FROM"
            " pg_namespace WHERE nspname = $1)) AS p (where_, may) WHERE NOT may",
            schema.statements.schema,
        )
    return Examination(
        server=f"{server.major}.{server.minor}",
        user=user,
        encoding=encoding,
        version=stored.version,
        known=schema.known,
        missing=tuple(one.label for one in schema.missing(stored)),
        rights=tuple(row[0] for row in rights),
        connections=used,
        most_connections=most,
    )
