"""What is shown of a URL: never its password."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

__all__ = ["masked"]

_USER: Final = re.compile(r"^([^:@]*):.*@", re.DOTALL)
"""Up to the last @: a password that was not encoded may hold any character."""
_SAID: Final = re.compile(r"(password\s*=\s*)('[^']*'|[^&\s]*)", re.IGNORECASE)
"""In the query of a URL, or in the words that other programs take in place of one."""


def masked(url: str) -> str:
    """A URL, or what somebody took for one, without its password."""
    shown, query = _SAID.sub(r"\1***", url), ""
    try:
        parts = urlsplit(shown)
    except ValueError:
        pass
    else:
        # Only where the user's part is clearly over may an @ of the query stay.
        if parts.query and parts.netloc.count("@") == 1 and not parts.fragment:
            query = f"?{parts.query}"
    scheme, there, rest = shown.removesuffix(query).partition("://")
    if not there:
        scheme, rest = "", scheme
    hidden = _USER.sub(r"\1:***@", rest)
    return f"{scheme}{there}{hidden}{query}"
