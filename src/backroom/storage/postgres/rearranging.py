"""Jobs that wait get another moment or another priority."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backroom.storage.postgres import limits, turns
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.ties import hold_members

__all__ = ["rearrange"]


async def rearrange(
    link: Any,
    text: Statements,
    ids: Sequence[Any],
    now: int,
    run_at: int | None,
    priority: int | None,
) -> list[Any]:
    """Those of these jobs that waited, and do so for another moment, or in another priority; in a
    transaction. It holds what it needs in the order that `ties` says: flows, what waits, gates."""
    members = await hold_members(link, text, ids)
    here = [id_ for id_ in ids if not members.get(id_)]
    # Whoever sends one a signal holds this row before its place.
    await link.execute(text["lock_jobs"], here)
    changed = [row[0] for row in await link.fetch(text["rearrange"], here, run_at, priority)]
    await limits.let_go(link, text, changed, now)
    await turns.take_again(link, text, changed, now)
    return changed
