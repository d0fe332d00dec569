"""Text to the last character: PostgreSQL has none with a zero byte in it, so that is written as
two characters that no text has a use for."""

from __future__ import annotations

from typing import Any, Final, TypeVar

__all__ = ["from_text", "to_text"]

S = TypeVar("S", str, "str | None")

_MARK: Final = "\ufdd0"
_ZERO: Final = "\ufdd0\ufdd1"
_ITSELF: Final = "\ufdd0\ufdd2"


def to_text(text: S) -> S:
    """As the tables hold it."""
    if text is None or ("\0" not in text and _MARK not in text):
        return text
    return text.replace(_MARK, _ITSELF).replace("\0", _ZERO)


def from_text(text: Any) -> Any:
    """As it was said."""
    if text is None or _MARK not in text:
        return text
    return text.replace(_ZERO, "\0").replace(_ITSELF, _MARK)
