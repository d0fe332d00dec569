"""What people did."""

from __future__ import annotations

from msgspec.structs import astuple

from backroom.action import ROWS, ActionInfo, ActionRecord, Outcome
from backroom.storage.acted import AT_ONCE, oldest_kept, read_action
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.texts import from_text, to_text

__all__ = ["Actions"]


class Actions:
    """`Auditing`, over `_base`."""

    _base: Base

    async def begin_action(self, action: ActionRecord) -> int:
        """See `Auditing.begin_action`."""
        at, *said = astuple(action)
        [(number,)] = await self._base.fetch("begin_action", at, *map(to_text, said))
        await self._base.fetch("forget_actions", AT_ONCE, oldest_kept(action), number - ROWS)
        return int(number)

    async def end_action(
        self, number: int, at: int, outcome: Outcome, changed: int | None, reason: str | None
    ) -> None:
        """See `Auditing.end_action`."""
        await self._base.fetch("end_action", number, at, outcome, changed, to_text(reason))

    async def actions(
        self, limit: int, before: int | None, actor: str | None, verb: str | None
    ) -> list[ActionInfo]:
        """See `Auditing.actions`."""
        rows = await self._base.fetch(
            "actions", 2**63 - 1 if before is None else before, to_text(actor), to_text(verb), limit
        )
        return [read_action([*map(from_text_if, row)]) for row in rows]


def from_text_if(value: object) -> object:
    """A column as it was said, whatever it is."""
    return from_text(value) if isinstance(value, str) else value
