"""What makes two jobs the same, for how long, and what becomes of the second."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, TypeAlias

import msgspec

__all__ = ["OnConflict", "Unique"]

OnConflict: TypeAlias = Literal["existing", "replace", "raise"]
"""What becomes of a job whose key another one holds: its caller gets the id of that one; that
one, if it has not started, gets the data, the options and the time of this one; or its caller gets
a `DuplicateJobError`."""


class Unique(msgspec.Struct, frozen=True, kw_only=True):
    """Of jobs of one type that are the same, one is kept.

    Said of a call, of a `JobType` or of a handler, and checked there: what is wrong with it is an
    `OptionError` of the call, or a `ConfigurationError` of the declaration.

    Args:
        key: what makes them the same, as a text of 1 to 500 characters.
        by: or that it is made of their data: `"data.user_id"`, a field, or a field of a field, by
            its name in the JSON; several of them in a list; `"data"`, all of it; or `"type"`,
            which makes all jobs of the type the same. A field that the data has not is an error
            when the job is scheduled, and at the declaration where the type of the data is known.
        until: how long a job holds its key. "end", the default: until it has completed, failed
            for good, or was cancelled. "start": until a worker begins it for the first time, so
            that what happens while it runs has one job more.
        period: or for so long from when it was made, also after it has ended: seconds or a
            `timedelta`. At most one job in that time.
        on_conflict: what becomes of a job whose key another one holds. "existing", the default:
            `schedule` returns the id of that one. "replace": that one, if it has not started,
            gets the data, the options and the time of this one, and keeps its id, and for how
            long it holds the key; else as "existing". "raise": `DuplicateJobError`.
    """

    key: str | None = None
    by: str | Sequence[str] | None = None
    until: Literal["end", "start"] | None = None
    period: float | timedelta | None = None
    on_conflict: OnConflict = "existing"
