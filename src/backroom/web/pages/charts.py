"""Figures over time as what a chart is drawn from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from backroom.figure import Percentiles
from backroom.history import History, HistoryPoint
from backroom.job import SECOND, to_datetime
from backroom.web.pages.numbers import seconds, short
from backroom.web.pages.texts import plain

__all__ = ["Chart", "Line", "charts_of"]

Colour = Literal["green", "red", "amber", "blue", "violet", "grey", "accent"]
Unit = Literal["count", "seconds", "rate"]
_COLOURS: Final[tuple[Colour, ...]] = ("blue", "amber", "violet", "green", "red", "grey")
NONE_WAITED: Final = "No job waited in this time."
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
    empty_words: str = "Nothing happened in this time."
    """What stands there where there is nothing to be seen."""

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

    @property
    def top(self) -> str:
        """The highest value, as its axis tells it."""
        return seconds(self.most) if self.unit == "seconds" else short(self.most)

    @property
    def ends(self) -> tuple[datetime, datetime]:
        """Its first moment, and its last one."""
        return to_datetime(int(self.at[0] * SECOND)), to_datetime(int(self.at[-1] * SECOND))

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
                if not drawn and (place + 1 == len(line.values) or line.values[place + 1] is None):
                    parts.append("h.01")  # Alone: a line to nowhere, which is drawn as a point.
                drawn = True
            found.append((line.colour, "".join(parts)))
        return found


def charts_of(history: History, *, of_type: bool = False) -> list[tuple[Chart, str]]:
    """The charts of the overview, each with a line that sums it up. `of_type`: of one job type,
    which depths know nothing of."""
    whatever = ", whatever their type" if of_type else ""
    points = history.points
    at = [point.at.timestamp() for point in points]
    minutes = history.step / 60

    def rate(values: Iterable[int]) -> list[float | None]:
        return [value / minutes for value in values]

    done = sum(point.completed for point in points)
    failed = sum(point.failed for point in points)
    retried = sum(point.retried for point in points)
    done_rates = rate(point.completed for point in points)
    throughput = Chart(
        "Completed a minute",
        "count",
        at,
        [Line("completed", "green", done_rates, True)],
    )
    failures = Chart(
        "Failed a minute",
        "count",
        at,
        [
            Line("out of retries", "red", rate(point.failed for point in points), True),
            Line("tried again", "amber", rate(point.retried for point in points)),
        ],
    )
    return [
        (throughput, f"{done:,} in all{_fastest(done_rates)}"),
        (failures, f"{failed:,} out of retries, {retried:,} attempts tried again"),
        (
            _latency("Waiting time", at, [point.waiting for point in points]),
            _percentiles(history.waiting),
        ),
        (
            _latency("Running time", at, [point.running for point in points]),
            _percentiles(history.running),
        ),
        (_depth(at, points), f"jobs that are due and wait{whatever}"),
        (_oldest(at, points), f"how long the job that has waited longest was due{whatever}"),
    ]


def _fastest(rates: Sequence[float | None]) -> str:
    """So that nobody takes the height of a step for how many there were."""
    most = max((one or 0.0 for one in rates), default=0.0)
    return f", at a rate of up to {short(most)} a minute" if most else ""


def _latency(title: str, at: Sequence[float], values: Sequence[Percentiles]) -> Chart:
    return Chart(
        title,
        "seconds",
        at,
        [
            Line("p50", "blue", [value.p50 for value in values]),
            Line("p95", "violet", [value.p95 for value in values]),
            Line("p99", "amber", [value.p99 for value in values]),
        ],
    )


def _percentiles(value: Percentiles) -> str:
    return (
        f"p50 {seconds(value.p50)}, p95 {seconds(value.p95)}, p99 {seconds(value.p99)}"
        if value.p50 is not None
        else "nothing ran"
    )


def _depth(at: Sequence[float], points: Sequence[HistoryPoint]) -> Chart:
    """The deepest queues by name."""
    most: dict[str, int] = {}
    for point in points:
        for name, depth in point.depth.items():
            most[name] = max(most.get(name, 0), depth.pending)
    names = sorted(most, key=lambda name: (-most[name], name))[: len(_COLOURS)]
    lines = [
        Line(
            plain(name),
            colour,
            [
                None if point.total is None else point.depth[name].pending
                if name in point.depth else 0
                for point in points
            ],
        )
        for name, colour in zip(names, _COLOURS, strict=False)
    ]  # fmt: skip
    return Chart("Depth of the queues", "count", at, lines, NONE_WAITED)


def _oldest(at: Sequence[float], points: Sequence[HistoryPoint]) -> Chart:
    values = [None if point.total is None else point.total.oldest or 0.0 for point in points]
    line = Line("waits", "amber", values, True)
    return Chart("Oldest waiting job", "seconds", at, [line], NONE_WAITED)
