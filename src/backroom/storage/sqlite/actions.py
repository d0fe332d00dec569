"""What people did, in the table `action`."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import astuple

from backroom.action import ROWS, ActionInfo, ActionRecord, Outcome
from backroom.storage.acted import AT_ONCE, oldest_kept, read_action
from backroom.storage.sqlite.ledger import Ledger

__all__ = ["actions", "begin", "end"]

BEGIN: Final = """
    INSERT INTO action (at, actor, role, verb, target, detail, outcome)
    VALUES (?, ?, ?, ?, ?, ?, 'begun') RETURNING id
"""
# Their numbers are in the order in which they began.
FORGET: Final = """
    DELETE FROM action WHERE id IN (
        SELECT id FROM action ORDER BY id LIMIT ?1) AND (at < ?2 OR id <= ?3)
"""
END: Final = """
    UPDATE action SET ended_at = ?2, outcome = ?3, changed = ?4, reason = ?5
    WHERE id = ?1 AND outcome = 'begun'
"""
LOOK: Final = """
    SELECT id, at, ended_at, actor, role, verb, target, detail, outcome, changed, reason FROM action
    WHERE (:before IS NULL OR id < :before) AND (:actor IS NULL OR actor = :actor)
    AND (:verb IS NULL OR verb = :verb) ORDER BY id DESC LIMIT :limit
"""


def begin(ledger: Ledger, action: ActionRecord) -> int:
    """See `Auditing.begin_action`."""
    [(number,)] = ledger.run(BEGIN, astuple(action)).fetchall()
    assert isinstance(number, int)
    ledger.run(FORGET, (AT_ONCE, oldest_kept(action), number - ROWS))
    return number


def end(
    ledger: Ledger, number: int, at: int, outcome: Outcome, changed: int | None, reason: str | None
) -> None:
    """See `Auditing.end_action`."""
    ledger.run(END, (number, at, outcome, changed, reason))


def actions(
    run: Any, limit: int, before: int | None, actor: str | None, verb: str | None
) -> list[ActionInfo]:
    """See `Auditing.actions`."""
    said = {"limit": limit, "before": before, "actor": actor, "verb": verb}
    return [read_action(row) for row in run(LOOK, said)]
