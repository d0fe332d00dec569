"""What `backroom doctor` looks at. Each look says what it found, and how to mend it."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import apsw
import msgspec

from backroom.cli.asking import database_of, directory_of
from backroom.cli.finding import Finding
from backroom.cli.on_its_way import on_its_way
from backroom.cli.plain import count_of
from backroom.cli.stranded import places
from backroom.errors import BackroomError
from backroom.service import JobService
from backroom.stats import JobStats
from backroom.storage.folder import DATABASE, Folder, boot_id
from backroom.storage.sqlite.connect import FIXED_SQLITE
from backroom.storage.sqlite.ledger import APPLICATION_ID, SCHEMA_VERSION

__all__ = ["Finding", "diagnose"]

PATIENCE: Final = 10.0
"""Seconds that a store may take to open."""
COUNTING: Final = 60.0
"""Seconds that it may take to go through all jobs."""
TOLD: Final = 3
"""Wrong numbers that are told."""
SKEW: Final = 5.0
"""Seconds that the newest job may be ahead of this machine's clock."""
LATE: Final = 300.0
"""Seconds that a due job may wait beside workers that run."""
LEAST_ROOM: Final = 16 << 20
LITTLE_ROOM: Final = 256 << 20
"""Bytes free below which it is an error, or a warning."""
LONG_LOG: Final = 256 << 20
"""Bytes of a write-ahead log that somebody keeps from being emptied."""


class Enlisted(msgspec.Struct, frozen=True):
    """One worker's row."""

    number: int
    name: str
    boot: str
    until: float


def diagnose(service: JobService, recount: bool = False, requeue: bool = False) -> list[Finding]:
    """All findings; what cannot be looked at because of another one is left out. `recount`: the
    numbers that the store keeps are made anew before; `requeue`: jobs that nobody would ever run
    are put back into their queues before."""
    directory = directory_of(service)
    findings: list[Finding] = []
    if directory is not None:
        if (fault := _is_there(directory)) is not None:
            return [fault]
        findings += _files(directory)
        findings += _facts(service, directory)
    elif service.storage.url == "memory:":
        return [Finding("warning", "storage", "memory: every process has its own, gone with it",
                        "name the store with --storage file:PATH")]  # fmt: skip
    database = database_of(service.storage)
    # Not `asyncio.run`, which would wait at its end for a thread that waits for its turn.
    loop = asyncio.new_event_loop()
    try:
        if database is not None:
            from backroom.cli.databases import diagnose_database

            database.migrates = False
            findings += loop.run_until_complete(diagnose_database(database))
            if any(finding.level == "error" for finding in findings):
                return findings
        return loop.run_until_complete(_reach(service, recount, requeue)) + findings
    finally:
        loop.close()


# -- what the storage answers ------------------------------------------------------------------


async def _reach(service: JobService, recount: bool, requeue: bool) -> list[Finding]:
    url = service.storage.url
    try:
        began = time.monotonic()
        await asyncio.wait_for(service.open(), PATIENCE)
        stats = await asyncio.wait_for(service.get_stats(), PATIENCE)
        took = time.monotonic() - began
        newest = await service.get_jobs(limit=1)
        where = await places(service, requeue)
        counts = await _counts(service, recount)
        away = [finding async for finding in on_its_way(service.storage)]
    except TimeoutError:
        return [Finding("error", "storage", f"{url} does not answer within {PATIENCE:.0f} s",
                        "another process hangs while it writes, or is stopped: let it go on"
                        " (kill -CONT), or end it")]  # fmt: skip
    except BackroomError as error:
        restore = "; a backup is restored with: backroom restore FILE --force"
        return [Finding("error", "storage", str(error),
                        "see above" + (restore if directory_of(service) else ""))]  # fmt: skip
    await service.stop(0)
    ahead = [(info.created_at - datetime.now(UTC)).total_seconds() for info in newest]
    return [
        Finding("ok", "storage", f"{url} answers ({took * 1000:.0f} ms)"),
        _clock(ahead),
        counts,
        where,
        *away,
        *_types(service, stats),
        *_waiting(stats),
    ]


async def _counts(service: JobService, recount: bool) -> Finding:
    """Whether the numbers that the store keeps are those of the jobs that are there."""
    storage = service.storage
    try:
        if recount:
            await asyncio.wait_for(storage.recount(), COUNTING)
        wrong = await asyncio.wait_for(storage.miscounted(), COUNTING)
    except TimeoutError:
        return Finding(
            "warning", "counts", f"not compared with the jobs: it takes over {COUNTING:.0f} s",
            "try again when less is going on",
        )  # fmt: skip
    if wrong:
        more = f" and {len(wrong) - TOLD} more" if len(wrong) > TOLD else ""
        return Finding(
            "warning", "counts", f"counts are wrong: {'; '.join(wrong[:TOLD])}{more}",
            "backroom doctor --recount (nobody can schedule or claim while it counts)",
        )  # fmt: skip
    return Finding("ok", "counts", "what is counted is what is there")


def _clock(ahead: list[float]) -> Finding:
    boot = boot_id()
    if ahead and ahead[0] > SKEW:
        return Finding(
            "warning", "clock", f"the newest job was made {ahead[0]:.0f} s in the future",
            "a clock was set back, or differs between processes: synchronise it (timedatectl)",
        )  # fmt: skip
    if boot == "unknown":
        return Finding(
            "warning", "clock", "the system does not tell one start of the machine from the next",
            "after a restart, jobs of dead workers come back when their lease has ended only",
        )  # fmt: skip
    return Finding("ok", "clock", f"boot {boot}, no job from the future")


def _types(service: JobService, stats: JobStats) -> Iterator[Finding]:
    for kind in stats.parked:
        here = service.handled_versions.get(kind.type, 0) >= kind.version
        mend = "a worker of this application would run them: start one, or restart the old ones"
        yield Finding(
            "warning", "types",
            f"{count_of(kind.jobs, 'job')} of type {kind.name} parked: no worker knew it",
            mend if here else "start a worker that has a handler for it, or: backroom jobs cancel"
            f" --type {kind.type}",
        )  # fmt: skip
    if not stats.parked:
        yield Finding("ok", "types", "no job waits for a handler that no worker has")


def _waiting(stats: JobStats) -> Iterator[Finding]:
    now = datetime.now(UTC)
    living = len(stats.workers)
    elsewhere = ""
    for queue in stats.queues:
        if queue.paused and queue.pending:
            elsewhere = " in the queues that run"
            yield Finding(
                "warning", "queues",
                f"{queue.name} is paused; {count_of(queue.pending, 'job')} due there",
                f"backroom queues resume {queue.name}",
            )  # fmt: skip
    due = [queue for queue in stats.queues if queue.oldest_pending and not queue.paused]
    oldest = min((queue.oldest_pending for queue in due if queue.oldest_pending), default=None)
    waits = 0.0 if oldest is None else (now - oldest).total_seconds()
    count = sum(queue.pending for queue in due)
    if oldest is None:
        yield Finding("ok", "waiting", f"no job is due{elsewhere}; workers: {living}")
    elif not living:
        yield Finding(
            "warning", "waiting",
            f"{count_of(count, 'job')} due, the oldest for {waits:.0f} s, and no worker runs",
            "backroom worker MODULE:ATTR",
        )  # fmt: skip
    elif all(worker.draining for worker in stats.workers):
        yield Finding(
            "warning", "waiting",
            f"{count_of(count, 'job')} due, the oldest for {waits:.0f} s, and all workers drain",
            "backroom workers resume ID (see backroom workers list)",
        )  # fmt: skip
    elif waits > LATE:
        yield Finding(
            "warning", "waiting", f"{count_of(count, 'job')} due, the oldest for {waits:.0f} s",
            "no worker serves its queue, or they are too few: see backroom queues list",
        )  # fmt: skip
    else:
        yield Finding(
            "ok", "waiting", f"{count_of(count, 'job')} due{elsewhere}; workers: {living}"
        )


# -- what its files say ------------------------------------------------------------------------


def _is_there(directory: Path) -> Finding | None:
    try:
        (directory / DATABASE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return Finding(
            "error", "storage", f"there is no job store in {directory}",
            "name it with --storage file:PATH; a worker, or the first job, makes a new one",
        )  # fmt: skip
    except OSError as error:
        return Finding("error", "storage", f"{directory} cannot be looked into: {error.strerror}",
                       "run this as the user whose store it is")  # fmt: skip
    return None


def _files(directory: Path) -> Iterator[Finding]:
    found = apsw.sqlite_lib_version()
    if tuple(int(part) for part in found.split(".")) < FIXED_SQLITE:
        yield Finding("error", "sqlite", f"apsw brings SQLite {found}, which can corrupt a store",
                      "install apsw 3.51.3 or newer")  # fmt: skip
    else:
        yield Finding("ok", "sqlite", f"SQLite {found}, of apsw {apsw.apsw_version()}")
    yield from _permissions(directory)
    yield _room(directory)


def _permissions(directory: Path) -> Iterator[Finding]:
    sound = True
    for path, wanted in [(directory, 0o700), *((file, 0o600) for file in directory.iterdir())]:
        try:
            status = path.stat()
        except FileNotFoundError:  # A worker came or went.
            continue
        mode = stat.S_IMODE(status.st_mode)
        if mode & ~0o700:
            sound = False
            yield Finding(
                "warning", "permissions", f"{path} is open to other users ({mode:04o})",
                f"chmod {wanted:o} {path}",
            )  # fmt: skip
        if status.st_uid != os.geteuid():
            sound = False
            yield Finding(
                "warning", "permissions", f"{path} belongs to user {status.st_uid}, not to you",
                "run this, and all that uses the store, as one user",
            )  # fmt: skip
    if not os.access(directory, os.W_OK | os.X_OK):
        sound = False
        yield Finding("error", "permissions", f"{directory} cannot be written by this user",
                      "run this as the user whose store it is")  # fmt: skip
    if sound:
        yield Finding("ok", "permissions", "the folder and its files are yours alone")


def _room(directory: Path) -> Finding:
    disk = os.statvfs(directory)
    free = disk.f_bavail * disk.f_frsize
    log = directory / f"{DATABASE}-wal"
    long = log.stat().st_size if log.exists() else 0
    says = f"{free / 2**20:,.0f} MiB are free"
    if free < LITTLE_ROOM:
        level: Literal["warning", "error"] = "error" if free < LEAST_ROOM else "warning"
        return Finding(level, "disk", says, "make room: a full disk stops scheduling and outcomes")
    if long > LONG_LOG:
        return Finding(
            "warning", "disk", f"{log} has {long / 2**20:,.0f} MiB",
            "some program reads the database all the time and keeps it from being emptied",
        )  # fmt: skip
    return Finding("ok", "disk", says)


def _facts(service: JobService, directory: Path) -> Iterator[Finding]:
    """What stands in the database beside jobs: its version, and who is enlisted there."""
    try:
        connection = apsw.Connection(str(directory / DATABASE), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.set_busy_timeout(int(PATIENCE * 1000))
            ours = connection.pragma("application_id") == APPLICATION_ID
            version = connection.pragma("user_version")
            rows = connection.execute("SELECT id, name, boot, lease_until FROM worker")
            workers = [Enlisted(*row) for row in rows]
        finally:
            connection.close()
    except apsw.Error:
        return  # What is wrong with it is told by the storage itself.
    if ours and version == SCHEMA_VERSION:
        yield Finding("ok", "schema", f"version {version}")
    elif ours:
        yield Finding("error", "schema", f"version {version}, this Backroom knows {SCHEMA_VERSION}",
                      "run the Backroom that wrote it, or upgrade this one")  # fmt: skip
    yield _orphans(service, directory, workers)


def _orphans(service: JobService, directory: Path, workers: list[Enlisted]) -> Finding:
    now, boot = service.storage.clock.uptime(), boot_id()
    try:
        folder = Folder.enter(directory)
    except BackroomError as error:
        return Finding("error", "workers", str(error), "see storage")
    try:
        gone = [
            worker.name
            for worker in workers
            if worker.boot != boot or worker.until <= now or not folder.is_held(worker.number)
        ]
    finally:
        folder.leave()
    if gone:
        return Finding(
            "warning", "workers", f"dead workers are still enlisted: {', '.join(gone)}",
            "the next worker that runs takes their jobs back within a second; start one",
        )  # fmt: skip
    return Finding("ok", "workers", f"{len(workers)} enlisted, all alive")
