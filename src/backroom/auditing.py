"""The seam of the audit record: what people did is written down, before and after."""

from __future__ import annotations

from typing import Protocol

from backroom.action import ActionInfo, ActionRecord, Outcome

__all__ = ["Auditing"]


class Auditing(Protocol):
    """A storage that keeps what people did. Every verb may raise `StorageError`."""

    async def begin_action(self, action: ActionRecord) -> int:
        """Keeps an action that is about to begin, as "begun"; its number. Of those that are older
        than `DAYS`, or more than `ROWS`, the oldest hundred go with it."""
        ...

    async def end_action(
        self, number: int, at: int, outcome: Outcome, changed: int | None, reason: str | None
    ) -> None:
        """What came of it. One that has ended, or is gone, stays as it is."""
        ...

    async def actions(
        self, limit: int, before: int | None, actor: str | None, verb: str | None
    ) -> list[ActionInfo]:
        """Newest first; `before`: of lower numbers."""
        ...
