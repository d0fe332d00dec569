"""Flows that leave an embedded store for another one, or come from there: first their rows, then
their edges, then their jobs, which arrive in the reverse order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import astuple

from backroom.baggage import Edge, FlowBaggage, Freight, Parcel, encode, encode_freight, fitting
from backroom.errors import StorageError
from backroom.ports import Wake
from backroom.storage.arriving import flows_mark, some_flows
from backroom.storage.sqlite import limits
from backroom.storage.sqlite.bulk import Bulk
from backroom.storage.sqlite.keys import free
from backroom.storage.sqlite.ledger import Ledger
from backroom.storage.sqlite.ledger import encode as to_json
from backroom.storage.sqlite.moving import MAKE_PARCELS, SIZE, read
from backroom.storage.sqlite.retention import forget

__all__ = [
    "pack_edges", "pack_flows", "pack_members", "unpack_edges", "unpack_flows",
]  # fmt: skip

_THESE = "(SELECT value FROM json_each(?1))"
_LEAVING = f"(SELECT key FROM away WHERE id IN {_THESE})"
_COLUMNS = (
    "id, name, kind, on_failure, created_at, jobs, open_jobs, open_others, completed, failed,"
    " cancelled, undone, finished_at"
)

# Those of which no worker holds a job.
NEXT: Final = """
    SELECT key, jobs FROM flow
    WHERE (finished_at IS NULL OR ?1) AND key NOT IN (
        SELECT m.flow FROM job JOIN member AS m ON m.job = job.key WHERE job.state = 1)
    ORDER BY key LIMIT ?2
"""
COUNTS: Final = """
    (SELECT count(*) FROM member AS m WHERE m.flow = {key}),
    (SELECT count(*) FROM member AS m JOIN edge AS e ON e.child = m.job WHERE m.flow = {key})
"""
READ: Final = f"""
    SELECT {_COLUMNS}, {COUNTS.format(key="flow.key")} FROM flow WHERE key IN {_THESE} ORDER BY key
"""
_MEMBERS = f"(SELECT job FROM member WHERE flow IN {_THESE})"
OUT_OF_LINE: Final = f"DELETE FROM blocked WHERE job IN {_MEMBERS}"
HOLD_STILL: Final = f"UPDATE job SET state = 5 WHERE state IN (0, 6) AND key IN {_MEMBERS}"
LEAVE: Final = f"INSERT INTO away (key, id) SELECT key, id FROM flow WHERE key IN {_THESE}"
GONE: Final = f"DELETE FROM flow WHERE key IN {_THESE}"
SOME_EDGES: Final = f"""
    SELECT e.parent, e.child, p.id, c.id, e.done
    FROM member AS m JOIN edge AS e ON e.child = m.job
    JOIN job AS p ON p.key = e.parent JOIN job AS c ON c.key = e.child
    WHERE m.flow IN {_LEAVING} LIMIT ?2
"""
DROP_EDGES: Final = """
    DELETE FROM edge WHERE (parent, child) IN (
        SELECT value->>0, value->>1 FROM json_each(?))
"""
SOME_MEMBERS: Final = f"""
    SELECT job.key, {SIZE} + ifnull(octet_length(m.undo), 0)
    FROM (SELECT job, undo FROM member WHERE flow IN {_LEAVING} ORDER BY flow, job LIMIT ?2) AS m
    JOIN job ON job.key = m.job ORDER BY job.key
"""
KEYS: Final = f"SELECT id, key FROM job WHERE id IN {_THESE}"
BRING_EDGES: Final = Bulk(
    "INSERT INTO edge (parent, child, done)"
    " SELECT rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL"
    " ON CONFLICT DO NOTHING",
    width=3,
)
ARRIVED: Final = f"SELECT id, key, {COUNTS.format(key='away.key')} FROM away WHERE id IN {_THESE}"
BRING: Final = (
    f"INSERT INTO flow (key, {_COLUMNS}) VALUES ({', '.join('?' * (1 + _COLUMNS.count(',') + 1))})"
)
# What waits for no other job may be claimed.
LET_MOVE: Final = f"""
    UPDATE job SET state = 0
    WHERE state = 5 AND key IN (SELECT job FROM member WHERE flow IN {_THESE} AND waits <= 0)
"""


# -- from here -----------------------------------------------------------------------------------


def pack_flows(ledger: Ledger, limit: int, history: bool, target: int, label: str) -> Parcel | None:
    """See `Movable.pack_flows`."""
    sizes = list(ledger.run(NEXT, (history, limit)))
    if not sizes:
        return None
    these = to_json([key for key, _ in sizes[: some_flows(jobs for _, jobs in sizes)]])
    flows = tuple(_flow(row) for row in ledger.run(READ, (these,)))
    for statement in (OUT_OF_LINE, HOLD_STILL):
        ledger.run(statement, (these,))
    ledger.run(LEAVE, (these,))
    ledger.run(GONE, (these,))
    return _parcel(ledger, Freight(flows=flows), target, label)


def pack_edges(
    ledger: Ledger, flows: Sequence[str], limit: int, target: int, label: str
) -> Parcel | None:
    """See `Movable.pack_edges`."""
    rows = list(ledger.run(SOME_EDGES, (to_json(list(flows)), limit)))
    if not rows:
        return None
    ledger.run(DROP_EDGES, (to_json([row[:2] for row in rows]),))
    edges = tuple((parent, child, bool(done)) for *_, parent, child, done in rows)
    return _parcel(ledger, Freight(edges=edges), target, label)


def pack_members(
    ledger: Ledger, flows: Sequence[str], limit: int, target: int, label: str
) -> Parcel | None:
    """See `Movable.pack_members`."""
    sizes = list(ledger.run(SOME_MEMBERS, (to_json(list(flows)), limit)))
    keys = [key for key, _ in sizes[: fitting(sizes)]]
    if not keys:
        return None
    jobs = list(read(ledger.run, keys).values())
    free(ledger, keys)
    forget(ledger, keys)
    limits.leave(ledger, keys)
    [(number,)] = ledger.run(
        "INSERT INTO parcel (target, label, jobs) VALUES (?, ?, ?) RETURNING number",
        (target, label, encode(jobs)),
    )
    return Parcel(number, target, label, jobs)


def _parcel(ledger: Ledger, freight: Freight, target: int, label: str) -> Parcel:
    ledger.run(MAKE_PARCELS)
    [(number,)] = ledger.run(
        "INSERT INTO parcel (target, label, jobs) VALUES (?, ?, ?) RETURNING number",
        (target, label, encode_freight(freight)),
    )
    return Parcel(number, target, label, (), freight)


def _flow(row: Sequence[Any]) -> FlowBaggage:
    *values, undone, finished_at, members, edges = row
    return FlowBaggage(*(*values, bool(undone), finished_at, members, edges))


# -- to here -------------------------------------------------------------------------------------


def unpack_edges(ledger: Ledger, edges: Sequence[Edge]) -> None:
    """See `Movable.unpack_edges`."""
    ids = {id_ for parent, child, _ in edges for id_ in (parent, child)}
    keys = dict(ledger.run(KEYS, (to_json(sorted(ids)),)))
    if len(keys) < len(ids):
        raise StorageError("an edge came before the jobs that it is between")
    BRING_EDGES.run(ledger, [(keys[parent], keys[child], done) for parent, child, done in edges])


def unpack_flows(ledger: Ledger, source: int, parcel: Parcel) -> int:
    """See `Movable.unpack_flows`."""
    mark = flows_mark(source, parcel)
    if ledger.run("SELECT 1 FROM meta WHERE name = ?", (mark,)).fetchone():
        return 0
    these = to_json([flow.id for flow in parcel.flows])
    here = {id_ for (id_,) in ledger.run(f"SELECT id FROM flow WHERE id IN {_THESE}", (these,))}
    found = {id_: row for id_, *row in ledger.run(ARRIVED, (these,))}
    new = [flow for flow in parcel.flows if flow.id not in here]
    for flow in new:
        key, *counts = found.get(flow.id, (None, 0, 0))  # One without jobs has no number yet.
        flow.check(*counts)
        ledger.run(BRING, (key, *astuple(flow)[:-2]))
    keys = to_json([key for key, *_ in found.values()])
    ledger.run(LET_MOVE, (keys,))
    ledger.run(f"DELETE FROM away WHERE key IN {_THESE}", (keys,))
    ledger.run("INSERT INTO meta VALUES (?, ?)", (mark, parcel.number))
    ledger.wakes |= {Wake.JOBS, Wake.FINISHED}
    return len(new)
