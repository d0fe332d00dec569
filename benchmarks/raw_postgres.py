"""The raw limit of PostgreSQL: the same rows through psycopg, in batches, by a bare loop with
hand-written statements and no framework. One table whose rows are updated, as most queues have
it; for what is inserted also the very tables and indexes of the storage."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import msgspec
import psycopg

from benchmarks.raw import PAYLOAD, now

DATA = json.loads(PAYLOAD)
TABLE = """
CREATE TABLE raw_job (
    id uuid PRIMARY KEY, type text NOT NULL, queue text NOT NULL, priority smallint NOT NULL,
    state smallint NOT NULL DEFAULT 0, run_at bigint NOT NULL, created_at bigint NOT NULL,
    data text NOT NULL, token bigint NOT NULL DEFAULT 0, attempt integer NOT NULL DEFAULT 0,
    started_at bigint, finished_at bigint, result text);
CREATE INDEX ON raw_job (queue, priority, run_at, id) WHERE state = 0;
"""
INSERT = """INSERT INTO raw_job (id, type, queue, priority, run_at, created_at, data)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::smallint[], %s::bigint[], %s::bigint[],
                     %s::text[])"""
CLAIM = """WITH due AS (
    SELECT id FROM raw_job WHERE state = 0 AND queue = 'default' AND priority = 2 AND run_at <= %s
    ORDER BY run_at, id LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE raw_job AS j SET state = 1, token = %s, attempt = attempt + 1, started_at = %s
FROM due WHERE j.id = due.id RETURNING j.id, j.type, j.data, j.attempt"""
FINISH = """UPDATE raw_job AS j SET state = 2, finished_at = %s, result = d.result
FROM unnest(%s::uuid[], %s::text[]) AS d (id, result)
WHERE j.id = d.id AND j.token = %s AND j.state = 1"""
FORGET = """DELETE FROM raw_job AS j USING unnest(%s::uuid[]) AS d (id)
WHERE j.id = d.id AND j.token = %s AND j.state = 1"""
COPY_JOBS = """COPY background_jobs (id, type, queue, priority, run_at, created_at, data)
FROM STDIN (FORMAT binary)"""
COPY_READY = (
    """COPY background_jobs_ready (queue, priority, run_at, id) FROM STDIN (FORMAT binary)"""
)


def encoded(count: int) -> list[list[Any]]:
    """Ids and data made by hand, as an application without a framework would."""
    moment, encode = now(), msgspec.json.encode
    return [
        [uuid.uuid4() for _ in range(count)], ["NOOP"] * count, ["default"] * count, [2] * count,
        [moment] * count, [moment] * count, [encode(DATA).decode() for _ in range(count)],
    ]  # fmt: skip


def columns(count: int) -> list[list[Any]]:
    moment = now()
    return [
        [uuid.uuid4() for _ in range(count)], ["NOOP"] * count, ["default"] * count, [2] * count,
        [moment] * count, [moment] * count, [PAYLOAD] * count,
    ]  # fmt: skip


def insert(connection: psycopg.Connection[Any], jobs: list[list[Any]], group: int) -> float:
    """Seconds to insert all jobs in groups, each a transaction."""
    began = time.perf_counter()
    for at in range(0, len(jobs[0]), group):
        connection.execute(INSERT, [column[at : at + group] for column in jobs])
    return time.perf_counter() - began


def once(connection: psycopg.Connection[Any], token: int, group: int, forget: bool = False) -> int:
    """Claims and finishes a group, or forgets it when it has run; how many those were."""
    claimed = connection.execute(CLAIM, (now(), group, token, now())).fetchall()
    if claimed and forget:
        connection.execute(FORGET, ([row[0] for row in claimed], token))
    elif claimed:
        connection.execute(
            FINISH, (now(), [row[0] for row in claimed], ["null"] * len(claimed), token)
        )
    return len(claimed)


def measure(directory: str, count: int, group: int) -> dict[str, float]:
    """Jobs a second of inserting, of claiming and finishing, of claiming and deleting, and of whole
    lives, group by group; bytes of WAL a job of the second and the last; and milliseconds of one
    commit of one job."""
    with psycopg.connect(directory, autocommit=True) as connection:
        connection.execute(TABLE.encode())
        figures = {"insert": count / insert(connection, columns(count), group)}
        before, began, token = lsn(connection), time.perf_counter(), 1
        while once(connection, token, group):
            token += 1
        figures["work"] = count / (time.perf_counter() - began)
        figures["wal"] = (lsn(connection) - before) / count
        connection.execute("DROP TABLE raw_job")
        connection.execute(TABLE.encode())
        insert(connection, columns(count), group)
        began = time.perf_counter()
        while once(connection, token, group, forget=True):
            token += 1
        figures["forgetting"] = count / (time.perf_counter() - began)
        connection.execute("DROP TABLE raw_job")
        connection.execute(TABLE.encode())
        before, took = lsn(connection), 0.0
        for _ in range(0, count, group):
            jobs = columns(group)
            began = time.perf_counter()
            insert(connection, jobs, group)
            once(connection, token, group)
            took += time.perf_counter() - began
        figures["lifecycle"] = count / took
        figures["lifecycle_wal"] = (lsn(connection) - before) / count
        singles = []
        for _ in range(100):
            job = columns(1)
            began = time.perf_counter()
            insert(connection, job, 1)
            singles.append((time.perf_counter() - began) * 1e3)
        figures["commit_ms"] = sorted(singles)[50]
        connection.execute("DROP TABLE raw_job")
    return figures


def lsn(connection: psycopg.Connection[Any]) -> int:
    """Where the WAL has come to, in bytes."""
    row = connection.execute("SELECT (pg_current_wal_lsn() - '0/0')::bigint").fetchone()
    assert row is not None
    return int(row[0])


def copy(url: str, count: int) -> dict[str, float]:
    """Jobs a second that COPY takes into the tables of the storage, in one transaction, ids and
    JSON made on the way."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        began = time.perf_counter()
        jobs = encoded(count)
        kinds = ["uuid", "text", "text", "int2", "int8", "int8", "text"]
        with cursor.copy(COPY_JOBS) as into:
            into.set_types(kinds)
            for row in zip(*jobs, strict=True):
                into.write_row(row)
        with cursor.copy(COPY_READY) as into:
            into.set_types(["text", "int2", "int8", "uuid"])
            for row in zip(jobs[2], jobs[3], jobs[4], jobs[0], strict=True):
                into.write_row(row)
        connection.commit()
        took = time.perf_counter() - began
    return {"rate": count / took}
