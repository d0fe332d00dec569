"""What people did to jobs, queues and the rest, as frozen values: the audit record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

__all__ = ["DAYS", "OUTCOMES", "ROWS", "ActionInfo", "ActionPage", "ActionRecord", "Outcome"]

DAYS: Final = 90
"""How long an action is kept."""
ROWS: Final = 100_000
"""How many are kept at most."""

Outcome = Literal["begun", "done", "refused", "interrupted"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("begun", "done", "refused", "interrupted")


class ActionRecord(msgspec.Struct, frozen=True):
    """An action that begins."""

    at: int
    actor: str
    role: str | None
    verb: str
    target: str
    detail: str | None
    """JSON."""


class ActionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One action: who did what to what, and what came of it."""

    id: int
    at: datetime
    """When it began. It was written down before anything was changed."""
    ended_at: datetime | None = None
    actor: str
    """Who did it: the name of a token or of an account; "cli:ada" at a terminal."""
    role: str | None = None
    verb: str
    """What was done: "retry", "cancel", "pause"."""
    target: str
    """To what: the id of a job, "queue mail", "jobs"."""
    detail: Any = None
    """What else was said, as plain JSON values: a filter, say."""
    outcome: Outcome = "begun"
    """Also "begun" of one whose process died under it: it may have been carried out, or a part."""
    changed: int | None = None
    """How many jobs or other things it changed, where that is told."""
    reason: str | None = None
    """Why it was refused, what interrupted it, or what it has made: "job 0192..."."""


class ActionPage(Sequence[ActionInfo]):
    """Actions, newest first. `cursor` asks for the next page; None on the last."""

    __slots__ = ("_actions", "cursor")

    def __init__(self, actions: Sequence[ActionInfo], cursor: str | None = None) -> None:
        self._actions = tuple(actions)
        self.cursor = cursor

    def __iter__(self) -> Iterator[ActionInfo]:
        return iter(self._actions)

    def __len__(self) -> int:
        return len(self._actions)

    def __getitem__(self, index: Any) -> Any:
        return self._actions[index]

    def __repr__(self) -> str:
        return f"ActionPage({len(self._actions)} actions, cursor={self.cursor!r})"
