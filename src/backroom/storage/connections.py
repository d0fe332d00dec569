"""The two connections of a store: one writes, one reads. Whether they still are what the folder
holds, and what is done when they cannot be trusted any more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

import apsw
import msgspec

from backroom.errors import StorageCorruptError, StorageError
from backroom.ports import Wake
from backroom.storage.folder import Folder
from backroom.storage.sqlite.connect import Durability, connect, damaged, refusal
from backroom.storage.sqlite.inspect import Inspector, Unreadable
from backroom.storage.sqlite.ledger import Ledger

__all__ = ["Connections"]

LOOK_EVERY: Final = 0.02
"""Seconds between two looks whether the files of the store were taken away, under load."""

T = TypeVar("T")

log = logging.getLogger("backroom.storage")


class Connections:
    """Opened at once; `transact` in one thread at a time, `look` from any."""

    def __init__(self, folder: Folder, durability: Durability) -> None:
        self._folder = folder
        self._durability = durability
        self._ledger: Ledger | None = None
        self._before: Ledger | None = None
        self._store: int | None = None
        """Which store this is; in its folder may be another one by the next opening."""
        self._reader: apsw.Connection | None = None
        self._reading = threading.RLock()
        self._files: tuple[int, int] | None = None
        """The database and its log, as they were when it was opened."""
        self._next_look = 0.0
        self.distrusts_log = False
        """The log is to be copied into the database before more is written to it: the disk was
        full, or what the log says it holds may not be on the disk."""
        self.open()

    @property
    def opened(self) -> bool:
        """Whether there is a connection that can write."""
        return self._ledger is not None

    def open(self) -> None:
        """Raises: `StorageError`."""
        with _told(self._folder), self._folder.writing(patiently=False):
            self._open()

    def _open(self) -> Ledger:
        writer, reader = connect(self._folder, self._durability)
        files = self._folder.files()
        self._files = files if all(files) else None
        with self._reading:
            self._reader = reader
        ledger, before = Ledger(writer), self._before
        store = ledger.store()
        if self._store not in (None, store):
            log.error(
                "%s is another store than before: the workers of this process have lost their"
                " leases, and begin anew on it", self._folder.database,
            )  # fmt: skip
        elif before is not None:
            ledger.resume(before)
        self._ledger, self._store, self._before = ledger, store, None
        return ledger

    def open_anew(self) -> None:
        """After an error of the disk: SQLite recovers from its log. What cannot be opened now is
        tried again by the next transaction.

        A page whose sync failed may stand in the system's cache only, and look as if it were on
        the disk; a commit that follows it in the log would be lost with it in a power cut. So
        the log is emptied first.
        """
        self.distrusts_log = True
        with self._reading:  # Who looks meanwhile waits, and sees nothing of it.
            self.close()
            try:
                self.open()
            except (StorageError, apsw.Error) as error:
                log.error("%s; the next call tries again", error)

    def close(self, *, abandon: bool = False) -> None:
        """`abandon`: what stands in the log and not in the database stays there, as the log may
        not be that of the database any more, or be another process's to care for."""
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            self._before = ledger
        with self._reading:
            reader, self._reader = self._reader, None
        for connection in (reader, None if ledger is None else ledger.connection):
            if connection is None:
                continue
            try:
                if abandon:
                    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close()
            except apsw.Error:
                log.warning("closing %s failed", self._folder.database, exc_info=True)

    # -- reading ---------------------------------------------------------------------------------

    def look(self, look: Callable[[Inspector], T]) -> T | None:
        """Answers a question, in the calling thread; None where nothing is open.

        Raises: `StorageError`, and what `look` raises.
        """
        with self._reading:
            if self._reader is None:
                return None
            try:
                return look(Inspector(self._reader))
            except (apsw.SQLError, UnicodeDecodeError, msgspec.DecodeError, Unreadable) as error:
                # A table that we did not make, or values that we did not write.
                raise StorageCorruptError(
                    damaged(self._folder, str(error)), unchanged=True
                ) from error
            except apsw.Error as error:
                raise refusal(self._folder, error) from error

    # -- writing ---------------------------------------------------------------------------------

    def transact(self, change: Callable[[Ledger], None], *, small: bool) -> set[Wake]:
        """Carries out a change and commits it, alone among all processes; who is to be woken.

        `small`: before and after, it is looked whether the files of the store were taken away.
        Each look waits for the interpreter lock: larger ones do so only now and then.

        Raises: what `change` raises; `apsw.Error`; `StorageError`, which then is none of the
        change's doing: also for an error of the system, before the commit or after it.
        """
        self._folder.check_fork()
        look = small or time.monotonic() >= self._next_look
        with _told(self._folder), self._folder.writing(look=look):
            if look and self._ledger is not None and self._replaced():
                log.error(
                    "%s, or its log beside it, was removed or replaced; it is opened anew",
                    self._folder.database,
                )
                with self._reading:
                    self.close(abandon=True)
                    self._open()
            ledger = self._ledger or self._open()
            if self.distrusts_log:
                self._empty_log(ledger.connection)
            _commit(ledger, change)
            if look:
                if self._replaced():
                    self.close(abandon=True)
                    raise StorageCorruptError(
                        f"{self._folder.database}, or its log beside it, was removed or replaced"
                        " while it was written; nothing of this call was kept",
                        unchanged=True,
                    )
                self._next_look = time.monotonic() + LOOK_EVERY
        wakes, ledger.wakes = ledger.wakes, set()
        return wakes

    def _empty_log(self, connection: apsw.Connection) -> None:
        """Once all of the log is in the database, and synced there, it is begun anew; it also
        needs no more room then. Readers of other processes may make that take a few commits."""
        with suppress(apsw.Error):
            [(busy, pages, done)] = connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self.distrusts_log = bool(busy) or done < pages

    def _replaced(self) -> bool:
        """Whether the files that this connection writes are not those of the folder any more."""
        files = self._folder.files()
        if self._files is None:
            self._files = files
        return files != self._files or not all(files)

    # -- around a fork ---------------------------------------------------------------------------

    def hold_still(self) -> None:
        """Nobody reads until `go_on`."""
        self._reading.acquire()

    def go_on(self) -> None:
        self._reading.release()

    def leave_to_parent(self) -> None:
        """In the child: it shall know nothing of these connections. SQLite remembers the locks
        of a process, but a child has not inherited them: were these open, a store that the
        child opens for itself would work on a file that the others believe nobody uses."""
        self._reading = threading.RLock()
        self.close(abandon=True)


@contextmanager
def _told(folder: Folder) -> Iterator[None]:
    """An error of the system becomes one of ours."""
    try:
        yield
    except OSError as error:
        raise refusal(folder, error) from error


def _commit(ledger: Ledger, change: Callable[[Ledger], None]) -> None:
    before = ledger.snapshot()
    run = ledger.run
    run("BEGIN IMMEDIATE")
    try:
        ledger.begin()
        change(ledger)
        ledger.flush()
        run("COMMIT")
    except BaseException:
        ledger.rollback(before)
        if ledger.connection.in_transaction:
            run("ROLLBACK")
        raise
    ledger.settle()
