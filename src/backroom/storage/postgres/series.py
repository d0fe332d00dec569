"""What is added to the figures, and the queues and job types that these are of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from backroom.figure import OTHER, Figures
from backroom.history import COARSE
from backroom.job import SECOND
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import from_text, to_text
from backroom.storage.told import MOST_SERIES, UNUSED, read_figures, rows_of, together

__all__ = ["add", "count_cancelled", "let_go_series", "read"]


async def let_go_series(link: Any, text: Statements, now: int) -> None:
    """Names that are unused, where there are many: what was counted of them is that of others."""
    if len(await link.fetch(text["series"])) < MOST_SERIES:
        return
    async with link.transaction():
        await add(link, text, together([]))  # Its row comes first, and then nobody is waited for.
        since = now - UNUSED * SECOND
        rows = await link.fetch(text["let_go_series"], to_text(OTHER), COARSE, since)
        if rows:
            await add(link, text, together(map(read, rows)))


async def count_cancelled(link: Any, text: Statements, ids: Sequence[Any], now: int) -> None:
    """Counts jobs that were cancelled, or have expired, while they waited: no worker knows."""
    if not ids:
        return
    figures = [
        Figures(from_text(queue), from_text(type_), now, cancelled=number)
        for queue, type_, number in await link.fetch(text["kinds"], ids)
    ]
    known = {
        (from_text(queue), from_text(type_)) for queue, type_ in await link.fetch(text["series"])
    }
    await add(link, text, rows_of(figures, known))


async def add(link: Any, text: Statements, rows: Iterable[tuple[Any, ...]]) -> None:
    columns = zip(*map(_row, rows), strict=True)
    await link.execute(text["add_figures"], *map(list, columns))


def _row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """As the table holds it."""
    step, at, queue, type_, *others = row
    return (step, at, to_text(queue), to_text(type_), *others)


def read(row: Any) -> Figures:
    queue, type_, *others = row
    return read_figures((from_text(queue), from_text(type_), *others))
