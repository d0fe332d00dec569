"""What hangs on jobs that come out of a worker's hands, or end.

Every transaction after which a job is nobody's any more, or has ended, says so here before it
commits: an outcome, also along a connection of the application's; a return; the end of a dead
worker; a cancellation; an expiry. Outcomes of jobs that are not tied are passed by (see
`backroom.tie`), and in all other cases these are looked for, since they are rare.

Such a transaction holds what it will need in one order, so of two of them none waits for the
other one that waits for it: the flows of its jobs, by id (`hold`); the row of the worker whose jobs
come back; what waits in a queue or a line, where it ends that; claims, by token; the gates of
limits, by name and key; places of those who were called there. Who holds a claim or a gate takes
of what waits only what nobody else has. What waits for other jobs is its flow's.

The rows of jobs stand before the places of these jobs: who moves one has both. An outcome has those
of jobs that were claimed, and comes to gates with them; who has a gate may wait for those of jobs
in its line, which nobody has who comes to gates. Who rearranges jobs, or gives them their turn,
does not know where they are: it takes only rows that nobody else has, when it has the gates.

While a worker's row is held it neither claims nor starts jobs, nor extends its lease: so who holds
one waits for no flow. Those of jobs that it claimed while its row was waited for are taken if they
are free (`hold_more_of`); if not, all is let go, and the transaction begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backroom.storage.postgres import flows, limits, turns
from backroom.storage.postgres.statements import Statements

__all__ = ["hold", "hold_all_of", "hold_members", "hold_more_of", "look_and_loosen", "loosen"]


async def hold(link: Any, text: Statements, ids: Sequence[Any]) -> None:
    """To be said first, of tied jobs that are to be loosened."""
    if ids:
        await link.fetch(text["lock_flows"], ids)


async def hold_members(link: Any, text: Statements, ids: Sequence[Any]) -> dict[Any, bool]:
    """As `hold`; those of these jobs that belong to flows, and whether these are on their way to or
    from another store. Nobody holds those, and nothing is to become of their jobs."""
    return dict(await link.fetch(text["hold_members"], ids)) if ids else {}


async def hold_all_of(link: Any, text: Statements, workers: Sequence[int]) -> None:
    """The same of all that these workers hold."""
    await link.fetch(text["lock_flows_of"], workers)


async def hold_more_of(link: Any, text: Statements, workers: Sequence[int]) -> bool:
    """The same of what they have claimed since, when their rows are held. False where somebody else
    has a flow of that: the transaction is to change nothing, and to begin anew."""
    return not await link.fetch(text["lock_more_flows_of"], workers)


async def look_and_loosen(link: Any, text: Statements, ids: Sequence[Any], now: int) -> None:
    """`loosen` for those of these jobs that are tied. Of one whose flow left in this very moment,
    upkeep finds where it arrives that it has ended."""
    if ids:
        tied = [row[0] for row in await link.fetch(text["tied"], ids)]
        members = await hold_members(link, text, tied)
        await loosen(link, text, [id_ for id_ in tied if not members.get(id_)], now)


async def loosen(link: Any, text: Statements, ids: Sequence[Any], now: int) -> None:
    """To be said of tied jobs that nobody holds now, or that have ended, in the transaction after
    which it is so."""
    if ids:
        await let_go(link, text, ids, now)
        await ended(link, text, ids, now)


async def let_go(link: Any, text: Statements, ids: Sequence[Any], now: int) -> None:
    """No worker holds these tied jobs now, whatever has become of them."""
    await limits.let_go(link, text, ids, now)
    await turns.take_again(link, text, ids, now)


async def ended(link: Any, text: Statements, ids: Sequence[Any], now: int) -> None:
    """Some of these tied jobs have ended."""
    await flows.ended(link, text, ids, now)
