"""`backroom migrate`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from backroom.cli.commands import PREFIX, STORAGE, Command, on_storage, option
from backroom.cli.plain import count_of, plain
from backroom.errors import ConfigurationError, StorageError, StorageVersionError

if TYPE_CHECKING:
    from backroom.ports import Store
    from backroom.storage.postgres import DatabaseJobStorage

__all__ = ["migrate"]


@click.command(cls=Command, short_help="Make and upgrade the tables of a PostgreSQL storage.")
@click.argument("where", metavar="[URL|MODULE:ATTR]", required=False)
@option("--sql", is_flag=True, help="Print the SQL of what is missing, and change nothing.")
@option("--check", is_flag=True, help="Say what is missing, and change nothing.")
@option("--role", metavar="NAME",
        help="With --sql: the user of the application, who gets the rights it needs.")  # fmt: skip
@option("--from", "version", type=click.IntRange(0), metavar="VERSION",
        envvar=f"{PREFIX}_MIGRATE_FROM",
        help="With --sql: from this version on, 0 being none; asks no database.")  # fmt: skip
@option("--table-name", metavar="NAME", help="With a URL; default background_jobs.")
@option("--schema", metavar="NAME", help="With a URL; default: the first of the search_path.")
@on_storage
def migrate(
    where: str | None,
    sql: bool,
    check: bool,
    role: str | None,
    version: int | None,
    table_name: str | None,
    schema: str | None,
    target: str | None,
    storage: str | None,
    as_json: bool,
) -> None:
    """Make the tables of a PostgreSQL storage, or bring them to the version of this Backroom.

    For example: backroom migrate postgresql://ada@host/app, or: backroom migrate app.jobs:service

    An application does this by itself when it opens its storage, unless it has migrate=False.
    Where its user may make no tables, hand this to one who may:

    backroom migrate URL --sql --role USER > tables.sql

    Exit codes: 0 done, or with --check nothing is missing; 1 refused, or with --check something
    is missing; 2 wrong usage.
    """
    if sql and (check or as_json):
        raise click.UsageError("--sql cannot be combined with --check or --json")
    if not sql and (role is not None or version is not None):
        raise click.UsageError("--role and --from belong to --sql")
    store = _store(where, target, storage, table_name, schema)
    database = _database(store)
    if database is None:
        _say_nothing_to_do(store.url, sql, as_json)
    elif sql:
        _print_sql(database, version, role)
    elif check:
        _check(database, as_json)
    else:
        _apply(database, as_json)


def _store(
    where: str | None,
    target: str | None,
    storage: str | None,
    table_name: str | None,
    schema: str | None,
) -> Store:
    from backroom.cli.target import chosen, load_service
    from backroom.storage.urls import open_storage

    if where is not None:
        context = click.get_current_context()
        command_line = click.core.ParameterSource.COMMANDLINE
        if command_line in map(context.get_parameter_source, ("target", "storage")):
            raise click.UsageError("name the storage once: as an argument, --app or --storage")
        is_url = "://" in where or STORAGE.fullmatch(where) is not None
        target, storage = (None, where) if is_url else (where, None)
    target, storage = chosen(target, storage)
    said = {"table_name": table_name, "schema": schema}
    names: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if target is not None:
        if names:
            raise click.UsageError(f"--table-name and --schema go with a URL; {target} knows its")
        return load_service(target).storage
    try:
        # The kind of the storage, and a driver that is not there, are told by this.
        store = open_storage(storage)
        if names and _database(store) is not None:
            from backroom.storage import DatabaseJobStorage

            store = DatabaseJobStorage(storage, **names)
    except ConfigurationError as error:
        raise click.UsageError(plain(error)) from None
    return store


def _database(store: Store) -> DatabaseJobStorage | None:
    from backroom.cli.asking import database_of

    return database_of(store)


def _say_nothing_to_do(url: str, sql: bool, as_json: bool) -> None:
    from backroom.cli.output import printing, say, to_json

    with printing():
        if as_json:
            to_json({"storage": url, "applied": [], "missing": []})
        else:
            head = "-- " if sql else ""
            say(plain(f"{head}{url} has no tables to migrate: only PostgreSQL storages do"))


def _print_sql(database: DatabaseJobStorage, version: int | None, role: str | None) -> None:
    from backroom.cli.asking import once
    from backroom.cli.output import printing, say

    if version is None:
        try:
            version = once(database.examine()).version
        except StorageVersionError:
            raise
        except ConfigurationError as error:
            hint = f"{error}\n--from 0 prints the whole SQL without asking the database"
            raise click.ClickException(plain(hint)) from None
        except StorageError as error:
            note = f"the database could not be asked, so this is for an empty one: {error}"
            click.echo(plain(note), err=True)
            version = 0
    with printing():
        say(database.migration_sql(version, role).rstrip("\n"))


def _check(database: DatabaseJobStorage, as_json: bool) -> None:
    from backroom.cli.asking import once
    from backroom.cli.output import printing, say, to_json

    found = once(database.examine())
    with printing():
        if as_json:
            to_json({"storage": database.url, "version": found.version, "known": found.known,
                     "missing": found.missing})  # fmt: skip
        elif found.missing:
            say(plain(f"{database.url}: {count_of(len(found.missing), 'migration')} missing"))
            for label in found.missing:
                say(plain(f"  {label}"))
        else:
            say(plain(f"{database.url}: nothing is missing (version {found.version})"))
    if found.missing:
        sys.exit(1)


def _apply(database: DatabaseJobStorage, as_json: bool) -> None:
    from backroom.cli.asking import once
    from backroom.cli.output import printing, say, to_json

    applied = once(database.migrate())
    with printing():
        if as_json:
            to_json({"storage": database.url, "applied": applied, "missing": []})
        else:
            for label in applied:
                say(plain(f"applied {label}"))
            if not applied:
                say(plain(f"{database.url}: nothing is missing"))
