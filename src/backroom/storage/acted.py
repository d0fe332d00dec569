"""Rows of the audit record, as every storage keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from backroom.action import DAYS, ActionInfo, ActionRecord
from backroom.job import SECOND, to_datetime

__all__ = ["AT_ONCE", "oldest_kept", "read_action"]

AT_ONCE: Final = 100
"""Actions that are forgotten with one that begins."""


def oldest_kept(action: ActionRecord) -> int:
    """The moment before which actions are forgotten when this one begins."""
    return action.at - DAYS * 86_400 * SECOND


def read_action(row: Sequence[Any]) -> ActionInfo:
    """Of id, at, ended_at, actor, role, verb, target, detail, outcome, changed, reason."""
    number, at, ended_at, actor, role, verb, target, detail, outcome, changed, reason = row
    return ActionInfo(
        id=number,
        at=to_datetime(at),
        ended_at=None if ended_at is None else to_datetime(ended_at),
        actor=actor,
        role=role,
        verb=verb,
        target=target,
        detail=None if detail is None else msgspec.json.decode(detail),
        outcome=outcome,
        changed=changed,
        reason=reason,
    )
