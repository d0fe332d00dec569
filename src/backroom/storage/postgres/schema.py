"""The tables: made where there are none, refused where they are of another version."""

from __future__ import annotations

from typing import Any, Final

from backroom.errors import StorageVersionError
from backroom.storage.postgres.statements import Statements

__all__ = ["VERSION", "prepare"]

VERSION: Final = 1
_LOCK: Final = 0x4261636B726F6F6D  # "Backroom"


async def prepare(link: Any, statements: Statements) -> None:
    """Makes the tables if they are not there. Two that do so at once come one after the other.

    Raises:
        StorageVersionError: they are of a newer Backroom.
    """
    async with link.transaction():
        await link.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        there = await link.fetchval("SELECT to_regclass($1)", statements.name("meta"))
        if there is None:
            if statements.schema is not None:
                await link.execute(f'CREATE SCHEMA IF NOT EXISTS "{statements.schema}"')
            await link.execute(statements.create())
            return
        version = await link.fetchval(
            f"SELECT value FROM {statements.name('meta')} WHERE name = 'schema'"
        )
        if version != VERSION:
            raise StorageVersionError(
                f"the tables {statements.name('jobs')} are of version {version}, this Backroom"
                f" knows version {VERSION}: use the Backroom that made them, or a newer one"
            )
