"""A store in one file, taken while it is in use, and a store from such a file.

Nothing here opens the lock file but by way of `Folder`: to close any descriptor of it drops the
locks of all workers of this process.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw
import msgspec

from backroom.errors import StorageCorruptError, StorageError, StorageVersionError
from backroom.storage.folder import DATABASE, Folder
from backroom.storage.sqlite.ledger import APPLICATION_ID, SCHEMA_VERSION

__all__ = ["Copy", "back_up", "restore"]

STEP: Final = 512
"""Pages that are copied before it is told how far it is."""
LEAP: Final = 2**32
"""How far a restored store's numbers are put ahead: of tokens and workers that were handed out
after the backup, none is handed out again."""

Progress = Callable[[int, int], object]
"""Told how many pages are done, of how many."""


class Copy(msgspec.Struct, frozen=True):
    """What was copied."""

    file: str
    bytes: int
    jobs: int
    active: int
    """Of these, those that ran when the backup was made."""
    aside: str | None = None
    """Where the store is that was there before."""


def back_up(directory: Path, file: Path, *, replace: bool, progress: Progress) -> Copy:
    """Writes a checked copy of a store to `file`, which is there whole or not at all.

    The copy is the store at one moment; those who write to it meanwhile are not held up.

    Raises:
        StorageError: there is no store, `file` is there and not to be replaced, it is in the
            store's folder, or it cannot be written.
        StorageCorruptError, StorageVersionError: what is there is no sound store of ours.
    """
    if file.parent.resolve() == directory.resolve():
        raise StorageError(f"{file} is in the store's own folder; name a file elsewhere")
    if file.is_dir() or (file.exists() and not replace):
        raise StorageError(f"{file} is there already; name another file, or add --force")
    database = directory / DATABASE
    if not database.exists():
        raise StorageError(f"there is no job store in {directory}")
    partial = file.with_name(f"{file.name}.partial-{os.getpid()}")
    with _cleared_away(partial):
        _copy(database, partial, progress)
        copy = _examine(partial)
        os.replace(partial, file)
        _sync(file.parent)
    return msgspec.structs.replace(copy, file=str(file))


def restore(file: Path, directory: Path, *, replace: bool, progress: Progress) -> Copy:
    """Makes the store of `directory` from a backup. With `replace`, a store that is there is
    put aside, not removed.

    Raises:
        StorageError: a worker lives there, or a store is there and not to be replaced.
        StorageCorruptError, StorageVersionError: the file is no sound backup.
    """
    if not file.is_file():
        raise StorageError(f"there is no file {file}")
    _examine(file)
    folder = Folder.enter(directory)
    try:
        with folder.writing(patiently=False):
            if folder.is_anyone_alive():
                raise StorageError(f"a worker runs on {folder.path}; stop it first")
            if not replace and (folder.database.exists() or folder.marked):
                raise StorageError(
                    f"there is a store in {folder.path} already; with --force it is put aside"
                )
            fresh = folder.path / f"{DATABASE}.restored-{os.getpid()}"
            with _cleared_away(fresh):
                _copy(file, fresh, progress)
                _begin_anew(fresh)
                copy = _examine(fresh)
                aside = _put_aside(folder)
                os.replace(fresh, folder.database)
                _sync(folder.path)
            folder.mark()
    finally:
        folder.leave()
    return msgspec.structs.replace(copy, file=str(folder.database), aside=aside)


class _cleared_away:  # reads as what it does
    """A file that is made here, readable for this user only; gone if that fails."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        try:
            os.close(os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            raise StorageError(f"{self._file} cannot be made: {error.strerror}") from None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(f"{self._file}{suffix}").unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StorageError(f"{self._file} cannot be made: {error.strerror}") from error
        if isinstance(error, apsw.Error):
            raise StorageError(f"{self._file} cannot be made: {error}") from error


def _copy(source: Path, target: Path, progress: Progress) -> None:
    ours = _read_only(source)
    try:
        theirs = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            theirs.pragma("synchronous", "full")
            # One moment for all steps: else every commit of others would begin the copy anew.
            ours.execute("BEGIN").execute("SELECT count(*) FROM sqlite_schema").fetchall()
            with theirs.backup("main", ours, "main") as backup:
                while not backup.done:
                    backup.step(STEP)
                    progress(backup.page_count - backup.remaining, backup.page_count)
            ours.execute("COMMIT")
            theirs.pragma("journal_mode", "delete")  # One file, and nothing beside it.
        finally:
            theirs.close()
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise StorageCorruptError(f"{source} is damaged, or no job store: {error}") from error
    finally:
        ours.close()


def _read_only(file: Path) -> apsw.Connection:
    try:
        connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error as error:
        raise StorageError(f"{file} cannot be read: {error}") from error
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(30_000)
    return connection


def _examine(file: Path) -> Copy:
    """Whether a copy is a sound store that this Backroom can use, and what it holds."""
    connection = _read_only(file)
    try:
        if connection.pragma("application_id") != APPLICATION_ID:
            raise StorageCorruptError(f"{file} is no backup of a job store")
        version = connection.pragma("user_version")
        if version > SCHEMA_VERSION:
            raise StorageVersionError(
                f"{file} has schema version {version}, this Backroom knows up to"
                f" {SCHEMA_VERSION}: upgrade Backroom"
            )
        [(verdict,)] = connection.execute("PRAGMA integrity_check(1)")
        if verdict != "ok":
            raise StorageCorruptError(f"{file} is damaged: {verdict}")
        [(jobs, active)] = connection.execute("SELECT count(*), total(state = 1) FROM job")
    except apsw.Error as error:
        raise StorageCorruptError(f"{file} is no sound backup of a job store: {error}") from error
    finally:
        connection.close()
    return Copy(str(file), file.stat().st_size, jobs, int(active))


def _begin_anew(file: Path) -> None:
    """It is another store than the one it was copied from, for whoever still has that open, and
    hands out no number that was handed out there after the backup."""
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.pragma("synchronous", "full")
        with connection:
            run = connection.execute
            run("UPDATE meta SET value = value + ? WHERE name = 'token'", (LEAP,))
            run("UPDATE meta SET value = ? WHERE name = 'store'", (secrets.randbits(62),))
            run("DELETE FROM meta WHERE name IN ('lock_file', 'lock_file_since')")
            [(last,)] = run("SELECT max(0, ifnull(max(seq), 0)) FROM sqlite_sequence")
            run("DELETE FROM sqlite_sequence WHERE name = 'worker'")
            run("INSERT INTO sqlite_sequence (name, seq) VALUES ('worker', ?)", (last + LEAP,))
    finally:
        connection.close()


def _put_aside(folder: Folder) -> str | None:
    """The database with its log, under another name; what workers noted of it goes."""
    for board in folder.path.glob("worker-*.starts"):
        board.unlink(missing_ok=True)
    Path(f"{folder.database}-shm").unlink(missing_ok=True)
    if not folder.database.exists():
        return None
    aside = Path(f"{folder.database}.before-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
    os.replace(folder.database, aside)
    with suppress(FileNotFoundError):
        os.replace(folder.log, f"{aside}-wal")
    return str(aside)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
