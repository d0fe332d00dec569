"""Text that can steer nothing that shows it: a terminal, or who reads a log."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["CONTINUED", "plain", "plain_lines"]

_UNUSUAL: Final = re.compile(r"[^\n -~]")
CONTINUED: Final = "    | "
"""What every further line of one entry of a log begins with."""


def plain(text: object) -> str:
    """Control characters, and what turns the direction of writing, are shown and not sent."""
    return _UNUSUAL.sub(lambda found: _shown(found[0]), str(text))


def plain_lines(text: str) -> str:
    """The same of one entry of a log: no line of it but the first can be taken for an entry."""
    return plain(text).replace("\n", f"\n{CONTINUED}")


def _shown(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
