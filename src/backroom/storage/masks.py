"""What is shown of a URL: never its password."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["masked"]

_USER: Final = re.compile(r"^([^:@]*):.*@", re.DOTALL)
"""Up to the last @: a password that was not encoded may hold any character."""
_SAID: Final = re.compile(r"(password\s*=\s*)('[^']*'|[^&\s]*)", re.IGNORECASE)
"""In the query of a URL, or in the words that other programs take in place of one."""


def masked(url: str) -> str:
    """A URL, or what somebody took for one, without its password."""
    shown = _SAID.sub(r"\1***", url)
    scheme, there, rest = shown.partition("://")
    if not there:
        scheme, rest = "", scheme
    hidden = _USER.sub(r"\1:***@", rest)
    return f"{scheme}{there}{hidden}"
