"""Flows that go before their jobs do, and jobs whose end nobody has told their flow."""

from __future__ import annotations

from typing import Final

from backroom.job import State
from backroom.storage.sqlite.flows import ended
from backroom.storage.sqlite.ledger import Ledger

__all__ = ["forget_flows", "has_flows", "mend"]

PAGE: Final = 1000
"""Jobs that one call of `mend` looks at."""

GONE: Final = """
    DELETE FROM flow WHERE key IN (
        SELECT key FROM flow WHERE finished_at < ?1 AND finished_at IS NOT NULL LIMIT ?2)
"""
NOT_COUNTED: Final = """
    SELECT m.job, job.state FROM member AS m JOIN job ON job.key = m.job
    JOIN flow ON flow.key = m.flow
    WHERE m.counted = 0 AND m.job > ?1 ORDER BY m.job LIMIT ?2
"""


def has_flows(ledger: Ledger) -> bool:
    """Whether there are any: if not, nobody need look for their jobs."""
    return ledger.run("SELECT 1 FROM member LIMIT 1").fetchone() is not None


def forget_flows(ledger: Ledger, cutoff: int, limit: int) -> bool:
    """Flows that ended before that moment, up to `limit`: their jobs may go now, and nobody runs
    them again. Whether there may be more."""
    ledger.run(GONE, (cutoff, limit))
    return ledger.connection.changes() == limit


def mend(ledger: Ledger, now: int) -> None:
    """A worker of an earlier version ends jobs and knows of no flows: what follows is done here, a
    page of jobs after the other. Where all are of this version, there is nothing to find."""
    rows = list(ledger.run(NOT_COUNTED, (ledger.members_mended_to, PAGE)))
    ledger.members_mended_to = rows[-1][0] if len(rows) == PAGE else -1
    ended(
        ledger,
        [key for key, state in rows if State.COMPLETED <= state <= State.CANCELLED],
        now,
    )
