"""The storages on which the chaos plays: what the processes are told of them, and how a store is
read when the last process has left it, by nothing of ours."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Final, Protocol

import psycopg

from tests.crash.books import Kept, Store
from tests.process.parts import Child, eventually
from tests.servers.binaries import find_binaries
from tests.servers.fixtures import choose
from tests.servers.postgres import PostgresError, PostgresServer

__all__ = ["GROUNDS", "Database", "Folder", "Ground"]

STATES = ("waiting", "active", "completed", "failed", "cancelled", "blocked", "parked")
CLEAN = ["jobs.db", "jobs.lock", "store.json"]
"""What a folder holds when the last process has left it."""


class Ground(Protocol):
    """Where the jobs of one play are."""

    url: str
    lease: float
    """Seconds of the leases that are to end: no longer than a play can wait for."""
    counted_ahead: int
    """Jobs of a worker that count as started there before they begin; see `Books`."""

    def freeze(self, victim: Child) -> None:
        """Stops a process where it is in nobody's way but by what it holds there."""
        ...

    def read(self) -> Store:
        """All jobs, and what is not in order, when no process uses it any more."""
        ...


class Folder:
    """A file storage."""

    lease: Final = 1.0
    counted_ahead: Final = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "jobs"
        self.url = f"file:{self.folder}"

    def freeze(self, victim: Child) -> None:
        victim.freeze(self.folder)

    def read(self) -> Store:
        left = sorted(os.listdir(self.folder))  # Before a reader makes files of its own.
        uri = f"file:{self.folder / 'jobs.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            verdict = connection.execute("PRAGMA integrity_check(3)").fetchall()
            rows = connection.execute(
                "SELECT data->>'serial', type, state, attempt, crashes,"
                " ifnull(options->>'retries', 3), result FROM job"
            ).fetchall()
            workers = connection.execute("SELECT name FROM worker").fetchall()
            ownerless = connection.execute(
                "SELECT count(*) FROM job WHERE state = 1 AND worker NOT IN (SELECT id FROM worker)"
            ).fetchone()[0]
        wrong = [f"the database is damaged: {text}" for (text,) in verdict if text != "ok"]
        wrong += [f"worker {name} is enlisted, though all have left" for (name,) in workers]
        if ownerless:
            wrong.append(f"{ownerless} jobs are active without a worker")
        if left != CLEAN:
            wrong.append(f"the folder was left with {left}")
        return Store([_kept(*row) for row in rows], wrong)


class Database:
    """A database of a server that is this play's own, and keeps what it has answered."""

    lease: Final = 3.0  # On a busy machine, its keeper needs a second to connect.
    counted_ahead: Final = 300  # What `lanes` clears to start before there is a slot for it.

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.url = server.create_database("chaos")

    def freeze(self, victim: Child) -> None:
        victim.stop_still()

    def read(self) -> Store:
        with psycopg.connect(self.url, autocommit=True) as reader:
            rows = reader.execute(JOBS).fetchall()
            wrong = [
                sentence.format(*row)
                for question, sentence in DISORDER.items()
                for row in reader.execute(question).fetchall()
            ]
            try:
                eventually(
                    lambda: not reader.execute(CONNECTIONS).fetchall(),
                    "all connections have ended",
                    5,
                )
            except AssertionError as error:
                wrong.append(str(error))
        return Store([_kept(*row) for row in rows], wrong)


def _kept(
    serial: str, kind: str, state: int, attempt: int, crashes: int, retries: int, result: str | None
) -> Kept:
    told = json.loads(result or "null")
    return Kept(serial, kind, STATES[state], attempt, crashes, retries, told)


JOBS: Final = """
    SELECT j.data::jsonb->>'serial', j.type,
        coalesce(e.state, CASE WHEN EXISTS (SELECT FROM background_jobs_held AS h
                                            WHERE j.id = ANY(h.ids)) THEN 1
                               WHEN EXISTS (SELECT FROM background_jobs_parked AS p
                                            WHERE p.id = j.id) THEN 6 ELSE 0 END),
        coalesce(e.attempt, j.attempt), j.crashes,
        coalesce((j.options::jsonb->>'retries')::integer, 3), e.result
    FROM background_jobs AS j LEFT JOIN background_jobs_ended AS e USING (id)
"""
DISORDER: Final = {
    "SELECT name FROM background_jobs_workers": "worker {0} is enlisted, though all have left",
    """SELECT id, count(p.place), string_agg(p.place, ' and ') FROM background_jobs FULL JOIN (
           SELECT id, 'ready' AS place FROM background_jobs_ready
           UNION ALL SELECT id, 'parked' FROM background_jobs_parked
           UNION ALL SELECT unnest(ids), 'held' FROM background_jobs_held
           UNION ALL SELECT id, 'ended' FROM background_jobs_ended) AS p USING (id)
       GROUP BY id HAVING count(p.place) <> 1""": "job {0} is in {1} places: {2}",
    """SELECT id FROM background_jobs_ended
       WHERE id NOT IN (SELECT id FROM background_jobs)""": "job {0} ended, and is not there",
    """SELECT id FROM background_jobs_keys
       WHERE id NOT IN (SELECT id FROM background_jobs)
       OR id IN (SELECT id FROM background_jobs_ended)""": "the key of job {0} was not let go",
    "SELECT id FROM background_jobs_cancels": "a wish to cancel job {0} is left",
}
"""What there may be no rows of, and what each of them says."""
CONNECTIONS: Final = """
    SELECT pid, state, query FROM pg_stat_activity
    WHERE application_name = 'backroom' AND datname = current_database()
"""


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[Ground]:
    yield Folder(folder)


@contextlib.contextmanager
def _database(folder: Path) -> Iterator[Ground]:
    with PostgresServer(choose(find_binaries()), durable=True) as server:
        ground = Database(server)
        yield ground
        if "PANIC" in server.log_tail(100_000):
            raise PostgresError(server.log_tail())


GROUNDS: Final[Mapping[str, Callable[[Path], AbstractContextManager[Ground]]]] = {
    "file": _folder,
    "postgres": _database,
}
