"""A store's folder on disk: who may write, who is alive, and whether it may be used at all.

Locks are POSIX record locks, on purpose. An `flock` or an open-file-description lock lives on
in every child that a handler forks, so a killed worker would look alive; a POSIX lock belongs
to the process and goes with it, whatever its children do. Their well-known trap, that closing
*any* descriptor of the file drops the process's locks, is met by opening the lock file exactly
once a process (`Folder.enter`), and by taking each worker's lock again with every heartbeat.
Where somebody removes it, each process opens the new one when its turn to write comes.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Final

from backroom.errors import StorageClosedError, StorageCorruptError, StorageError

__all__ = ["DATABASE", "Folder", "boot_id"]

DATABASE: Final = "jobs.db"
LOCKS: Final = "jobs.lock"
PATIENCE: Final = 30.0
"""Seconds that another process may take over its turn to write."""
LOOK_AGAIN: Final = 0.001
"""Seconds between two looks whether it is our turn, where the kernel does not queue."""

_FLOCK: Final = struct.Struct("hhqqi")
"""A `struct flock`, as Linux has it on 64 bits."""

log = logging.getLogger("backroom.storage")
MARKER: Final = "store.json"
_NETWORK = {
    "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "9p", "ceph", "fuse.ceph",
    "glusterfs", "fuse.glusterfs", "lustre", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "ncpfs",
    "gpfs", "beegfs", "orangefs", "davfs", "fuse.davfs2",
}  # fmt: skip


class Folder:
    """One folder as this process sees it; shared by all storages that use it."""

    _entered: ClassVar[dict[tuple[int, int], Folder]] = {}
    _door: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path, identity: tuple[int, int], locks: int) -> None:
        self.path = path
        self.database = path / DATABASE
        self.log = path / f"{DATABASE}-wal"
        self._identity = identity
        self._lock_file = path / LOCKS
        self._locks = locks
        self.lock_file_number = _number(os.fstat(locks))
        """Tells the lock file that is open from any that takes its place."""
        self._users = 0
        self._writer = threading.Lock()
        self._alive: set[int] = set()
        self._forked = False
        self._waits_since: float | None = None

    @classmethod
    def enter(cls, path: Path) -> Folder:
        """The folder, made if need be, checked for what a store needs of it.

        Raises:
            StorageError: it is a file, on a network file system, or cannot be written.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise StorageError(
                f"{path} is a file; the job store needs a folder: name another, or move the file"
            ) from None
        except OSError as error:
            raise StorageError(f"cannot make the folder {path}: {error.strerror}") from None
        _refuse_network(path)
        with cls._door:
            identity = _identity(path)
            folder = cls._known(path.resolve(), identity)
            if folder is None:
                folder = cls(path.resolve(), identity, _open_locks(path))
                cls._entered[identity] = folder
            folder._users += 1
            return folder

    @classmethod
    def _known(cls, path: Path, identity: tuple[int, int]) -> Folder | None:
        """This process's folder at a path, by whatever way one gets there; also where it was
        removed and made anew: its lock file must not be opened twice."""
        for folder in list(cls._entered.values()):
            if folder.path == path:
                folder._is_now(identity)
                return folder
        other = cls._entered.get(identity)
        return other if other is not None and _identity(other.path) == identity else None

    def _is_now(self, identity: tuple[int, int]) -> None:
        if self._entered.get(self._identity) is self:
            del self._entered[self._identity]
        self._identity = identity
        self._entered[identity] = self

    def leave(self) -> None:
        """The last user of this process closes the lock file, and with it drops its locks.

        A worker whose code still runs keeps it open until the process ends.
        """
        with self._door:
            self._users -= 1
            if self._users == 0 and not self._forked and not self._alive:
                if self._entered.get(self._identity) is self:
                    del self._entered[self._identity]
                os.close(self._locks)
                self._locks = -1

    @classmethod
    def after_fork(cls) -> None:
        """In a forked child nothing of the parent's may be used: its locks are not the child's."""
        for folder in cls._entered.values():
            folder._forked = True
        cls._entered = {}
        cls._door = threading.Lock()

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that opened the store."""
        return self._forked

    def check_fork(self) -> None:
        """Raises in a child of the process that opened the store."""
        if self._forked:
            raise StorageClosedError(
                f"the job store {self.path} was opened before this process was forked; make a"
                " new JobService (or FileJobStorage) in the child, and use that"
            )

    # -- writing -------------------------------------------------------------------------------

    @contextmanager
    def writing(self, *, look: bool = True, patiently: bool = True) -> Iterator[None]:
        """Alone among all processes; the others queue in the kernel, without polling.

        But where two processes share two folders, the kernel may take them for a deadlock: it
        sees that each waits for the other, and not that different threads do. Who is refused
        its place in the queue for that (EDEADLK) looks again and again, for a moment.

        `look`: first it is looked whether the lock file is still the one in the folder; if not,
        that is opened, with the locks of all workers of this process.

        Nothing can end the wait in the queue while the process whose turn it is stands still
        (SIGSTOP). Who must not wait for ever looks at `waits` from another thread, or says that
        it is not `patiently` that it waits: then it looks again and again instead.

        Raises: `OSError`; `StorageError` where looking again was in vain for `PATIENCE` seconds.
        """
        if not self._writer.acquire(timeout=-1 if patiently else PATIENCE):
            raise self.stuck()
        try:
            self._take_turn(patiently)
            try:
                while look and not self.locks_stand():
                    self._renew_locks(patiently)
                yield
            finally:
                fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, 0)
        finally:
            self._writer.release()

    def _take_turn(self, patiently: bool) -> None:
        self._waits_since = time.monotonic()
        try:
            if patiently:
                fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, 0)
            else:
                self._look_for_turn()
        except OSError as error:
            if error.errno != errno.EDEADLK:
                raise
            self._look_for_turn()
        finally:
            self._waits_since = None

    def _look_for_turn(self) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise self.stuck() from None
            time.sleep(LOOK_AGAIN)

    @property
    def waits(self) -> float:
        """For how many seconds a thread of this process has waited for its turn by now."""
        since = self._waits_since
        return 0.0 if since is None else time.monotonic() - since

    def stuck(self) -> StorageError:
        """What to say when it was somebody else's turn to write for too long."""
        pid = self._holder()
        who = "another process" if pid is None else f"process {pid}"
        what = "let it go on, or end it" if pid is None else f"kill -CONT {pid}, or end it"
        return StorageError(
            f"{who} does not end its turn to write to {self.path}: it is stopped, or hangs"
            f" ({what}); whether this call will be kept is not known; calling again with the"
            " same job id is safe"
        )

    def _holder(self) -> int | None:
        """The process whose turn it is, where the system tells that."""
        if not sys.platform.startswith("linux") or struct.calcsize("P") != 8:
            return None
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(self._locks, fcntl.F_GETLK, asked))
        return pid if kind != fcntl.F_UNLCK and pid > 0 else None

    def locks_stand(self) -> bool:
        """Whether the locks of this process are in the file where the others look for them."""
        try:
            return _number(os.stat(self._lock_file)) == self.lock_file_number
        except FileNotFoundError:
            return False

    def _renew_locks(self, patiently: bool) -> None:
        log.error("%s was removed or replaced; it is opened anew", self._lock_file)
        locks = _open_locks(self.path)
        os.close(self._locks)
        self._locks = locks
        self.lock_file_number = _number(os.fstat(locks))
        self._take_turn(patiently)
        for worker in self._alive:
            fcntl.lockf(locks, fcntl.LOCK_EX, 1, worker)
        with self._door:
            self._is_now(_identity(self.path))

    def files(self) -> tuple[int, int]:
        """Which files are the database and its log now; 0 for one that is not there."""
        return _inode(self.database), _inode(self.log)

    # -- workers -------------------------------------------------------------------------------

    def hold(self, worker: int) -> None:
        """This process runs this worker: its lock falls when the process ends, however."""
        fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, worker)
        self._alive.add(worker)

    def is_own(self, worker: int) -> bool:
        """Whether this process runs this worker."""
        return worker in self._alive

    def drop(self, worker: int) -> None:
        """The worker has ended."""
        if worker in self._alive:
            self._alive.discard(worker)
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, worker)

    def is_held(self, worker: int) -> bool:
        """Whether the process of this worker lives. To be called while `writing`."""
        if worker in self._alive:
            return True
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, worker)
        except BlockingIOError:
            return True
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, worker)
        return False

    def is_anyone_alive(self) -> bool:
        """Whether any process runs a worker here, whatever the database says. To be called while
        `writing`."""
        if self._alive:
            return True
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 0, 1)
        except BlockingIOError:
            return True
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 0, 1)
        return False

    # -- the first and every later opening -------------------------------------------------------

    def prepare(self) -> bool:
        """Makes room for the database before SQLite opens it. To be called while `writing`.

        Returns whether the store is new. The database file is made here so that nobody else
        can ever read it (0600); SQLite gives its side files the same rights.

        Raises:
            StorageCorruptError: this folder held jobs, and the database is gone or empty.
        """
        try:
            size = self.database.stat().st_size
        except FileNotFoundError:
            size = -1
        if self.marked and size <= 0:
            what = "missing" if size < 0 else "empty"
            raise StorageCorruptError(
                f"{self.database} is {what}, but {MARKER} beside it says that this folder held"
                f" jobs: restore {DATABASE} (with {DATABASE}-wal, if you have it) from a backup,"
                f" or remove {self.path / MARKER} to start with an empty store"
            )
        if size < 0:
            os.close(os.open(self.database, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        return size <= 0

    def sync_log(self) -> None:
        """To be called while `writing`, before what the log says is believed: a process that
        died between a write and its sync leaves commits that whoever opens the store finds,
        answers from, and would lose in a power cut."""
        if self.log.exists():
            _sync(self.log)
            _sync(self.path)

    @property
    def marked(self) -> bool:
        """Whether this folder has held jobs."""
        return (self.path / MARKER).exists()

    def mark(self) -> None:
        """Says, durably, that this folder holds jobs from now on.

        Before that its tables are made durable, which without a mark may be missing, and the
        folder itself, by whomever it was made: a power cut takes a folder whose name was not
        synced in the one above, with all that is in it.
        """
        marker = self.path / MARKER
        text = json.dumps({"format": "backroom job store", "database": DATABASE}) + "\n"
        if self.marked and marker.read_bytes() == text.encode():
            return  # Else a power cut has left its name only.
        self.sync_log()
        _sync_names(self.path)
        descriptor = os.open(marker, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            try:
                os.write(descriptor, text.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            _sync(self.path)
        except BaseException:  # Half a mark is none: the next opening makes it.
            marker.unlink(missing_ok=True)
            raise


os.register_at_fork(after_in_child=Folder.after_fork)


def _open_locks(path: Path) -> int:
    try:
        return os.open(path / LOCKS, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise StorageError(
            f"the folder {path} was removed while it was in use; nothing of this call was kept:"
            " put it back, or start the processes that use it anew",
            unchanged=True,
        ) from None
    except OSError as error:
        raise StorageError(
            f"the folder {path} cannot be written: {error.strerror}; give this user the rights"
            " to it, or name another folder"
        ) from None


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _number(status: os.stat_result) -> int:
    """Of a file; no two files that are there, or open, have the same."""
    return status.st_ino & (2**62 - 1)  # So that a database can keep it.


def _sync(path: Path) -> None:
    """What a file holds; of a folder, the names in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_names(path: Path) -> None:
    """Of what is in a folder, of the folder, and of those above it on the same disk."""
    _sync(path)
    disk = path.stat().st_dev
    for above in path.parents:
        if above.stat().st_dev != disk:
            return
        with suppress(PermissionError):  # Of a place that this user may enter, not list.
            _sync(above)


def _refuse_network(path: Path) -> None:
    kind = _file_system(path)
    if kind in _NETWORK:
        raise StorageError(
            f"{path} is on a network file system ({kind}), whose locks cannot be trusted with"
            " jobs: name a folder on a local disk, or use a database server"
        )


def _file_system(path: Path) -> str | None:
    """The kind of file system below a folder; None where the system does not tell."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return None
    real = path.resolve()
    best, kind = -1, None
    for line in mounts.splitlines():
        fields = line.split()
        point = Path(fields[4].encode().decode("unicode_escape"))
        depth = len(point.parts)
        if depth >= best and real.is_relative_to(point):
            best, kind = depth, fields[fields.index("-") + 1]
    return kind


def boot_id() -> str:
    """Tells one start of the machine from the next; lease time is counted within one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
