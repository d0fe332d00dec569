"""The tables of a store: looked at when it opens, made and brought forward where that is wanted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeVar

import asyncpg

from backroom.errors import (
    ConfigurationError,
    StorageCorruptError,
    StorageError,
    StorageVersionError,
)
from backroom.storage.postgres.migrations import MIGRATIONS, Migration, tables_of
from backroom.storage.postgres.statements import Statements

__all__ = ["OLDEST_SERVER", "PREPARE", "Schema", "Stored"]

T = TypeVar("T")
Run = Callable[[Callable[[Any], Awaitable[Any]]], Awaitable[Any]]
"""Carries out a look or a change on a connection."""

OLDEST_SERVER: Final = 14
TURN: Final = 60.0
"""Seconds that one who migrates waits for another who does."""
LOCK: Final = 2.0
"""Seconds that a migration waits for a lock of a table: as long, all who use it wait, too."""
PATIENCE: Final = 60.0
"""Seconds for which it tries again, with pauses in which the others go on."""
PAUSE: Final = 1.0
PREPARE: Final = 300.0
"""Seconds that making or changing the tables may take, waiting for who does it included."""


class Stored(NamedTuple):
    """What a database holds of a store: version 0 is nothing."""

    version: int = 0
    compatible: int = 0


class Schema:
    """The tables of one store."""

    def __init__(
        self,
        name: str,
        statements: Statements,
        migrations: tuple[Migration, ...] = MIGRATIONS,
        read_only: bool = False,
    ) -> None:
        """`name`: of the database, as errors tell it. `read_only`: nothing is to be changed."""
        self.name = name
        self.read_only = read_only
        self.statements = statements
        self.migrations = migrations

    @property
    def known(self) -> int:
        """The version of this code."""
        return self.migrations[-1].version

    def tables(self, version: int) -> tuple[list[str], list[str]]:
        """The quoted names of the tables and of the sequences of a version."""
        tables, sequences = tables_of(self.migrations[:version])
        return [self.statements.name(one) for one in tables], [
            self.statements.name(one) for one in sequences
        ]

    def missing(self, stored: Stored) -> tuple[Migration, ...]:
        return self.migrations[stored.version :]

    # -- opening ---------------------------------------------------------------------------------

    async def prepare(self, run: Run, migrate: bool) -> bool:
        """Sees to it that this code can work on the tables. Where they are as they should be,
        this is one look without a lock. Returns whether it changed something.

        Raises:
            ConfigurationError: the server is too old; there are no tables, and they may not or
                shall not be made; others of that name are there. StorageVersionError: they are
                of an older version and shall not be changed, or of a newer one that leaves this
                code out. StorageError: the server is read-only, or somebody was in the way.
        """
        stored = await run(self.opened)
        if not self.missing(stored):
            return False
        if migrate:
            return bool(await self.migrate(run))
        if stored.version:
            raise StorageVersionError(
                f"{self.where}: the tables are of version {stored.version}, this Backroom needs"
                f" version {self.known}: run `backroom migrate`, or start what may change them"
                " (migrate=True)"
            )
        raise ConfigurationError(
            f"{self.where}: there are no tables of a job store: run `backroom migrate`, or start"
            " what may make them (migrate=True); or check URL, table_name and schema"
        )

    async def opened(self, link: Any) -> Stored:
        """A look at a server and a store that are to be used."""
        self._check_server(link)
        stored = await self.look(link)
        if stored.compatible > self.known:
            raise StorageVersionError(
                f"{self.where}: the tables are of version {stored.version} and want a Backroom"
                f" that knows version {stored.compatible} or newer, this one knows version"
                f" {self.known}: upgrade it, as was done with the one that changed them"
            )
        return stored

    @property
    def where(self) -> str:
        return f"{self.name}, {self.statements.name('jobs')}"

    def _check_server(self, link: Any) -> None:
        version = link.get_server_version()
        if version.major < OLDEST_SERVER:
            raise ConfigurationError(
                f"{self.name} is PostgreSQL {version.major}.{version.minor}; Backroom needs"
                f" version {OLDEST_SERVER} or newer: upgrade the server, or name another one"
            )
        # The server tells these with every connection, unasked.
        said = {name: getattr(link.get_settings(), name, "off") for name in _READ_ONLY}
        for name, value in said.items():
            if value == "on" and not self.read_only:
                raise StorageError(f"{self.name} is read-only ({name} is on): {_READ_ONLY[name]}")

    async def look(self, link: Any) -> Stored:
        """The version of what is there; changes nothing.

        Raises:
            ConfigurationError: what is there is not ours, or may not be read.
            StorageCorruptError: tables are missing.
        """
        meta = self.statements.name("meta")
        if link.is_in_transaction() and not await link.fetchval("SELECT to_regclass($1)", meta):
            return await self._nothing(link)  # In a transaction, a look at nothing is the end.
        tables, sequences = self.tables(self.known)
        try:
            # A view has no tableoid.
            rows = await link.fetch(
                "SELECT name, value, tableoid, (SELECT array_agg(part) FROM unnest($1::text[]) AS"
                f" p (part) WHERE to_regclass(part) IS NULL) AS gone FROM {meta}"
                " WHERE name IN ('schema', 'compatible')",
                [*tables, *sequences],
            )
        except asyncpg.UndefinedTableError:
            return await self._nothing(link)
        except asyncpg.InsufficientPrivilegeError as error:
            raise ConfigurationError(
                f"{self.where}: {error}; let an administrator carry out the GRANTs that `backroom"
                " migrate --sql --role NAME` prints"
            ) from None
        except (asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError, asyncpg.DataError):
            raise self._foreign(meta) from None
        said = {row["name"]: row["value"] for row in rows}
        version = said.get("schema")
        if not isinstance(version, int):
            raise self._foreign(meta)
        should = {one for kind in self.tables(version) for one in kind}
        gone = sorted(should.intersection(rows[0]["gone"] or ()))
        if gone:
            raise StorageCorruptError(
                f"{self.where}: {', '.join(gone)} of this job store is missing; restore it from a"
                " backup of the database, or remove what is left of the store"
            )
        return Stored(version, said.get("compatible", version))

    async def _nothing(self, link: Any) -> Stored:
        """No store, if nothing else has one of its names."""
        tables, sequences = tables_of(self.migrations)
        names = [self.statements.bare(one) for one in (*tables, *sequences)]
        found = await link.fetchval(
            "SELECT min(relname) FROM pg_class WHERE relname = ANY($2) AND relnamespace = (SELECT"
            " oid FROM pg_namespace WHERE nspname = coalesce($1::text, current_schema()))",
            self.statements.schema,
            names,
        )
        if found is None:
            return Stored()
        # Who opens it in the same moment may have made it since we looked.
        if await link.fetchval("SELECT to_regclass($1)", self.statements.name("meta")):
            return await self.look(link)
        raise self._foreign(f'"{found}"')

    def _foreign(self, found: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self.where}: there is already a {found}, and it is none of a job store, or what is"
            " left of one; nothing was touched: choose another table_name or schema, or rename it"
        )

    # -- going forward ---------------------------------------------------------------------------

    async def migrate(self, run: Run) -> list[Migration]:
        """Applies what is missing, each step in a transaction of its own; what was applied.

        Of several who do so at once one does, and the others wait for it. A step that cannot
        have its locks within `LOCK` seconds lets those pass who are in its way, and those who
        wait behind it, and tries again, for `PATIENCE` seconds.
        """
        done: list[Migration] = []
        until = time.monotonic() + PATIENCE
        while True:
            step = await run(self._step)
            if step is None:
                return done
            if isinstance(step, Migration):
                done.append(step)
            elif time.monotonic() >= until:
                raise StorageError(f"{self.where}: {step}; nothing was changed by this step")
            else:
                await asyncio.sleep(PAUSE)

    async def _step(self, link: Any) -> Migration | str | None:
        """The next migration; None: there is none; or why it could not be applied now."""
        migration = None
        try:
            async with link.transaction():
                await link.execute(self.turn())
                missing = self.missing(await self.opened(link))
                if not missing:
                    return None
                migration = missing[0]
                await self._make_schema(link)
                await link.execute(self.text(migration))
        except (asyncpg.exceptions.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if migration is None:
                return f"another process migrates these tables, since more than {TURN:g} s"
            return f"migration {migration.label} waits for {await self._holders(link)}"
        except asyncpg.InsufficientPrivilegeError as error:
            raise ConfigurationError(
                f"{self.where}: the tables cannot be made or changed: {error}; let an"
                " administrator carry out what `backroom migrate --sql --role NAME` prints"
            ) from None
        except asyncpg.exceptions.InvalidSchemaNameError as error:
            raise ConfigurationError(
                f"{self.where}: {error}: name one with schema=, or set the search_path"
            ) from None
        except (asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError) as error:
            raise ConfigurationError(
                f"{self.where}: {error}; nothing was changed: choose another table_name or schema"
            ) from None
        return migration

    async def _make_schema(self, link: Any) -> None:
        # IF NOT EXISTS asks for the right to make it also where it is there.
        schema = self.statements.schema
        there = "SELECT 1 FROM pg_namespace WHERE nspname = $1"
        if schema is not None and not await link.fetchval(there, schema):
            await link.execute(f'CREATE SCHEMA "{schema}"')

    def turn(self) -> str:
        """Waits for those who migrate this store; for nobody else."""
        schema = self.statements.schema
        where = "current_schema()" if schema is None else f"'{schema}'"
        return (
            f"SET LOCAL statement_timeout = {round(PREPARE * 1000)};\n"
            f"SET LOCAL lock_timeout = {round(TURN * 1000)};\n"
            "SELECT pg_advisory_xact_lock(hashtextextended("
            f"concat('backroom ', {where}, '.{self.statements.table}'), 0));\n"
            f"SET LOCAL lock_timeout = {round(LOCK * 1000)};"
        )

    def text(self, migration: Migration) -> str:
        """A migration and the mark that it was applied."""
        return (
            f"{self.statements.making(migration.sql).strip()}\n\n"
            f"INSERT INTO {self.statements.name('meta')} (name, value)\n"
            f"    VALUES ('schema', {migration.version}), ('compatible', {migration.compatible})\n"
            "    ON CONFLICT (name) DO UPDATE SET value = excluded.value;"
        )

    async def _holders(self, link: Any) -> str:
        """Who has been using the tables for longest."""
        tables, _ = self.tables(self.known)
        rows = await link.fetch(
            "SELECT DISTINCT a.xact_start, a.pid, a.application_name, a.usename FROM"
            " pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE a.pid <>"
            " pg_backend_pid() AND a.xact_start IS NOT NULL AND l.relation IN (SELECT"
            " to_regclass(part) FROM unnest($1::text[]) AS p (part)) ORDER BY 1 LIMIT 3",
            tables,
        )
        held = ", ".join(
            f"{row['pid']} ({row['application_name'] or 'no name'}, user {row['usename']}, since"
            f" {row['xact_start']:%H:%M:%S} UTC)"
            for row in rows
        )
        return (
            f"transactions that use the tables, longest: {held}; end them (SELECT"
            " pg_terminate_backend(pid)), or try again later"
            if held
            else "transactions that use the tables; try again later"
        )


_READ_ONLY: Final = {
    "in_hot_standby": "it is a standby; name its primary, or all with target_session_attrs=primary"
    " after a ? in the URL; for look-ups alone, read_only=True takes it",
    "default_transaction_read_only": "ALTER ROLE or ALTER DATABASE ... RESET"
    " default_transaction_read_only lets it write",
}
