"""Figures over time as what a chart is drawn from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

__all__ = ["Chart", "Line"]

Colour = Literal["green", "red", "amber", "blue", "violet", "grey", "accent"]
Unit = Literal["count", "seconds", "rate"]
_WIDTH: Final = 600.0
_HEIGHT: Final = 160.0


class Line(msgspec.Struct, frozen=True):
    """One line of a chart."""

    label: str
    colour: Colour
    values: Sequence[float | None]
    fill: bool = False


class Chart(msgspec.Struct, frozen=True):
    """Lines over the same moments."""

    title: str
    unit: Unit
    at: Sequence[float]
    """Seconds since 1970."""
    series: Sequence[Line]

    @property
    def data(self) -> str:
        """For the script that draws it."""
        return msgspec.json.encode(self).decode()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to be seen in it."""
        return not any(value for line in self.series for value in line.values)

    @property
    def most(self) -> float:
        """The highest value."""
        return max((value or 0.0 for line in self.series for value in line.values), default=0.0)

    def paths(self) -> list[tuple[Colour, str]]:
        """Each line as an SVG path, within 600 by 160."""
        most = self.most or 1.0
        step = _WIDTH / max(1, len(self.at) - 1)
        found: list[tuple[Colour, str]] = []
        for line in self.series:
            parts: list[str] = []
            drawn = False
            for place, value in enumerate(line.values):
                if value is None:
                    drawn = False
                    continue
                y = _HEIGHT - value / most * (_HEIGHT - 10)
                parts.append(f"{'L' if drawn else 'M'}{place * step:.1f} {y:.1f}")
                drawn = True
            found.append((line.colour, "".join(parts)))
        return found
