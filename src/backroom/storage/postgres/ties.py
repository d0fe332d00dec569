"""What hangs on jobs that come out of a worker's hands, or end.

Every transaction after which a job is nobody's any more, or has ended, says so here before it
commits: an outcome, also along a connection of the application's; a return; the end of a dead
worker; a cancellation; an expiry. Outcomes of jobs that are not tied are passed by (see
`backroom.tie`), and in all other cases these are looked for, since they are rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backroom.storage.postgres.statements import Statements

__all__ = ["look_and_loosen", "loosen"]


async def look_and_loosen(link: Any, statements: Statements, ids: Sequence[Any], now: int) -> None:
    """`loosen` for those of these jobs that are tied."""
    if ids:
        rows = await link.fetch(statements["tied"], ids)
        await loosen(link, statements, [row[0] for row in rows], now)


async def loosen(link: Any, statements: Statements, ids: Sequence[Any], now: int) -> None:
    """To be said of tied jobs that nobody holds now, or that have ended, in the transaction after
    which it is so."""
    if ids:
        await let_go(link, statements, ids, now)
        await ended(link, statements, ids, now)


async def let_go(link: Any, statements: Statements, ids: Sequence[Any], now: int) -> None:
    """No worker holds these tied jobs now, whatever has become of them."""


async def ended(link: Any, statements: Statements, ids: Sequence[Any], now: int) -> None:
    """Some of these tied jobs have ended."""
