"""Flows that are on their way from one store to another.

Such a flow has no row where it was, and none yet where it goes to: it is listed in `away`. As long
as that is so its jobs are nobody's: none is claimed, cancelled, retried, expired or removed. The
row leaves first, and arrives last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from backroom.baggage import Baggage, Membership
from backroom.flowing import on_its_way
from backroom.storage.sqlite.bulk import Bulk
from backroom.storage.sqlite.ledger import Ledger, encode

__all__ = ["AWAY", "away", "check", "join", "members_of", "places_of"]

AWAY: Final = (
    "EXISTS (SELECT 1 FROM member JOIN away ON away.key = member.flow WHERE member.job = {})"
)
"""Whether the job of that key belongs to such a flow."""

THESE: Final = f"""
    SELECT job.key FROM job
    WHERE job.key IN (SELECT value FROM json_each(?)) AND {AWAY.format("job.key")}
"""
MEMBERS: Final = """
    SELECT m.job, away.id, m.role, m.anyway, iif(job.state = 5, m.waits, 0), m.counted, m.doomed,
        m.undo
    FROM member AS m JOIN away ON away.key = m.flow JOIN job ON job.key = m.job
    WHERE m.job IN (SELECT value FROM json_each(?))
"""
# No two flows of a store ever have the same number.
NUMBER: Final = """
    INSERT INTO flow (id, name, kind, on_failure, created_at) VALUES (?, '', 0, 0, 0) RETURNING key
"""
JOIN: Final = Bulk(
    "INSERT INTO member (job, flow, role, anyway, waits, counted, doomed, undo)"
    " SELECT rows.* FROM {rows} AS rows WHERE column1 IS NOT NULL",
    width=8,
)


def away(ledger: Ledger, keys: Sequence[int]) -> set[int]:
    """Those of these jobs that belong to flows on their way."""
    return {key for (key,) in ledger.run(THESE, (encode(list(keys)),))}


def check(ledger: Ledger, key: int, job_id: str) -> None:
    """Whether anything may become of this job here.

    Raises:
        JobStateError: its flow is on its way.
    """
    if away(ledger, [key]):
        raise on_its_way(job_id)


def members_of(run: Any, keys: Sequence[int]) -> dict[int, Membership]:
    """What those of these jobs are to their flows that belong to flows on their way."""
    text = encode(list(keys))
    return {
        job: Membership(flow, role, bool(anyway), waits, counted, bool(doomed), undo)
        for job, flow, role, anyway, waits, counted, doomed, undo in run(MEMBERS, (text,))
    }


def places_of(ledger: Ledger, jobs: Sequence[Baggage]) -> dict[str, int | None]:
    """The number of each flow that these jobs belong to, by its id; None: it has arrived."""
    places: dict[str, int | None] = {}
    for flow in {job.member.flow for job in jobs if job.member is not None}:
        if ledger.run("SELECT 1 FROM flow WHERE id = ?", (flow,)).fetchone():
            places[flow] = None
            continue
        row: Any = ledger.run("SELECT key FROM away WHERE id = ?", (flow,)).fetchone()
        if row is None:
            row = ledger.run(NUMBER, (flow,)).fetchone()
            ledger.run("DELETE FROM flow WHERE key = ?", row)
            ledger.run("INSERT INTO away (key, id) VALUES (?, ?)", (row[0], flow))
        places[flow] = row[0]
    return places


def join(
    ledger: Ledger, jobs: Sequence[tuple[int, Baggage]], places: dict[str, int | None]
) -> None:
    """Those of these jobs that belong to flows do so here, by their keys."""
    JOIN.run(
        ledger,
        [
            (key, places[m.flow], m.role, m.anyway, m.waits, m.counted, m.doomed, m.undo)
            for key, job in jobs
            if (m := job.member) is not None
        ],
    )
