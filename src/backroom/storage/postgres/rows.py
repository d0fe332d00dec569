"""A schedule as its table holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import astuple

from backroom.schedule import ScheduleRecord
from backroom.storage.postgres.texts import from_text, to_text

__all__ = ["from_row", "to_row"]

_TEXTS: Final = ("name", "rule", "tz", "type", "queue")
"""The columns that hold any text; the others hold JSON, or words of ours."""
_FIELDS: Final = ScheduleRecord.__struct_fields__


def to_row(record: ScheduleRecord) -> list[Any]:
    """Its columns, in the order of its values."""
    values = dict(zip(_FIELDS, astuple(record), strict=True))
    return [to_text(value) if field in _TEXTS else value for field, value in values.items()]


def from_row(row: Sequence[Any]) -> ScheduleRecord:
    """What `to_row` was told."""
    values = dict(zip(_FIELDS, row, strict=True))
    return ScheduleRecord(**{**values, **{field: from_text(values[field]) for field in _TEXTS}})
