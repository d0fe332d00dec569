"""Text that cannot steer a terminal."""

from __future__ import annotations

import json
import re
from typing import Final

from backroom.plain import plain

__all__ = ["count_of", "plain", "plain_json"]

_UNUSUAL: Final = re.compile(r"[^\n -~]")


def plain_json(text: str, encoding: str = "utf-8") -> str:
    """The same of JSON text, which stays JSON and means the same, also where `encoding` cannot
    write what it holds."""
    text = _UNUSUAL.sub(lambda found: _shown(found[0], json.dumps(found[0])), text)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return _UNUSUAL.sub(lambda found: json.dumps(found[0])[1:-1], text)
    return text


def _shown(character: str, quoted: str) -> str:
    return character if character.isprintable() else quoted[1:-1]


def count_of(count: int, what: str) -> str:
    """A number of things: "1 job", "1,200 jobs"."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")
