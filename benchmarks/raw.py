"""The raw limit: the same rows, tables, indexes and settings through the same SQLite, in
batches, by a bare loop without any framework."""

from __future__ import annotations

import tempfile
import time
import uuid
from pathlib import Path

import apsw

from backroom.storage.folder import Folder
from backroom.storage.sqlite.connect import connect

PAYLOAD = '{"template":"welcome","recipient":"ada@example.com","text":"' + "y" * 141 + '"}'
INSERT = """INSERT INTO job (id, type, queue, priority, state, run_at, created_at, data, token)
            VALUES (?, ?, ?, ?, 0, ?, ?, ?, 0)"""
CLAIM = """UPDATE job SET state = 1, worker = 1, token = ? WHERE key IN (
               SELECT key FROM job WHERE state = 0 AND queue = 'default' AND priority = 2
               AND run_at <= ? ORDER BY run_at, key LIMIT ?)
           RETURNING key, id, type, data, attempt, options"""
FINISH = """UPDATE job SET state = 2, worker = NULL, attempt = ?, started_at = ?, finished_at = ?,
            result = ? WHERE key = ? AND token = ? AND state = 1"""


def open_raw(directory: Path) -> apsw.Connection:
    """The connection that the file storage itself would use."""
    folder = Folder.enter(directory)
    with folder.writing():
        connection, reader = connect(folder, "full")
    reader.close()
    connection.execute("INSERT INTO queue (name) VALUES ('default')")
    return connection


def now() -> int:
    return time.time_ns() // 1000


def rows(count: int) -> list[tuple[object, ...]]:
    moment = now()
    return [
        (str(uuid.uuid4()), "NOOP", "default", 2, moment, moment, PAYLOAD) for _ in range(count)
    ]


def insert(connection: apsw.Connection, jobs: list[tuple[object, ...]], group: int) -> float:
    """Seconds to insert all jobs in groups."""
    began = time.perf_counter()
    for at in range(0, len(jobs), group):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, jobs[at : at + group])
        connection.execute("COMMIT")
    return time.perf_counter() - began


def work(connection: apsw.Connection, group: int) -> float:
    """Seconds to claim and finish all jobs in groups."""
    began = time.perf_counter()
    token = 0
    while True:
        token += 1
        moment = now()
        connection.execute("BEGIN IMMEDIATE")
        claimed = list(connection.execute(CLAIM, (token, moment, group)))
        connection.execute("COMMIT")
        if not claimed:
            return time.perf_counter() - began
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            FINISH, [(1, moment, moment, "null", row[0], token) for row in claimed]
        )
        connection.execute("COMMIT")


def lifecycle(connection: apsw.Connection, jobs: list[tuple[object, ...]], group: int) -> float:
    """Seconds for the whole life of all jobs: insert, claim and finish, group by group."""
    total = 0.0
    for at in range(0, len(jobs), group):
        total += insert(connection, jobs[at : at + group], group) + _once(connection, group)
    return total


def _once(connection: apsw.Connection, group: int) -> float:
    began = time.perf_counter()
    moment = now()
    connection.execute("BEGIN IMMEDIATE")
    claimed = list(connection.execute(CLAIM, (1, moment, group)))
    connection.execute("COMMIT")
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(FINISH, [(1, moment, moment, "null", row[0], 1) for row in claimed])
    connection.execute("COMMIT")
    return time.perf_counter() - began


def _paced(connection: apsw.Connection) -> float:
    """Milliseconds of one commit of one job, one every 20 ms: what an idle machine takes."""
    taken: list[float] = []
    for job in rows(100):
        time.sleep(0.02)
        taken.append(insert(connection, [job], 1) * 1e3)
    return sorted(taken)[50]


def measure(count: int, group: int) -> dict[str, float]:
    """Jobs a second of each raw loop, and milliseconds of one commit of one job."""
    with tempfile.TemporaryDirectory() as scratch:
        connection = open_raw(Path(scratch) / "a")
        jobs = rows(count)
        figures = {"insert": count / insert(connection, jobs, group)}
        figures["work"] = count / work(connection, group)
        connection.close()
        connection = open_raw(Path(scratch) / "b")
        figures["lifecycle"] = count / lifecycle(connection, rows(count), group)
        connection.close()
        connection = open_raw(Path(scratch) / "c")
        singles = sorted(insert(connection, [job], 1) * 1e3 for job in rows(200))
        figures["commit_ms"] = singles[100]
        figures["paced_commit_ms"] = _paced(connection)
        connection.close()
    return figures
