"""What `backroom doctor` looks at in PostgreSQL, before the store is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from backroom.cli.diagnosis import PATIENCE, Finding
from backroom.errors import BackroomError, StorageVersionError

if TYPE_CHECKING:
    from backroom.storage.postgres import DatabaseJobStorage
    from backroom.storage.postgres.examining import Examination

__all__ = ["diagnose_database"]

FULL: Final = 0.9
"""Of the server's connections in use, from which on it is a warning."""


async def diagnose_database(database: DatabaseJobStorage) -> list[Finding]:
    """What the server and the tables say; changes nothing. With an error, it cannot be opened."""
    try:
        found = await asyncio.wait_for(database.examine(), 2 * PATIENCE)
    except TimeoutError:
        return [Finding("error", "storage", f"{database.url} does not answer within"
                        f" {2 * PATIENCE:.0f} s", "look for what the server waits for: SELECT *"
                        " FROM pg_stat_activity")]  # fmt: skip
    except StorageVersionError as error:
        return [Finding("error", "schema", str(error), "upgrade this Backroom")]
    except BackroomError as error:
        return [Finding("error", "storage", str(error), "see above")]
    return [*_server(found), _schema(found), _rights(found)]


def _server(found: Examination) -> Iterator[Finding]:
    says = (
        f"PostgreSQL {found.server}, user {found.user},"
        f" {found.connections} of {found.most_connections} connections in use"
    )
    if found.connections >= FULL * found.most_connections:
        yield Finding(
            "warning", "server", says,
            "raise max_connections, or run fewer processes: each has up to 8",
        )  # fmt: skip
    else:
        yield Finding("ok", "server", says)
    if found.encoding != "UTF8":
        yield Finding(
            "warning", "encoding", f"the database is in {found.encoding}, which lacks characters",
            "make one with ENCODING 'UTF8': jobs with other texts are refused",
        )  # fmt: skip


def _schema(found: Examination) -> Finding:
    if not found.version:
        return Finding(
            "error", "schema", "there are no tables of a job store",
            "backroom migrate makes them, and so does the first worker; or check the URL",
        )  # fmt: skip
    if found.missing:
        return Finding(
            "error", "schema",
            f"version {found.version}, this Backroom needs {found.known}; missing:"
            f" {', '.join(found.missing)}",
            "backroom migrate",
        )  # fmt: skip
    return Finding("ok", "schema", f"version {found.version}")


def _rights(found: Examination) -> Finding:
    if found.rights:
        return Finding(
            "error", "rights", f"{found.user} lacks {', '.join(found.rights)}",
            f"let an administrator carry out what this prints: backroom migrate --sql --role"
            f" {found.user}",
        )  # fmt: skip
    return Finding("ok", "rights", f"{found.user} has all it needs")
