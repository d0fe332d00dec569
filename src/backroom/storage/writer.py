"""The one thread that writes: changes of many callers travel in one group commit.

A change that is alone goes at once. While a commit is under way, changes gather, and the next
commit takes them all: the more load, the larger the groups. Under load a group also waits for
what the last answers set going (the next jobs, the outcomes of those that began): every commit
costs the disk's time once, and each of its statements a turn with the interpreter lock. A group
is a transaction; when it fails for one of its changes, each is tried in a transaction of its
own, so that one bad change fails alone. After an error of the disk itself nothing is tried
again on that connection: it is closed, the changes fail, and the next group opens and recovers
the database anew.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any, Final

import apsw

from backroom.errors import BackroomError, StorageClosedError, StorageError
from backroom.ports import Wake
from backroom.sizes import Sizes
from backroom.storage.changes import Change, Finishes, Spoiled, apply_all
from backroom.storage.connections import Connections
from backroom.storage.folder import PATIENCE, Folder
from backroom.storage.forks import StillAtFork
from backroom.storage.sqlite.connect import Durability, refusal
from backroom.storage.sqlite.inspect import Inspector
from backroom.storage.sqlite.ledger import Ledger

__all__ = ["Writer"]

WATCH_EVERY: Final = 5.0
"""Seconds between two looks of a caller's loop whether the writer waits for another process."""
CROWD: Final = 16
"""Changes in a group from which on it is not looked each time whether the files are there, and
the next group is waited for."""
GATHER_TURNS: Final = 4
"""Turns of a caller's loop that a group is waited for then: from an answer to a handler's start,
its end, the batch of its outcome, and that on its way."""
GATHER: Final = 0.01
"""Seconds after which it is not, however long these turns are."""

log = logging.getLogger("backroom.storage")

_FATAL = (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError)
"""After these the connection cannot be trusted any more."""
_OWN_FAULT = (apsw.ConstraintError, apsw.SQLError, apsw.MismatchError, apsw.TooBigError)
"""A change's own fault, or that of a group as a whole; not the disk's or another program's."""


class Writer:
    """Owns the connections, and the thread they are written in."""

    def __init__(
        self,
        folder: Folder,
        durability: Durability,
        wake: Callable[[Collection[Wake]], None],
        commits: Sizes,
    ) -> None:
        """`wake` is called in the writer's thread after a commit; `commits` counts how many
        changes each group has."""
        self._folder = folder
        self._wake = wake
        self._commits = commits
        self._inbox: deque[Change] = deque()
        self._taken: list[Change] = []
        """What the thread has taken from the inbox and not answered yet."""
        self._kicked: set[asyncio.AbstractEventLoop] = set()
        self._watching: set[asyncio.AbstractEventLoop] = set()
        """Loops that look every now and then whether their callers wait for too long."""
        self._gave_up = False
        self._crowded = False
        """The last group was a large one."""
        self._signal = threading.Semaphore(0)
        self._closing = False
        self._ended = False
        """The thread takes nothing from the inbox any more."""
        self._wakes: set[Wake] = set()
        self._writing = threading.Lock()
        self._store = Connections(folder, durability)
        _writers.add(self)
        self._thread = threading.Thread(target=self._loop, name="backroom-writer", daemon=True)
        self._thread.start()

    # -- from the callers' loops -----------------------------------------------------------------

    def submit(self, change: Change) -> None:
        """Queues a change. The thread is told at the end of this turn of the caller's loop, or,
        under load, some turns later, so that what many coroutines say travels together."""
        if self._closing:
            raise self._closed()
        self._inbox.append(change)
        if self._ended:  # It was closed between these two lines.
            self._turn_away()
            return
        loop = change.loop
        if loop not in self._kicked:
            self._kicked.add(loop)
            turns = GATHER_TURNS if self._crowded else 0
            loop.call_soon(self._kick, loop, turns, loop.time() + GATHER)

    def _kick(self, loop: asyncio.AbstractEventLoop, turns: int, until: float) -> None:
        if turns and loop.time() < until:
            loop.call_soon(self._kick, loop, turns - 1, until)
            return
        self._kicked.discard(loop)
        self._signal.release()
        if loop not in self._watching:
            self._watching = {one for one in self._watching if not one.is_closed()} | {loop}
            loop.call_later(WATCH_EVERY, self._watch, loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """On a caller's loop: the thread cannot be called back from the queue of those who want
        to write, so it is the loop that sees that it waits for too long, and answers."""
        waiting = [
            change
            for change in (*self._taken, *self._inbox.copy())
            if change.loop is loop and not change.future.done()
        ]
        if not waiting or self._ended:
            self._watching.discard(loop)  # Until something is submitted.
            return
        waited = self._folder.waits
        if waited >= WATCH_EVERY:
            stuck = self._folder.stuck()
            log.error("%d calls wait for %.0f s now: %s", len(waiting), waited, stuck)
            if waited >= PATIENCE:
                self._gave_up = True
                for change in waiting:
                    change.error = stuck
                    change.settle()
        loop.call_later(WATCH_EVERY, self._watch, loop)

    def _turn_away(self) -> None:
        """Answers what nobody will carry out. Callable from any thread: whoever comes later, of
        the one that said so and the one that ended, finds it."""
        left: list[Change] = []
        while self._inbox:
            with suppress(IndexError):  # The other one took it.
                change = self._inbox.popleft()
                change.error = self._closed()
                left.append(change)
        _settle(left)

    def _closed(self) -> StorageClosedError:
        return StorageClosedError(f"the job store {self._folder.path} is closed")

    def look(self, look: Callable[[Inspector], Any]) -> Any:
        """Answers a question from the reading connection, in the calling thread."""
        answer = self._store.look(lambda inspector: (look(inspector),))
        if answer is not None:
            return answer[0]
        if self._closing:
            raise self._closed()
        self._signal.release()
        raise StorageError(
            f"{self._folder.database} could not be opened anew after an error, which stands in"
            " the log; it is tried again now"
        )

    def close(self) -> bool:
        """Carries out what is queued, then closes. Blocks until done; False where another
        process does not let it come to its end: it ends when that does."""
        self._closing = True
        self._signal.release()
        while self._thread.is_alive():
            self._thread.join(1.0)
            if self._folder.waits >= PATIENCE:
                log.error("it is not closed yet: %s", self._folder.stuck())
                return False
        return True

    # -- around a fork ---------------------------------------------------------------------------

    def hold_still(self) -> None:
        """Neither connection is in use until `go_on`."""
        self._writing.acquire()
        self._store.hold_still()

    def go_on(self) -> None:
        self._store.go_on()
        self._writing.release()

    def leave_to_parent(self) -> None:
        """In the child: these connections are the parent's."""
        self._store.leave_to_parent()

    # -- in the thread ---------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            self._signal.acquire()
            changes: list[Change] = []
            self._taken = changes
            while self._inbox:
                change = self._inbox.popleft()
                if change.error is None:  # Else its caller has not waited for this.
                    changes.append(change)
            with self._writing:
                if changes:
                    self._crowded = len(changes) >= CROWD
                    self._carry_out(changes)
                    self._taken = []
                elif not self._store.opened and not self._closing:
                    self._store.open_anew()
                if self._closing and not self._inbox:
                    self._store.close()
                    self._ended = True
                    self._turn_away()
                    return

    def _carry_out(self, changes: list[Change]) -> None:
        self._commits.add(len(changes))
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

    def _commit(self, changes: list[Change]) -> None:
        self._wakes |= self._store.transact(
            partial(self._apply, changes), small=len(changes) < CROWD
        )

    def _apply(self, changes: list[Change], ledger: Ledger) -> None:
        if self._gave_up:  # Whoever was told that says it again, if it is still to be.
            self._gave_up = False
            changes = [change for change in changes if change.error is None]
        apply_all(ledger, changes)

    def _refuse(self, changes: list[Change], error: apsw.Error) -> None:
        """Every change of a group fails that the disk, or another program, did not let be."""
        refused = refusal(self._folder, error)
        if isinstance(error, _FATAL):
            log.error("%s; the store is opened anew", refused)
            self._store.open_anew()
        elif isinstance(error, apsw.FullError):
            self._store.distrusts_log = True
        for change in changes:
            change.error = refused

    def _apart(self, changes: list[Change], error: Exception) -> None:
        """One transaction a change; of transitions, one each."""
        if len(changes) == 1 and not isinstance(changes[0], Finishes):
            if isinstance(error, apsw.Error):
                changes[0].error = refusal(self._folder, error)
            else:
                changes[0].error = error.refusal if isinstance(error, Spoiled) else error
            return
        for change in changes:
            if isinstance(change, Finishes):
                self._finish_apart(change)
                continue
            try:
                self._commit([change])
            except apsw.Error as wrong:
                self._refuse([change], wrong)
            except Spoiled as wrong:
                change.error = wrong.refusal
            except Exception as wrong:
                change.error = wrong

    def _finish_apart(self, change: Finishes) -> None:
        """Each outcome alone. One that cannot be written is not left without an end: the job
        fails, and says why."""
        results: list[bool] = []
        for transition in change.transitions:
            for outcome in (transition, transition.unkept(change.now)):
                alone = change.part(outcome)
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
                    log.exception("the outcome of one job could not be kept")
                else:
                    results.append(outcome is transition and alone.result[0])
                    break
            else:
                results.append(False)
        change.result = results


_writers: Final[StillAtFork[Writer]] = StillAtFork()


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
