"""What the tests of the tables share: a store with versions that do not exist yet, a look at the
server from beside, a process that is killed while it migrates."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote, urlsplit

import asyncpg

from backroom import DatabaseJobStorage
from backroom.storage.postgres.migrations import MIGRATIONS, Migration
from backroom.storage.postgres.schema import Schema
from tests.servers.fixtures import PostgresPlace

__all__ = [
    "GATE",
    "GATED",
    "NEWER",
    "SECRET",
    "STRICT",
    "WRITTEN",
    "a_user",
    "beside",
    "columns",
    "storage",
]

NEWER: Final = Migration(
    MIGRATIONS[-1].version + 1,
    "a note beside each worker",
    "ALTER TABLE {workers} ADD COLUMN note text;\n"
    "CREATE TABLE {notes} (id uuid PRIMARY KEY, said text);\n"
    "CREATE INDEX {notes_said} ON {notes} (said);",
    compatible=1,
)
STRICT: Final = Migration(
    NEWER.version, "a note that has to be", NEWER.sql, compatible=NEWER.version
)
SECRET: Final = "s3cr@t/of:ada?#%"
WRITTEN: Final = quote(SECRET, safe="")
GATE: Final = 77
GATED: Final = Migration(
    NEWER.version,
    "a note, and a wait for a gate",
    f"{NEWER.sql}\nSET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({GATE});",
    compatible=1,
)


def storage(
    place: PostgresPlace, *further: Migration, url: str | None = None, **settings: Any
) -> DatabaseJobStorage:
    """Of a Backroom that knows these versions, too."""
    settings = {"schema": place.schema, **settings}
    storage = DatabaseJobStorage(url or place.url, **settings)
    storage._schema = Schema(storage.url, storage._statements, (*MIGRATIONS, *further))
    return storage


@asynccontextmanager
async def beside(place: PostgresPlace) -> AsyncIterator[asyncpg.Connection]:
    """A connection of an administrator, in the schema of the test."""
    connection = await asyncpg.connect(
        place.url, server_settings={"search_path": place.schema, "application_name": "beside"}
    )
    try:
        yield connection
    finally:
        connection.terminate()
        await asyncio.sleep(0)


@asynccontextmanager
async def a_user(place: PostgresPlace, *grants: str) -> AsyncIterator[str]:
    """The URL of a user with that password and these rights."""
    name = f"ada_{place.schema}"
    parts = urlsplit(place.url)
    host = parts.netloc.rpartition("@")[2]
    async with beside(place) as link:
        await link.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
        try:
            for grant in grants:
                await link.execute(f"{grant} TO {name}")
            yield parts._replace(netloc=f"{name}:{WRITTEN}@{host}").geturl()
        finally:
            await link.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


async def columns(link: asyncpg.Connection, table: str) -> Sequence[str]:
    """Of a table in the schema of the test; none: there is no such table."""
    rows = await link.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0", table
    )
    return [row[0] for row in rows]


async def _migrate(url: str, schema: str) -> None:
    await storage(PostgresPlace(url, schema), GATED).migrate()


if __name__ == "__main__":
    asyncio.run(_migrate(*sys.argv[1:]))
