"""The one thread that writes: changes of many callers travel in one group commit.

A change that is alone goes at once. While a commit is under way, changes gather, and the next
commit takes them all: the more load, the larger the groups. A group is a transaction; when it
fails for one of its changes, each is tried in a transaction of its own, so that one bad change
fails alone. After an error of the disk itself nothing is tried again on that connection: it is
closed, the changes fail, and the next group opens and recovers the database anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Final

import apsw
import msgspec

from backroom.errors import (
    BackroomError,
    StorageClosedError,
    StorageCorruptError,
    StorageError,
)
from backroom.job import JobRecord
from backroom.ports import Wake
from backroom.storage.database import Durability, connect, damaged, refusal
from backroom.storage.folder import Folder
from backroom.storage.inspect import Inspector
from backroom.storage.sqlite import JobTables
from backroom.transition import Transition

__all__ = ["Finishes", "Inserts", "Other", "Writer"]


CROWD: Final = 16
LOOK_EVERY: Final = 0.02
"""Every group smaller than a crowd looks whether the files of the store were taken away; larger
ones so many seconds after the last look."""

log = logging.getLogger("backroom.storage")

_FATAL = (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError)
"""After these the connection cannot be trusted any more."""
_OWN_FAULT = (apsw.ConstraintError, apsw.SQLError, apsw.MismatchError, apsw.TooBigError)
"""A change's own fault, or that of a group as a whole; not the disk's or another program's."""


class Change:
    """One caller's change, on its way through a group commit."""

    __slots__ = ("error", "future", "loop", "result")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None

    def apply(self, tables: JobTables) -> Any:
        """Carries the change out, within a transaction."""
        raise NotImplementedError

    def settle(self) -> None:
        """On the caller's loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Other(Change):
    """Any change; not joined with others."""

    __slots__ = ("change",)

    def __init__(self, change: Callable[[JobTables], Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.change = change

    def apply(self, tables: JobTables) -> Any:
        return self.change(tables)


class Inserts(Change):
    """Jobs of one `insert` call; a group commit inserts all such calls in one statement."""

    __slots__ = ("jobs", "now", "start", "worker")

    def __init__(
        self,
        jobs: Sequence[JobRecord],
        now: int,
        worker: int | None,
        start: bool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        # Not by super(): this is made once a job.
        self.jobs = jobs
        self.now = now
        self.worker = worker
        self.start = start
        self.loop = loop
        self.future = loop.create_future()
        self.error = None

    def apply(self, tables: JobTables) -> Any:
        return tables.insert([self])[0]


class Finishes(Change):
    """Transitions of one `finish` call; joined like `Inserts`."""

    __slots__ = ("cleared", "now", "transitions", "worker")

    def __init__(
        self,
        worker: int,
        transitions: Sequence[Transition],
        now: int,
        loop: asyncio.AbstractEventLoop,
        cleared: Callable[[Finishes], None],
    ) -> None:
        """`cleared` is called on the caller's loop once the outcomes are durable, before
        anything that the same commit or a later one answers."""
        super().__init__(loop)
        self.cleared = cleared
        self.worker = worker
        self.transitions = transitions
        self.now = now

    def apply(self, tables: JobTables) -> Any:
        return tables.finish(self.worker, self.transitions, self.now)

    def settle(self) -> None:
        if self.error is None:
            self.cleared(self)
        super().settle()


class Writer:
    """Owns the connections, and the threads they are used in."""

    def __init__(
        self,
        folder: Folder,
        durability: Durability,
        wake: Callable[[Collection[Wake]], None],
    ) -> None:
        """`wake` is called in the writer's thread after a commit."""
        self._folder = folder
        self._durability = durability
        self._wake = wake
        self._inbox: deque[Change] = deque()
        self._kicked: set[asyncio.AbstractEventLoop] = set()
        self._signal = threading.Semaphore(0)
        self._closing = False
        self._wakes: set[Wake] = set()
        self._tables: JobTables | None = None
        self._reader: apsw.Connection | None = None
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._crowded = False
        _writers.add(self)
        with self._writing:
            self._connect()
        self._thread = threading.Thread(target=self._loop, name="backroom-writer", daemon=True)
        self._thread.start()

    # -- from the callers' loops -----------------------------------------------------------------

    def submit(self, change: Change) -> None:
        """Queues a change. The thread is told at the end of this turn of the caller's loop, so
        that what many coroutines say in one turn travels together."""
        if self._closing:
            raise StorageClosedError(f"the job store {self._folder.path} is closed")
        self._inbox.append(change)
        loop = change.loop
        if loop not in self._kicked:
            self._kicked.add(loop)
            loop.call_soon(self._kick, loop)

    def _kick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._kicked.discard(loop)
        self._signal.release()

    def look(self, look: Callable[[Inspector], Any]) -> Any:
        """Answers a question from the reading connection, in the calling thread."""
        with self._reading:
            if self._reader is None:
                if self._closing:
                    raise StorageClosedError(f"the job store {self._folder.path} is closed")
                self._signal.release()
                raise StorageError(
                    f"{self._folder.database} could not be opened anew after an error, which"
                    " stands in the log; it is tried again now"
                )
            try:
                return look(Inspector(self._reader))
            except (apsw.SQLError, UnicodeDecodeError, msgspec.DecodeError) as error:
                # A table that we did not make, or text that we did not write.
                raise StorageCorruptError(damaged(self._folder, str(error))) from error
            except apsw.Error as error:
                raise refusal(self._folder, error) from error

    def close(self) -> None:
        """Carries out what is queued, then closes. Blocks until done."""
        self._closing = True
        self._signal.release()
        self._thread.join()

    # -- around a fork ---------------------------------------------------------------------------

    def hold_still(self) -> None:
        """Neither connection is in use until `go_on`."""
        self._writing.acquire()
        self._reading.acquire()

    def go_on(self) -> None:
        self._reading.release()
        self._writing.release()

    def leave_to_parent(self) -> None:
        """In the child: it shall know nothing of these connections. SQLite remembers the locks
        of a process, but a child has not inherited them: were these open, a store that the
        child opens for itself would work on a file that the others believe nobody uses."""
        self._reading = threading.Lock()
        self._disconnect(abandon=True)

    # -- in the thread ---------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            self._signal.acquire()
            changes: list[Change] = []
            while self._inbox:
                changes.append(self._inbox.popleft())
            with self._writing:
                if changes:
                    self._carry_out(changes)
                elif self._tables is None and not self._closing:
                    self._open_anew()
                if self._closing and not self._inbox:
                    self._disconnect()
                    return

    def _carry_out(self, changes: list[Change]) -> None:
        try:
            self._commit(changes)
        except StorageError as refused:
            for change in changes:
                change.error = refused
        except apsw.Error as error:
            if isinstance(error, _OWN_FAULT):
                self._apart(changes, error)
            else:
                self._refuse(changes, error)
        except Exception as error:
            log.debug(
                "a group of %d changes failed; trying each alone", len(changes), exc_info=True
            )
            self._apart(changes, error)
        _settle(changes)
        wakes, self._wakes = self._wakes, set()
        if wakes:
            try:
                self._wake(wakes)
            except OSError:  # It is committed all the same; the others look by themselves.
                log.warning("the users of %s were not woken", self._folder.path, exc_info=True)

    def _refuse(self, changes: list[Change], error: apsw.Error) -> None:
        """Every change of a group fails that the disk, or another program, did not let be."""
        refused = refusal(self._folder, error)
        if isinstance(error, _FATAL):
            log.error("%s; the store is opened anew", refused)
            self._open_anew()
        elif isinstance(error, apsw.FullError):
            self._crowded = True
        for change in changes:
            change.error = refused

    def _open_anew(self) -> None:
        self._disconnect()
        try:
            self._connect()
        except (StorageError, apsw.Error, OSError) as error:
            log.error("%s; the next call tries again", error)

    def _make_room(self, connection: apsw.Connection) -> None:
        """After the disk was full: most of the log is in the database already, or fits into it.
        Once all of it is there, the log is begun anew and needs no more room."""
        with suppress(apsw.Error):
            [(busy, pages, done)] = connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._crowded = bool(busy) or done < pages

    def _apart(self, changes: list[Change], error: Exception) -> None:
        """One transaction a change; of transitions, one each."""
        if len(changes) == 1 and not isinstance(changes[0], Finishes):
            if isinstance(error, apsw.Error):
                changes[0].error = refusal(self._folder, error)
            else:
                changes[0].error = error
            return
        for change in changes:
            if isinstance(change, Finishes):
                self._finish_apart(change)
                continue
            try:
                self._commit([change])
            except apsw.Error as wrong:
                self._refuse([change], wrong)
            except Exception as wrong:
                change.error = wrong

    def _finish_apart(self, change: Finishes) -> None:
        results: list[bool] = []
        for transition in change.transitions:
            alone = Finishes(change.worker, [transition], change.now, change.loop, change.cleared)
            try:
                self._commit([alone])
            except BackroomError as closed:
                change.error = closed
                return
            except Exception as wrong:
                if isinstance(wrong, apsw.Error) and not isinstance(wrong, _OWN_FAULT):
                    # Not refused but unknown: the caller says all of it again.
                    self._refuse([change], wrong)
                    return
                log.exception("the outcome of one job could not be kept; its lease will end")
                results.append(False)
            else:
                results += alone.result
        change.result = results

    def _commit(self, changes: list[Change]) -> None:
        self._folder.check_fork()
        with self._folder.writing():
            # Each look at the files waits for the interpreter lock: under load, not every time.
            look = len(changes) < CROWD or time.monotonic() >= self._next_look
            if look and self._tables is not None and self._replaced():
                log.error(
                    "%s, or its log beside it, was removed or replaced; it is opened anew",
                    self._folder.database,
                )
                self._disconnect(abandon=True)
            tables = self._tables or self._connect_again()
            if self._crowded:
                self._make_room(tables.connection)
            before = tables.snapshot()
            run = tables.connection.execute
            run("BEGIN IMMEDIATE")
            try:
                tables.begin()
                _apply(tables, changes)
                tables.flush()
                run("COMMIT")
            except BaseException:
                tables.rollback(before)
                if tables.connection.in_transaction:
                    run("ROLLBACK")
                raise
            if look:
                if self._replaced():
                    self._disconnect(abandon=True)
                    raise StorageCorruptError(
                        f"{self._folder.database}, or its log beside it, was removed or replaced"
                        " while it was written; nothing of this call was kept"
                    )
                self._next_look = time.monotonic() + LOOK_EVERY
        self._wakes |= tables.wakes
        tables.wakes = set()

    def _replaced(self) -> bool:
        """Whether the files that this connection writes are not those of the folder any more."""
        files = self._folder.files()
        if self._files is None:
            self._files = files
        return files != self._files or not all(files)

    def _connect(self) -> None:
        with self._folder.writing():
            self._connect_again()

    def _connect_again(self) -> JobTables:
        writer, reader = connect(self._folder, self._durability)
        files = self._folder.files()
        self._files = files if all(files) else None
        with self._reading:
            self._reader = reader
        started = self._tables_before
        self._tables = JobTables(writer)
        if started is not None:
            self._tables.resume(started)
        self._tables_before = None
        return self._tables

    _next_look = 0.0
    _tables_before: JobTables | None = None
    _files: tuple[int, int] | None = None
    """The database and its log, as they were when it was opened."""

    def _disconnect(self, *, abandon: bool = False) -> None:
        """`abandon`: what stands in the log and not in the database stays there, as the log may
        not be that of the database any more, or be another process's to care for."""
        tables, self._tables = self._tables, None
        if tables is not None:
            self._tables_before = tables
        with self._reading:
            reader, self._reader = self._reader, None
        for connection in (reader, None if tables is None else tables.connection):
            if connection is None:
                continue
            try:
                if abandon:
                    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close()
            except apsw.Error:
                log.warning("closing %s failed", self._folder.database, exc_info=True)


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
_forking: Final = threading.Lock()
_held: list[Writer] = []


def _before_fork() -> None:
    _forking.acquire()
    for writer in list(_writers):
        writer.hold_still()
        _held.append(writer)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().go_on()
    _forking.release()


def _after_fork_in_child() -> None:
    while _held:
        _held.pop().leave_to_parent()
    _forking.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


def _apply(tables: JobTables, changes: list[Change]) -> None:
    """All changes in one transaction: outcomes first, joined; then the rest in order; inserts
    last, in one statement: what a claim leaves nothing in front of may pass straight to a
    worker. A refusal (`BackroomError`) is an answer to its caller and ends nothing."""
    inserts: list[Inserts] = []
    finishes: dict[int, list[Finishes]] = {}
    others: list[Change] = []
    for change in changes:
        if type(change) is Inserts:
            inserts.append(change)
        elif type(change) is Finishes:
            finishes.setdefault(change.worker, []).append(change)
        else:
            others.append(change)
    for worker, group in finishes.items():
        _finish(tables, worker, group)
    for change in others:
        try:
            change.result = change.apply(tables)
        except BackroomError as refused:
            change.error = refused
    if inserts:
        for insert, answer in zip(inserts, tables.insert(inserts), strict=True):
            insert.result = answer


def _finish(tables: JobTables, worker: int, group: list[Finishes]) -> None:
    if len(group) == 1:
        group[0].result = group[0].apply(tables)
        return
    stands = tables.finish(worker, [t for one in group for t in one.transitions], group[0].now)
    at = 0
    for one in group:
        one.result = stands[at : at + len(one.transitions)]
        at += len(one.transitions)


def _settle(changes: list[Change]) -> None:
    """Answers all callers, with one call a loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Change]] = {}
    for change in changes:
        by_loop.setdefault(change.loop, []).append(change)
    for loop, group in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_group, group)
        except RuntimeError:
            log.debug("%d callers' loop ended before their answer", len(group))


def _settle_group(changes: list[Change]) -> None:
    for change in changes:
        change.settle()
