"""What a crash test found, as values and as text."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator
from pprint import pformat
from typing import Any, Final, Literal, TypeAlias

import msgspec

from backroom.testing.points import Moment, Point

__all__ = ["CrashReport", "Finding", "Interruption", "Kind", "Seen", "differences"]

Kind: TypeAlias = Literal["crash", "timeout", "lost reply"]

TOLD: Final[dict[tuple[Kind, Moment], str]] = {
    ("crash", "begun"): "killed as it began",
    ("crash", "waiting"): "killed while it waited",
    ("crash", "resumed"): "killed while it waited",
    ("crash", "answered"): "killed when it was answered",
    ("crash", "ended"): "killed after its last line: its outcome was lost",
    ("timeout", "waiting"): "out of time while it waited",
    ("lost reply", "inserted"): "the jobs were scheduled, the reply was lost",
}
MOST_LINES: Final = 40
"""Of one difference in a report."""
WIDTH: Final = 80


class Seen(msgspec.Struct, frozen=True):
    """What is left when a job has ended."""

    world: Any
    scheduled: tuple[str, ...]
    """Jobs that the handler scheduled: type, data, unique key; sorted."""
    status: str
    """Of the job, with its error if it failed."""


class Interruption(msgspec.Struct, frozen=True):
    """One way to end an attempt: where, and by what."""

    index: int
    """Of the point, among all that the attempt reaches."""
    kind: Kind
    point: Point

    def __str__(self) -> str:
        told = TOLD[self.kind, self.point.moment]
        return f"{told}, at {self.point.place}" if self.point.place else told


class Finding(msgspec.Struct, frozen=True):
    """An interruption after which something else was left than without it."""

    interruption: Interruption
    differs: str
    """What was left without it, and with it; lines of text."""

    @property
    def kind(self) -> Kind:
        """ "crash", "timeout" or "lost reply"."""
        return self.interruption.kind

    @property
    def place(self) -> str:
        """ "file.py:12"; empty after the last line."""
        return self.interruption.point.place

    @property
    def line(self) -> str:
        """The text of that line."""
        return self.interruption.point.line


class CrashReport(msgspec.Struct, frozen=True):
    """Whether one handler is safe to run twice. Its text says where it is not, and why."""

    type: str
    handler: str
    """Its module and name."""
    runs: int
    """Interruptions that were tried."""
    unsafe: tuple[Finding, ...]
    """Those after which something else was left, in the order of their points."""
    unreached: str | None = None
    """What could not be tried with a handler of this kind, if anything."""

    @property
    def safe(self) -> bool:
        """No interruption changed what was left."""
        return not self.unsafe

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        safe = "is safe" if self.safe else "is not safe"
        changed = len(self.unsafe) or "none"
        yield f"{self.type} ({self.handler}) {safe} to run twice:"
        yield f"{changed} of {_count(self.runs)} changed what it leaves"
        for differs in dict.fromkeys(finding.differs for finding in self.unsafe):
            alike = [finding for finding in self.unsafe if finding.differs == differs]
            yield ""
            for place, line in dict.fromkeys((f.place, f.line) for f in alike):
                if place:
                    yield f"  {place}: {line}"
                ways = [
                    TOLD[f.kind, f.interruption.point.moment] for f in alike if f.place == place
                ]
                for way in dict.fromkeys(ways):
                    yield f"    {way}" if place else f"  {way}"
            yield from differs.splitlines()
        if self.unreached:
            yield f"not tried: {self.unreached}"


def differences(
    calm: Seen, found: Seen, same: Callable[[Any, Any], bool], other: str = "found"
) -> str:
    """What is not as it was left without an interruption; empty if nothing. `other`: what the
    second one is called."""
    lines: list[str] = []
    told = functools.partial(_difference, other)
    if not same(calm.world, found.world):
        if isinstance(calm.world, dict) and isinstance(found.world, dict):
            for key in dict.fromkeys([*calm.world, *found.world]):
                before, after = (_value(seen.world, key) for seen in (calm, found))
                if before != after:
                    lines += told(str(key), before, after)
        # Also where `same` alone can tell.
        lines = lines or told("observed", *map(_pretty, (calm.world, found.world)))
    if calm.scheduled != found.scheduled:
        lines += told("scheduled", *map(_listed, (calm.scheduled, found.scheduled)))
    if calm.status != found.status:
        lines += told("the job", calm.status, found.status)
    return "\n".join(lines)


def _value(world: dict[Any, Any], key: Any) -> str:
    return _pretty(world[key]) if key in world else "(absent)"


def _difference(other: str, name: str, before: str, after: str) -> list[str]:
    lines = [f"      {name}"]
    if "\n" not in before + after:
        return [*lines, f"        undisturbed: {before}", f"        {other + ':':<12} {after}"]
    compared = difflib.ndiff(before.splitlines(), after.splitlines())
    told = [f"        {line}" for line in compared if not line.startswith("?")]
    if len(told) > MOST_LINES:
        told[MOST_LINES:] = [f"        and {len(told) - MOST_LINES} lines more"]
    return [*lines, f"        (- undisturbed, + {other})", *told]


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) and "\n" in value else pformat(value, width=WIDTH)


def _listed(jobs: tuple[str, ...]) -> str:
    return "\n".join(jobs) or "nothing"


def _count(runs: int) -> str:
    return "1 interruption" if runs == 1 else f"{runs:,} interruptions"
