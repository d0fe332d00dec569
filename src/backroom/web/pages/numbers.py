"""Numbers, stretches of time and moments, as people read them at three in the morning."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup

from backroom.job import to_datetime
from backroom.step import FOREVER, UNTIL_TOLD

__all__ = ["ago", "clock", "count", "iso", "memory", "moment", "seconds", "short"]

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
NONE: Final = "\N{EN DASH}"
_UNIT: Final = re.compile(r"(?<=\d) (?=\D)")


def count(number: int) -> str:
    """12,345."""
    return f"{number:,}"


def short(number: float) -> str:
    """At most four signs: 999, 1.2k, 34k, 5.6M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            share = number / size
            return f"{share:.1f}{sign}" if abs(share) < 10 else f"{share:.0f}{sign}"
    return f"{number:g}" if number == int(number) else f"{number:.1f}"


def seconds(duration: float | timedelta | None) -> str:
    """340 µs, 12 ms, 1.2 s, 3 min 4 s, 2 h 5 min, 3 d 4 h; a dash for none. No line ends between a
    number and its unit."""
    return _UNIT.sub("\N{NO-BREAK SPACE}", _seconds(duration))


def _seconds(duration: float | timedelta | None) -> str:
    if duration is None:
        return NONE
    value = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if value < 0:
        return f"\N{MINUS SIGN}{_seconds(-value)}"
    if value < 1e-3:
        return f"{value * 1e6:.0f} µs" if value else "0 s"
    if value < 1:
        return f"{value * 1e3:.0f} ms"
    if value < MINUTE:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    whole = round(value)
    if whole < HOUR:
        return _two(whole, MINUTE, "min", 1, "s")
    if whole < DAY:
        return _two(whole, HOUR, "h", MINUTE, "min")
    return _two(whole, DAY, "d", HOUR, "h")


def _two(whole: int, large: int, name: str, small: int, rest: str) -> str:
    big, left = divmod(whole, large)
    return f"{big} {name} {left // small} {rest}" if left // small else f"{big} {name}"


def memory(size: int | None) -> str:
    """Bytes as 12 MiB; a dash for none."""
    if size is None:
        return NONE
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def moment(at: datetime) -> str:
    """2026-11-29 22:45:53 UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(at: datetime) -> Markup:
    """A moment in full; a browser shows it in its own zone when the pointer is on it."""
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(iso(utc), f"{utc:%Y-%m-%d %H:%M:%S}")


def ago(at: datetime | None, now: datetime) -> Markup:
    """How long ago a moment was, or in how long it comes; a dash for none, words for the one that
    never comes."""
    if at is None:
        return Markup(NONE)
    if at == to_datetime(FOREVER):
        return Markup(UNTIL_TOLD)
    distance = (now - at).total_seconds()
    if abs(distance) < 1:
        text = "now"
    elif distance > 0:
        text = f"{_coarse(distance)} ago"
    else:
        text = f"in {_coarse(-distance)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(at), moment(at), text)


def _coarse(distance: float) -> str:
    """One unit is enough from afar."""
    for size, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if distance >= 2 * size:
            return f"{int(distance // size)} {name}"
    return f"{int(distance)} s"


def iso(at: datetime) -> str:
    """As RFC 3339 says, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
