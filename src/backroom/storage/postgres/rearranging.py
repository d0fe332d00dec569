"""Jobs that wait get another moment or another priority."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from backroom.storage.postgres import limits, turns
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.ties import hold_members

__all__ = ["TRIES", "Place", "rearrange"]

TRIES: Final = 5
"""How often one job is tried that others were at in that moment."""


class Place(NamedTuple):
    """Where jobs are to wait; None: as it is."""

    run_at: int | None
    priority: int | None


async def rearrange(
    link: Any,
    text: Statements,
    ids: Sequence[Any],
    now: int,
    place: Place,
    still: Callable[[Sequence[Any]], Awaitable[list[Any]]],
) -> list[Any]:
    """Those of these jobs that waited, and do so for another moment, or in another priority; in a
    transaction. `still`: those of some that are what was looked for, asked when nobody else
    changes them.

    It waits for flows, and for gates; who has these waits for nobody (see `ties`). So what others
    are at in this moment is left as it is: a job that is claimed, ends, is sent a signal, or
    takes its turn.
    """
    members = await hold_members(link, text, ids)
    here = [id_ for id_ in ids if not members.get(id_)]
    gates = await link.fetch(text["lock_gates_of"], here)
    locked = await still([row[0] for row in await link.fetch(text["lock_jobs"], here)])
    names, keys = [row[0] for row in gates], [row[1] for row in gates]
    rows = await link.fetch(text["rearrange"], locked, place.run_at, place.priority, names, keys)
    changed = [row[0] for row in rows]
    await limits.let_go(link, text, changed, now)
    await turns.take_again(link, text, changed, now)
    return changed
