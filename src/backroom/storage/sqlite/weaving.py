"""Flows as they are made, added to and looked at. Each verb is one transaction; see `Flowing`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from backroom.flow import (
    KINDS,
    POLICIES,
    FlowRecord,
    FlowView,
    Kept,
    Member,
    Piece,
    Predecessor,
    Role,
    kept,
)
from backroom.flowing import followed, keyed, told_to_stop, too_late
from backroom.job import JobId, status_of
from backroom.stepping import lost
from backroom.storage.sqlite.flows import ADD_EDGES, ADD_MEMBERS, close, ended, put
from backroom.storage.sqlite.inserts import OneGroup
from backroom.storage.sqlite.keys import Keys, as_kept
from backroom.storage.sqlite.ledger import Ledger, encode

__all__ = ["extend", "flow", "flows", "insert", "open_flows", "predecessors"]

Run: TypeAlias = Callable[..., Any]
"""`Connection.execute`."""

_COLUMNS = (
    "id, name, kind, on_failure, created_at, jobs, open_jobs, open_others, completed, failed,"
    " cancelled, undone, finished_at"
)
ADD: Final = (
    "INSERT INTO flow (id, name, kind, on_failure, created_at) VALUES (?, ?, ?, ?, ?) RETURNING key"
)
MORE: Final = """
    UPDATE flow SET jobs = jobs + ?2, open_jobs = open_jobs + ?2, open_others = open_others + ?3
    WHERE key = ?1
"""
ONE: Final = f"SELECT key, {_COLUMNS} FROM flow WHERE id = ?"
PAGE: Final = f"""
    SELECT {_COLUMNS} FROM flow
    WHERE key < ifnull((SELECT key FROM flow WHERE id = ?1), ?3) ORDER BY key DESC LIMIT ?2
"""
JOBS: Final = """
    SELECT m.job, j.id, j.type, j.state, j.run_at, m.role, j.reason
    FROM member AS m JOIN job AS j ON j.key = m.job WHERE m.flow = ?1 ORDER BY m.job LIMIT ?2
"""
EDGES: Final = """
    SELECT e.parent, e.child FROM edge AS e WHERE e.child IN (SELECT value FROM json_each(?1))
    ORDER BY e.child, e.parent
"""
HOLDS: Final = """
    SELECT m.flow, m.role, job.cancel_requested FROM job JOIN member AS m ON m.job = job.key
    WHERE job.key = ?1 AND job.token = ?2 AND job.state = 1
"""
BY_ID: Final = """
    SELECT job.id, job.key, job.state, m.flow FROM job LEFT JOIN member AS m ON m.job = job.key
    WHERE job.id IN (SELECT value FROM json_each(?1))
"""
WAITING_CHILDREN: Final = """
    WITH RECURSIVE before (job) AS (
        SELECT value FROM json_each(?2)
        UNION SELECT e.parent FROM before AS b CROSS JOIN edge AS e ON e.child = b.job
        WHERE NOT e.done
    )
    SELECT e.child FROM edge AS e JOIN job ON job.key = e.child
    JOIN member AS m ON m.job = e.child
    WHERE e.parent = ?1 AND NOT e.done AND job.state = 5 AND m.waits > 0
    AND e.child NOT IN (SELECT job FROM before)
"""
"""Of a job, without those that some others are, or wait for."""
MORE_WAITS: Final = "UPDATE member SET waits = waits + ?2 WHERE job = ?1"
_PREDECESSORS = """
    SELECT p.id, p.type, p.state, p.result, p.reason
    FROM {source} JOIN job AS p ON p.key = {which}
    WHERE {where} AND (?2 IS NULL OR p.type = ?2)
    AND {which} > ifnull((SELECT key FROM job WHERE id = ?3), -1) ORDER BY {which} LIMIT ?4
"""
PARENTS: Final = _PREDECESSORS.format(
    source="edge AS e JOIN member AS m ON m.job = e.parent", which="e.parent",
    where="e.child = ?1 AND m.role = 0",
)  # fmt: skip
ALL_JOBS: Final = _PREDECESSORS.format(
    source="member AS m", which="m.job",
    where="m.flow = (SELECT flow FROM member WHERE job = ?1) AND m.role = 0",
)  # fmt: skip


# -- changes -------------------------------------------------------------------------------------


def insert(ledger: Ledger, flow: FlowRecord, piece: Piece, now: int) -> None:
    """See `Flowing.insert_flow`."""
    if ledger.run("SELECT 1 FROM flow WHERE id = ?", (flow.id,)).fetchone():
        return
    _take_keys(ledger, piece, now)
    [(key,)] = ledger.run(
        ADD,
        (
            flow.id, flow.name, KINDS.index(flow.kind), POLICIES.index(flow.on_failure),
            flow.created_at,
        ),
    )  # fmt: skip
    _add(ledger, key, piece.members, piece.edges, {}, now)
    ended(ledger, close(ledger, [key], now), now)


def extend(ledger: Ledger, piece: Piece, key: int, token: int, now: int) -> None:
    """See `Flowing.extend_flow`."""
    row = ledger.run(HOLDS, (key, token)).fetchone()
    if row is None:
        raise lost()
    flow, role, cancelled = row
    if role != Role.JOB:
        raise too_late()
    if cancelled:
        raise told_to_stop()
    new = {member.record.id for member in piece.members}
    outside = {parent for parent, _ in piece.edges} - new
    rows = list(ledger.run(BY_ID, (encode(sorted(new | outside)),)))
    completed = followed(piece, {id_: (its, state) for id_, _, state, its in rows}, flow)
    if completed is None:
        return
    _take_keys(ledger, piece, now)
    there = {id_: (job, completed[id_]) for id_, job, _, _ in rows}
    before = encode([job for job, _ in there.values()])
    children = [child for (child,) in ledger.run(WAITING_CHILDREN, (key, before))]
    keys = _add(ledger, flow, piece.members, piece.edges, there, now)
    parents = {parent for parent, _ in piece.edges}
    last = [keys[member.record.id] for member in piece.members if member.record.id not in parents]
    for child in children:
        ADD_EDGES.run(ledger, [(one, child, 0) for one in last])
        ledger.run(MORE_WAITS, (child, len(last)))


def _take_keys(ledger: Ledger, piece: Piece, now: int) -> None:
    """The unique keys of new members are theirs.

    Raises:
        DuplicateJobError: another job holds one; nothing was written.
    """
    jobs = keyed(piece)
    if not jobs:
        return
    keys, group = Keys(ledger, []), OneGroup(jobs, now)
    for job in jobs:
        keys.twin(job, group)
    keys.write()


def _add(
    ledger: Ledger,
    flow: int,
    members: Sequence[Member],
    edges: Sequence[tuple[str, str]],
    there: dict[str, tuple[int, bool]],
    now: int,
) -> dict[str, int]:
    """Keeps new members; `there`: the keys of other jobs that some of them wait for, and whether
    these have completed. Returns the keys of the new ones."""
    waits = Counter(child for parent, child in edges if not there.get(parent, (0, False))[1])
    for member in members:
        if member.role == Role.CALLBACK:
            waits[member.record.id] = 1
    made = put(ledger, [(as_kept(one.record), waits[one.record.id] > 0) for one in members], now)
    keys = {member.record.id: key for member, key in zip(members, made, strict=True)}
    ADD_MEMBERS.run(
        ledger,
        [
            (
                keys[one.record.id], flow, int(one.role), int(one.anyway), waits[one.record.id],
                None if one.undo is None else encode(one.undo),
            )
            for one in members
        ],
    )  # fmt: skip
    ADD_EDGES.run(
        ledger,
        [
            (there[parent][0], keys[child], int(there[parent][1]))
            if parent in there
            else (keys[parent], keys[child], 0)
            for parent, child in edges
        ],
    )
    jobs = sum(1 for member in members if member.role == Role.JOB)
    ledger.run(MORE, (flow, jobs, len(members) - jobs))
    return keys


# -- looks ---------------------------------------------------------------------------------------


def flow(run: Run, flow_id: str, now: int, limit: int) -> FlowView | None:
    """See `Flowing.flow`."""
    row = run(ONE, (flow_id,)).fetchone()
    if row is None:
        return None
    jobs = list(run(JOBS, (row[0], limit)))
    ids = {key: id_ for key, id_, *_ in jobs}
    edges = run(EDGES, (encode(list(ids)),))
    return FlowView(
        kept(*row[1:]),
        [
            (id_, type_, status_of(state, run_at, now), role, reason)
            for _, id_, type_, state, run_at, role, reason in jobs
        ],
        [(ids[parent], ids[child]) for parent, child in edges if parent in ids],
    )


def flows(run: Run, limit: int, before: str | None) -> list[Kept]:
    """See `Flowing.flows`."""
    return [kept(*row) for row in run(PAGE, (before, limit, 2**62))]


def open_flows(run: Run) -> int:
    """See `Flowing.open_flows`."""
    [(count,)] = run("SELECT count(*) FROM flow WHERE finished_at IS NULL")
    return int(count)


def predecessors(
    run: Run, key: int, type_: str | None, after: str | None, limit: int
) -> list[Predecessor]:
    """See `Flowing.predecessors`."""
    row = run("SELECT role FROM member WHERE job = ?", (key,)).fetchone()
    text = ALL_JOBS if row is not None and row[0] == Role.CALLBACK else PARENTS
    return [
        Predecessor(JobId(id_), kind, status_of(state, 0, 0), result, reason)
        for id_, kind, state, result, reason in run(text, (key, type_, after, limit))
    ]
