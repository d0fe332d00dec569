"""Jobs in a folder: durable, without a server, shared by the processes of one machine."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from backroom.errors import (
    ConfigurationError,
    StorageClosedError,
    StorageError,
    StorageFullError,
)
from backroom.job import JobRecord
from backroom.ports import Capabilities, Clock, Inserted, Wake
from backroom.step import StepRecord
from backroom.stepping import lost
from backroom.storage.changes import Finishes, GivesBack, Inserts, Keeps, Other
from backroom.storage.embedded import DEFAULT_RETENTION
from backroom.storage.folder import Folder, boot_id
from backroom.storage.forks import StillAtFork
from backroom.storage.groups import Group, Groups
from backroom.storage.movable import MovableStorage
from backroom.storage.sqlite import claims, workers
from backroom.storage.sqlite.connect import Durability
from backroom.storage.sqlite.inspect import Inspector
from backroom.storage.sqlite.ledger import Ledger
from backroom.storage.sqlite.steps import steps_of_all
from backroom.storage.starts import StartBoard
from backroom.storage.wakeup import Doorbell, ring
from backroom.storage.writer import Writer
from backroom.transition import Claim, Transition

__all__ = ["FileJobStorage"]

P = ParamSpec("P")
T = TypeVar("T")

SWITCH_INTERVAL: Final = 0.0002
"""Seconds after which a busy Python thread lets the writer on (Python's default is 0.005).
Measured beside a CPU-bound thread, groups of 200: 15,000 rows/s become 75,000."""
TOGETHER: Final = 500
"""Jobs that ask for their steps in one look."""


class FileJobStorage(MovableStorage):
    """Jobs in `directory`, in a SQLite database that is written ahead and synced.

    Safe for many threads' loops, and for many processes of one machine: web processes that
    only schedule, and several workers. They wake each other; a process that dies is noticed
    by the operating system, and its jobs run elsewhere at once.

    Args:
        directory: made (0700) if it is not there. Not on a network file system.
        retention: how long ended jobs are kept; seconds or a `timedelta`, None for ever.
        durability: "full": written and synced before `schedule` returns; survives power loss.
            "os": survives the death of every process; a power cut may lose the last moments.
    """

    capabilities = Capabilities(durable=True, shared=True, planning=True, flowing=True)

    def __init__(
        self,
        directory: str | os.PathLike[str] = "./storage/jobs",
        *,
        retention: float | timedelta | None = DEFAULT_RETENTION,
        durability: Durability = "full",
        clock: Clock | None = None,
    ) -> None:
        super().__init__(retention, clock)
        if durability not in ("full", "os"):
            raise ConfigurationError(f'durability must be "full" or "os", got {durability!r}')
        self.directory = Path(directory)
        self.durability: Durability = durability
        self._folder: Folder | None = None
        self._writer: Writer | None = None
        self._opening = threading.Lock()
        """Held while it is opened or closed."""
        self._counting = threading.Lock()
        """Held for a moment, where `_users` and `_writer` must agree."""
        self._users = 0
        self._looking: ThreadPoolExecutor | None = None
        """Not the loop's own executor: that is the application's, which may have filled it."""
        self._steps: Groups[int, list[StepRecord]] = Groups(
            lambda: Group(self._steps_of, lambda _: 1, TOGETHER, 1)
        )
        """What jobs ask for on each loop: together, as each question is two changes of threads."""
        self._boards: dict[int, StartBoard] = {}
        self._bells: dict[Callable[[Wake], None], Doorbell] = {}
        _storages.add(self)

    @property
    def url(self) -> str:
        return f"file:{self.directory}"

    # -- life ------------------------------------------------------------------------------------

    async def open(self) -> None:
        while not self._joined():
            await _aside(self._open)

    def _joined(self) -> bool:
        """Whether it is open, and has one user more now."""
        with self._counting:
            if self._writer is None:
                return False
            self._opened()
            self._users += 1
            return True

    def _open(self) -> None:
        with self._opening:
            if self._writer is not None:
                return
            folder = Folder.enter(self.directory)
            try:
                writer = Writer(folder, self.durability, self._wake, self.commits)
            except BaseException:
                folder.leave()
                raise
            # Made here, as one that a process made before it was forked never answers.
            looking = ThreadPoolExecutor(1, thread_name_prefix="backroom-reader")
            with self._counting:
                self._folder, self._writer, self._looking = folder, writer, looking
                self._users = 0

    def hold_still(self) -> None:
        """Before a fork: nobody opens or closes it until `go_on`."""
        self._opening.acquire()
        self._counting.acquire()

    def go_on(self) -> None:
        self._counting.release()
        self._opening.release()

    def leave_to_parent(self) -> None:
        """Whoever uses it in the child is told to make another one."""
        self.go_on()

    async def close(self) -> None:
        if self._writer is None or (self._folder is not None and self._folder.forked):
            return
        with self._counting:
            self._users -= 1
            if self._users > 0:
                return
        for bell in self._bells.values():
            bell.close()
        self._bells.clear()
        await _aside(self._close)

    def _close(self) -> None:
        with self._opening:
            with self._counting:
                if self._users > 0:  # Somebody has opened it meanwhile.
                    return
                writer, self._writer = self._writer, None
                looking, self._looking = self._looking, None
                self._steps.clear()
            # What cannot be closed yet keeps the lock file open until the process ends.
            if writer is not None and writer.close() and self._folder is not None:
                self._folder.leave()
            if looking is not None:
                looking.shutdown(wait=False)

    def _opened(self) -> tuple[Folder, Writer]:
        if self._writer is None or self._folder is None:
            raise self._unopened()
        self._folder.check_fork()
        return self._folder, self._writer

    def _unopened(self) -> StorageClosedError:
        return StorageClosedError(f"the job store {self.directory} is not open")

    # -- the hot path ----------------------------------------------------------------------------

    def insert(
        self, jobs: Sequence[JobRecord], now: int, *, worker: int | None = None, start: bool = False
    ) -> asyncio.Future[list[Inserted]]:
        _, writer = self._opened()
        loop = asyncio.get_running_loop()
        change = Inserts(
            loop=loop, future=loop.create_future(), jobs=jobs, now=now, worker=worker, start=start
        )
        writer.submit(change)
        return change.future  # Not a coroutine more on the way of every job.

    async def finish(self, worker: int, transitions: Sequence[Transition]) -> list[bool]:
        _, writer = self._opened()
        loop = asyncio.get_running_loop()
        change = Finishes(
            loop=loop, future=loop.create_future(), worker=worker, transitions=transitions,
            now=self.clock.now(), cleared=self._cleared,
        )  # fmt: skip
        writer.submit(change)
        return await change.future  # type: ignore[no-any-return]

    async def give_back(self, worker: int, keep: Sequence[tuple[int, int]]) -> int:
        now = self.clock.now()
        return await self._submit(
            GivesBack, lambda ledger: claims.give_back(ledger, worker, keep, now)
        )

    def note_start(self, worker: int, claim: Claim) -> None:
        board = self._boards.get(worker)
        if board is not None:  # Else the lease is lost, and nothing of this attempt counts.
            board.note(claim)

    async def keep_step(self, key: int, token: int, step: StepRecord) -> None:
        _, writer = self._opened()
        loop = asyncio.get_running_loop()
        change = Keeps(loop=loop, future=loop.create_future(), key=key, token=token, step=step)
        writer.submit(change)
        if not await change.future:
            raise lost()

    async def steps_of(self, key: int) -> list[StepRecord]:
        return await self._steps.add(key)

    async def _steps_of(self, keys: Sequence[int]) -> list[list[StepRecord]]:
        return await self._read(lambda jobs: steps_of_all(jobs.connection.execute, keys))

    def _cleared(self, finishes: Finishes) -> None:
        board = self._boards.get(finishes.worker)
        if board is not None:
            stands = zip(finishes.transitions, finishes.result, strict=True)
            board.clear([transition.key for transition, stood in stands if stood])

    # -- what the base asks ----------------------------------------------------------------------

    async def _write(
        self, change: Callable[Concatenate[Ledger, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._submit(Other, lambda ledger: change(ledger, *args, **kwargs))

    async def _submit(self, kind: type[Other], change: Callable[[Ledger], T]) -> T:
        _, writer = self._opened()
        loop = asyncio.get_running_loop()
        queued = kind(change, loop=loop, future=loop.create_future())
        writer.submit(queued)
        return await queued.future  # type: ignore[no-any-return]

    async def _read(
        self, look: Callable[Concatenate[Inspector, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        _, writer = self._opened()
        answer = partial(writer.look, lambda inspector: look(inspector, *args, **kwargs))
        if self._looking is None:
            raise self._unopened()
        return await asyncio.get_running_loop().run_in_executor(self._looking, answer)

    def _boot(self) -> str:
        return boot_id()

    def _enlisted(self, ledger: Ledger, worker: int) -> None:
        folder, _ = self._opened()
        workers.known_since(ledger, folder.lock_file_number, self.clock.uptime())
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL))
        try:
            self._boards[worker] = StartBoard(_board(folder, worker))
        except OSError as error:
            kind = StorageFullError if error.errno == errno.ENOSPC else StorageError
            raise kind(
                f"no worker can start on {folder.path}: its file of starts cannot be made there"
                f" ({error.strerror})"
            ) from error
        folder.hold(worker)

    def _extended(self, worker: int) -> None:
        # Anything in this process that closed the lock file has dropped our locks with it.
        folder, _ = self._opened()
        if folder.is_own(worker):
            folder.hold(worker)

    def _retired(self, worker: int) -> None:
        folder = self._folder  # Also of a storage that closes: this is the last of its writes.
        assert folder is not None
        folder.drop(worker)
        board = self._boards.pop(worker, None)
        if board is not None:
            board.close()
        else:
            _board(folder, worker).unlink(missing_ok=True)

    def _dead(self, ledger: Ledger) -> dict[int, Collection[tuple[int, int]] | None]:
        """Gone (its lock has fallen, or the machine was started anew), or past its lease.

        Who lives, and has not had its turn to write since the lock file was removed, holds its
        lock in a file that nobody can find. It has its turn within its lease; until then only
        that tells.
        """
        folder, _ = self._opened()
        dead: dict[int, Collection[tuple[int, int]] | None] = {}
        now, boot = self.clock.uptime(), boot_id()
        enlisted = workers.workers(ledger)
        for ours in self._boards.keys() - {one.worker for one in enlisted}:
            self._retired(ours)  # Somebody else declared it dead.
        stand = folder.locks_stand()
        since = workers.known_since(ledger, folder.lock_file_number, now) if stand else now
        for worker, its_boot, lease, until in enlisted:
            lock_tells = now >= since + lease
            if its_boot != boot:
                dead[worker] = None
            elif until <= now or (lock_tells and not folder.is_held(worker)):
                dead[worker] = StartBoard.read(_board(folder, worker))
        return dead

    # -- wake-ups --------------------------------------------------------------------------------

    def subscribe(self, callback: Callable[[Wake], None]) -> Callable[[], None]:
        folder, _ = self._opened()
        end = super().subscribe(callback)
        self._bells[callback] = Doorbell(folder.path, list(Wake), callback)

        def unsubscribe() -> None:
            end()
            bell = self._bells.pop(callback, None)
            if bell is not None:
                bell.close()

        return unsubscribe

    def _wake(self, wakes: Collection[Wake]) -> None:
        super()._wake(wakes)
        if self._folder is not None:
            ring(self._folder.path, wakes, [bell.name for bell in list(self._bells.values())])


async def _aside(work: Callable[[], None]) -> None:
    """In a thread of its own."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="backroom-opener")
    try:
        await asyncio.get_running_loop().run_in_executor(thread, work)
    finally:
        thread.shutdown(wait=False)


def _board(folder: Folder, worker: int) -> Path:
    return folder.path / f"worker-{worker}.starts"


# Made after that of the writers, so that it stands still before them: a storage that closes waits
# for its writer. What a thread had half opened would be nobody's in the child.
_storages: Final[StillAtFork[FileJobStorage]] = StillAtFork()
