"""Values as the tables hold them.

Text is kept to the last character: PostgreSQL has none with a zero byte in it, so that is written
as two characters that no text has a use for. The key of a job is its id, as a number.
"""

from __future__ import annotations

from typing import Any, Final, overload
from uuid import UUID

from asyncpg.pgproto import pgproto

__all__ = ["from_text", "to_id", "to_key", "to_text"]


_MARK: Final = "\ufdd0"
_ZERO: Final = "\ufdd0\ufdd1"
_ITSELF: Final = "\ufdd0\ufdd2"


def to_id(key: int) -> UUID:
    """The id of a job."""
    return pgproto.UUID(key.to_bytes(16, "big"))  # type: ignore[no-any-return]


def to_key(id_: Any) -> int:
    """The key of a job, from its id as any driver reads it."""
    key: int = UUID(id_).int if isinstance(id_, str) else id_.int
    return key


@overload
def to_text(text: str) -> str: ...
@overload
def to_text(text: str | None) -> str | None: ...
def to_text(text: str | None) -> str | None:
    """As the tables hold it."""
    if text is None or ("\0" not in text and _MARK not in text):
        return text
    return text.replace(_MARK, _ITSELF).replace("\0", _ZERO)


def from_text(text: Any) -> Any:
    """As it was said."""
    if text is None or _MARK not in text:
        return text
    return text.replace(_ZERO, "\0").replace(_ITSELF, _MARK)
