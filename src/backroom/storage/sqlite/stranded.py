"""Jobs that have not ended, and that nobody would ever run: how they are found, and put back.

No change of ours leaves one. They come from outside: from a row that somebody deleted, from a copy
that lost some.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from backroom.inspecting import Stranded
from backroom.job import State
from backroom.ports import Wake
from backroom.storage.sqlite import limits, turns
from backroom.storage.sqlite.ledger import Ledger, encode
from backroom.storage.sqlite.workers import take_back

__all__ = ["look", "requeue"]

# Each by an index that holds none that have ended. Those that wait are in their queue's index; what
# is looked for is a queue that no worker would look into.
QUEUES: Final = """
    WITH RECURSIVE one (name) AS (
        SELECT min(queue) FROM job INDEXED BY job_ready WHERE state = 0
        UNION ALL
        SELECT (SELECT min(queue) FROM job INDEXED BY job_ready
                WHERE state = 0 AND queue > one.name)
        FROM one WHERE one.name IS NOT NULL)
    SELECT name FROM one WHERE name IS NOT NULL AND name NOT IN (SELECT name FROM queue)
"""
UNKNOWN: Final = f"""
    SELECT id FROM job INDEXED BY job_ready
    WHERE state = 0 AND queue IN ({QUEUES}) LIMIT ?1
"""
PARKED: Final = """
    SELECT id FROM job INDEXED BY job_parked_kind
    WHERE state = 6 AND queue NOT IN (SELECT name FROM queue) LIMIT ?1
"""
_NOBODYS: Final = "state = 1 AND (worker IS NULL OR worker NOT IN (SELECT id FROM worker))"
ACTIVE: Final = f"SELECT id FROM job INDEXED BY job_active WHERE {_NOBODYS} LIMIT ?1"
# In no line, called from none, and no job or flow that it waits for lets it go.
_UNCALLED: Final = """
    state = 5
    AND NOT EXISTS (SELECT 1 FROM blocked AS b WHERE b.job = job.key AND b.called_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM member AS m WHERE m.job = job.key
                    AND (m.waits > 0 OR m.flow IN (SELECT key FROM away)))
"""
BLOCKED: Final = f"""
    WITH some AS MATERIALIZED (
        SELECT key FROM job INDEXED BY job_blocked WHERE state = 5 AND key > ?1
        ORDER BY key LIMIT ?2)
    SELECT count(*), max(key), (
        SELECT json_group_array(id) FROM job
        WHERE key IN (SELECT key FROM some) AND {_UNCALLED}) FROM some
"""
AMONG: Final = f"""
    SELECT key, state, worker, queue FROM job WHERE id IN (SELECT value FROM json_each(?1)) AND (
        {_NOBODYS} OR {_UNCALLED}
        OR state IN (0, 6) AND queue NOT IN (SELECT name FROM queue))
"""
LET_GO: Final = """
    UPDATE job SET state = 0 WHERE key IN (SELECT value FROM json_each(?1)) AND state = 5
"""


def look(run: Callable[..., Any], after: str | None, most: int) -> Stranded:
    """See `Inspection.stranded`."""
    ids: list[str] = []
    if after is None:  # Few of these, or found at once.
        for text in (UNKNOWN, PARKED, ACTIVE):
            ids += [id_ for (id_,) in run(text, (most,))]
    [(seen, last, found)] = run(BLOCKED, (int(after or -1), most))
    return Stranded((*ids, *_decoder.decode(found)), None if seen < most else str(last), seen)


def requeue(ledger: Ledger, ids: Sequence[str], now: int) -> int:
    """See `Inspection.requeue`."""
    rows: list[Any] = ledger.run(AMONG, (json.dumps(list(ids)),)).fetchall()
    if not rows:
        return 0
    for queue in sorted({queue for *_, queue in rows}):
        ledger.run("INSERT OR IGNORE INTO queue (name) VALUES (?)", (queue,))
    held: dict[int, list[int]] = {}
    for key, state, worker, _ in rows:
        if state == State.ACTIVE:
            held.setdefault(worker or 0, []).append(key)
    for worker, keys in held.items():
        take_back(ledger, worker, keys, now)
    blocked = [key for key, state, *_ in rows if state == State.BLOCKED]
    ledger.run(LET_GO, (encode(blocked),))
    limits.step_out(ledger, blocked, now)
    turns.take_again(ledger, blocked, now)
    ledger.wakes |= {Wake.JOBS, Wake.FINISHED}
    return len(rows)


_decoder: Final = msgspec.json.Decoder(list[str])
