"""What a store says of itself once it was reopened."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Facts", "Row"]


@dataclass
class Row:
    """A job as its table has it."""

    key: int
    id: str
    state: int
    result: str | None
    attempt: int
    token: int
    started: bool
    """Its worker's row says that it may have begun."""
    stopped: bool
    """Its cancel is on record."""
    whole: bool
    """Its data is what was scheduled under its number."""
    attempt_after: int | None = None
    """Once what dead workers held was taken back; None where that was not tried."""
    token_after: int | None = None
    """Of its next claim; None where it was not claimed."""


@dataclass
class Facts:
    refused: str = ""
    """Why the store cannot be opened; empty if it can."""
    integrity: str = ""
    marked: bool = False
    """The folder says that it holds jobs."""
    unlike: str = ""
    token: int = 0
    rows: dict[int, Row] = field(default_factory=dict)
    queues: dict[str, bool] = field(default_factory=dict)
