"""Jobs that something hangs on: their options say so, and with which words.

Other jobs may wait for such a job, or be let through when it lets go. Who claims it is told by its
options; so what becomes of all other jobs is written as if there were no such thing.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["TIED", "is_tied", "tied"]

TIED: Final = '"tied":'
"""What the options of such a job have in them. A word of the user's may be the same: then nothing
is found that hangs on it."""


def is_tied(options: str | None) -> bool:
    """Whether something may hang on a job with these options."""
    return options is not None and TIED in options


def tied(options: str | None, **said: Any) -> str:
    """The same options, as JSON, of a job that something hangs on; `said`: what else is kept
    with them."""
    kept = {} if options is None else _decoder.decode(options)
    kept.update(tied=_TRUE, **{name: msgspec.Raw(_encode(value)) for name, value in said.items()})
    return _encode(kept).decode()


_TRUE: Final = msgspec.Raw(b"true")
_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
