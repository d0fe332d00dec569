"""Opening the database file of a folder: settings, schema, and every reason to refuse it."""

from __future__ import annotations

import errno
import secrets
from contextlib import suppress
from typing import Final, Literal

import apsw

from backroom.errors import (
    ConfigurationError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageVersionError,
)
from backroom.storage.folder import Folder
from backroom.storage.sqlite.inserts import too_large
from backroom.storage.sqlite.ledger import APPLICATION_ID, SCHEMA_VERSION, Ledger
from backroom.storage.sqlite.migrations import bring_forward

__all__ = ["Durability", "connect", "damaged", "refusal", "steady_plans"]

Durability = Literal["full", "os"]

FIXED_SQLITE: Final = (3, 51, 3)
"""The first release without the race between connections that reset a write-ahead log."""
CHECKED_WHOLE: Final = 16 * 2**20
"""Up to this many bytes a file is checked whole when it is opened, its indexes against its rows."""
SMALLEST: Final = 512
"""Bytes of the smallest page, and so of the smallest database."""
BUSY_TIMEOUT: Final = 30_000
"""Milliseconds; only for tools of others that lock the database, ours queue on a file lock."""
WORKERS_FROM: Final = 2**31
TOKENS_FROM: Final = 2**47
"""Worker numbers and tokens of a store begin anywhere below, so that those of two stores do not
meet. In a row they take four and six bytes."""


def connect(folder: Folder, durability: Durability) -> tuple[apsw.Connection, apsw.Connection]:
    """A connection that writes and one that reads. To be called while `folder.writing`.

    Raises:
        StorageCorruptError: damaged, empty where jobs were, or not a job store.
        StorageVersionError: written by a newer Backroom.
        StorageError: what the disk or the system says.
    """
    _refuse_old_sqlite()
    opened: list[apsw.Connection] = []
    try:
        if durability == "full":
            folder.sync_log()
        fresh = folder.prepare() or _is_unmade(folder)
        opened.append(writer := _connect(folder, durability))
        if fresh:
            _create(writer)
        else:
            _examine(writer, folder)
            bring_forward(writer)
        opened.append(reader := _connect(folder, durability))
        reader.execute("PRAGMA query_only = true")
        folder.mark()
    except BaseException as error:
        for connection in opened:
            with suppress(apsw.Error):
                connection.close()
        if isinstance(error, apsw.SQLError):
            # Our statements are right, so it is what they speak of.
            raise StorageCorruptError(damaged(folder, str(error)), unchanged=True) from error
        if isinstance(error, apsw.Error | OSError):
            raise refusal(folder, error) from error
        raise
    return writer, reader


def _create(connection: apsw.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        Ledger(connection).create(
            secrets.randbits(62), secrets.randbelow(WORKERS_FROM), secrets.randbelow(TOKENS_FROM)
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # A full disk has ended it already.
            connection.execute("ROLLBACK")
        raise


def _connect(folder: Folder, durability: Durability) -> apsw.Connection:
    connection = apsw.Connection(
        str(folder.database), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=200
    )
    try:
        _settle(connection, durability)
    except BaseException:
        connection.close()
        raise
    return connection


def _settle(connection: apsw.Connection, durability: Durability) -> None:
    connection.set_busy_timeout(BUSY_TIMEOUT)
    steady_plans(connection)
    synchronous = "FULL" if durability == "full" else "NORMAL"
    for pragma in (
        "journal_mode = WAL",
        f"synchronous = {synchronous}",
        "fullfsync = true",
        "wal_autocheckpoint = 2000",
        "journal_size_limit = 67108864",
        "cache_size = -8000",
        "temp_store = MEMORY",
        "trusted_schema = false",
        "cell_size_check = true",
    ):
        list(connection.execute(f"PRAGMA {pragma}"))


def steady_plans(connection: apsw.Connection) -> None:
    """Statements keep the plan they were prepared with. Where SQLite may learn of the values, it
    prepares every claim anew as its moment is another one: ten times its price."""
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)


def _refuse_old_sqlite() -> None:
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < FIXED_SQLITE:
        raise ConfigurationError(
            f"apsw brings SQLite {apsw.sqlite_lib_version()}, which can corrupt a database that"
            " several connections write; install apsw 3.51.3 or newer"
        )


def _is_unmade(folder: Folder) -> bool:
    """Whether the database still has no tables, since a process died while it made them.

    Only reads, so that a file that is refused stays as it is.

    Raises:
        StorageCorruptError: it is not a job store, or not any more.
        StorageVersionError: written by a newer Backroom.
    """
    if folder.database.stat().st_size < SMALLEST:
        raise StorageCorruptError(damaged(folder, "it is too short for a database"), unchanged=True)
    try:
        application, version, tables = _header(folder)
    except apsw.ReadOnlyError as error:
        why = getattr(error, "extendedresult", 0)  # Not in its stubs.
        if folder.marked or why != apsw.SQLITE_READONLY_ROLLBACK:
            raise
        _undo_first_write(folder)
        if not folder.database.stat().st_size:
            return True
        application, version, tables = _header(folder)
    if application == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            raise StorageVersionError(
                f"{folder.database} has schema version {version}, this Backroom knows up to"
                f" {SCHEMA_VERSION}: upgrade Backroom; the file was not touched"
            )
        if version < 1 or not tables:
            raise StorageCorruptError(
                damaged(folder, "its header or its tables are gone"), unchanged=True
            )
        return False
    if folder.marked:
        raise StorageCorruptError(
            damaged(folder, "its header is not that of a job store"), unchanged=True
        )
    if application or version or tables:
        raise StorageCorruptError(
            f"{folder.database} is a database of another application, not a job store: name"
            " another folder, or move that file away"
        )
    return True


def _header(folder: Folder) -> tuple[int, int, int]:
    """What the database says of itself: its application, its version, how many tables it has."""
    connection = apsw.Connection(str(folder.database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.set_busy_timeout(BUSY_TIMEOUT)
        application = connection.pragma("application_id")
        version = connection.pragma("user_version")
        [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_schema")
        return application, version, tables
    finally:
        connection.close()


def _undo_first_write(folder: Folder) -> None:
    """A process or the machine died in the one write that SQLite makes without the log, that of
    a new database's first page. Who may write has SQLite take it back, from its journal."""
    connection = apsw.Connection(str(folder.database), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT)
        connection.pragma("user_version")
    finally:
        connection.close()


def _examine(connection: apsw.Connection, folder: Folder) -> None:
    """Cheap for any size, thorough for small files."""
    pages, page_size = connection.pragma("page_count"), connection.pragma("page_size")
    size = folder.database.stat().st_size
    log_size = folder.log.stat().st_size if folder.log.exists() else 0
    if size + log_size < pages * page_size:
        raise StorageCorruptError(
            damaged(folder, f"it has {size} bytes and should have {pages * page_size}"),
            unchanged=True,
        )
    if pages * page_size <= CHECKED_WHOLE:
        [(verdict,)] = connection.execute("PRAGMA integrity_check(1)")
        if verdict != "ok":
            raise StorageCorruptError(damaged(folder, verdict), unchanged=True)


def damaged(folder: Folder, what: str) -> str:
    """What to say of a file that is damaged, and what to do about it."""
    return (
        f"{folder.database} is damaged ({what}); nothing was changed. Stop all processes that"
        " use it, keep a copy of the folder, then restore a backup, or save what can be read"
        f" with: sqlite3 {folder.database} .recover | sqlite3 recovered.db"
    )


def refusal(folder: Folder, error: apsw.Error | OSError) -> StorageError:
    """An error of SQLite, or of the system around it, as one of ours, with what to do about it."""
    if isinstance(error, apsw.FullError) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    ):
        return StorageFullError(
            f"no room left on the device of {folder.path}: nothing of this call was kept; what"
            " was kept before is safe, and work goes on when there is room",
            unchanged=True,
        )
    if isinstance(error, apsw.TooBigError):
        return too_large()
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return StorageCorruptError(damaged(folder, str(error)), unchanged=True)
    if isinstance(error, (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError)):
        return StorageError(
            f"{folder.database} cannot be opened for writing ({error}); give this user the"
            " rights to the folder and the files in it"
        )
    if isinstance(error, apsw.BusyError):
        return StorageError(
            f"{folder.database} was locked by another program for {BUSY_TIMEOUT / 1000:.0f} s;"
            " nothing of this call was kept; close that program",
            unchanged=True,
        )
    what = folder.database if isinstance(error, apsw.Error) else folder.path
    return StorageError(
        f"{what} failed ({error}); whether this call was kept is not known; calling"
        " again with the same job id is safe"
    )
