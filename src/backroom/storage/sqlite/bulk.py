"""One statement for many rows, bound value by value.

Rows that travel as JSON are written, read and picked apart again, which costs more than keeping
them; a statement a row waits for the interpreter lock once a row. So rows are bound to one
statement that has a place for each, of which a few sizes are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from backroom.storage.sqlite.ledger import Ledger

__all__ = ["Bulk"]

SIZES: Final = (1, 4, 16, 64, 256)
"""Places of one statement; those that are left over hold NULLs."""


class Bulk:
    """A statement over rows of `width` values, in any number.

    `sql` reads them from `{rows}`, as `column1`, `column2` and so on, and passes over those whose
    `column1` is NULL. Before them, as `?1` and so on, it has parameters of its own.
    """

    def __init__(self, sql: str, width: int) -> None:
        self._width = width
        row = f"({', '.join('?' * width)})"
        self._statements = {
            size: sql.format(rows=f"(VALUES {', '.join([row] * size)})") for size in SIZES
        }

    def run(self, ledger: Ledger, rows: Sequence[Sequence[Any]], *parameters: Any) -> int:
        """How many rows of the table it changed."""
        changed = at = 0
        while at < len(rows):
            size = _size(len(rows) - at)
            values = [*parameters, *chain.from_iterable(rows[at : at + size])]
            at += size
            values += (None,) * (self._width * (at - len(rows)))  # None at all but at the end.
            ledger.run(self._statements[size], values)
            changed += ledger.connection.changes()
        return changed


def _size(rows: int) -> int:
    """How many places to take for these: not more than half of them for nothing."""
    for size in SIZES:
        if rows <= size < 2 * rows:
            return size
    return max(size for size in SIZES if size <= rows)
