"""Values that a command line writes in its own way: durations, moments, JSON."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

__all__ = ["duration", "json_value", "moment", "since"]

UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration(value: str | float) -> float:
    """Seconds, or a number with a unit: 90, 5m, 1.5h, 2d."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?)([smhd]?)", str(value), re.ASCII)
    if found is None:
        raise click.BadParameter(f"{value!r} is no duration; write seconds, or 5m, 1.5h, 2d")
    return float(found[1]) * UNITS[found[2]]


def moment(value: str | datetime) -> datetime:
    """A moment with its zone, as ISO 8601 writes it."""
    try:
        read = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no moment; write it as 2030-01-31T08:00:00+01:00"
        ) from None
    if read.utcoffset() is None:
        raise click.BadParameter(f"{value!r} does not say its zone; add Z, or +01:00")
    return read


def since(value: str | datetime) -> datetime:
    """A moment with its zone, or a duration before now."""
    if isinstance(value, str) and re.fullmatch(r"\d+(?:\.\d*)?[smhd]", value, re.ASCII):
        return datetime.now(UTC) - timedelta(seconds=duration(value))
    return moment(value)


def json_value(value: str) -> Any:
    """JSON text; `-` is what standard input holds."""
    context = click.get_current_context(silent=True)
    if context is not None and context.resilient_parsing:
        return None  # A shell completes; nobody has typed what is to be read.
    text = sys.stdin.read() if value == "-" else value
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = "standard input" if value == "-" else repr(value)
        raise click.BadParameter(f"{where} is no JSON: {error}") from None
