"""Charts of weather as inline SVG. Colours are CSS variables, so the page decides on them.

Every function returns one `<svg>` element, 920 units wide, that scales with its container.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape

from .weather import KINDS, Day, Month, by_month

WIDTH = 920
LEFT, RIGHT = 44, 12
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight line from values to places on the page."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def temperatures(days: Sequence[Day]) -> str:
    """A stroke for every day from its low to its high, under the band of the monthly means."""
    height, top, bottom = 320, 16, 28
    x = Scale(days[0].date.toordinal(), days[-1].date.toordinal() + 1, LEFT, WIDTH - RIGHT)
    floor = 5 * ((min(day.low for day in days) - 3) // 5)  # and room for a note
    ceiling = 5 * (max(day.high for day in days) // 5 + 1)
    y = Scale(floor, ceiling, height - bottom, top)

    strokes = "".join(
        f"M{x(day.date.toordinal() + 0.5)} {y(day.low)}V{y(day.high)}" for day in days
    )
    width = round(0.7 * (WIDTH - LEFT - RIGHT) / len(days), 2)
    months = by_month(days)
    middles = [x(month.first.toordinal() + month.days / 2) for month in months]
    highs = _edge_to_edge(list(zip(middles, (y(m.mean_high) for m in months), strict=True)))
    lows = _edge_to_edge(list(zip(middles, (y(m.mean_low) for m in months), strict=True)))
    parts = [
        *_levels(y, range(int(floor), int(ceiling) + 1, 5), "°"),
        f'<path class="days" d="{strokes}" stroke-width="{width}"/>',
        f'<path class="band" d="{_curve(highs)}L{_curve(lows[::-1])[1:]}Z"/>',
        f'<path class="line warm" d="{_curve(highs)}"/>',
        f'<path class="line cold" d="{_curve(lows)}"/>',
        *_month_axis(months, x, height),
        *(_tooltip(month, x, top, height - bottom) for month in months),
    ]
    hottest = max(days, key=lambda day: day.high)
    coldest = min(days, key=lambda day: day.low)
    for day, value, lift in ((hottest, hottest.high, -9), (coldest, coldest.low, 17)):
        cx, cy = x(day.date.toordinal() + 0.5), y(value)
        anchor = "start" if cx < 90 else "end" if cx > WIDTH - 90 else "middle"
        parts.append(f'<circle class="dot" cx="{cx}" cy="{cy}" r="3.5"/>')
        text = f"{number(value)}° on {day.date:%-d %b %Y}"
        parts.append(_text(cx, cy + lift, text, "note", anchor))
    return _svg(height, "Lowest and highest temperature of every day", parts)


def precipitation(days: Sequence[Day]) -> str:
    """A bar for every month."""
    height, top, bottom = 240, 20, 28
    months = by_month(days)
    x = Scale(0, len(months), LEFT, WIDTH - RIGHT)
    ceiling = 50 * (max(month.precipitation for month in months) // 50 + 1)
    y = Scale(0, ceiling, height - bottom, top)
    gap = 12 if len(months) <= 12 else 3
    width = round(x(1) - x(0) - gap, 1)
    parts = _levels(y, range(0, int(ceiling) + 1, 50), "")
    for place, month in enumerate(months):
        left, bar = round(x(place) + gap / 2, 1), y(month.precipitation)
        parts.append(
            f'<path class="rain bar" d="{_bar(left, bar, width, y(0))}">'
            f"<title>{_name(month)}: {number(month.precipitation)} mm on {month.wet_days} days"
            "</title></path>"
        )
        if len(months) <= 12:
            middle = left + width / 2
            parts.append(_text(middle, bar - 6, f"{month.precipitation:.0f}", "note", "middle"))
            parts.append(_text(middle, height - 9, MONTHS[month.first.month - 1], "", "middle"))
        elif month.first.month == 1:
            parts.append(_text(left, height - 9, str(month.first.year), ""))
    return _svg(height, "Precipitation by month, in millimetres", parts)


def running_total(record: Sequence[Day], years: Sequence[int]) -> str:
    """Precipitation since New Year: a line for every year of the record, those of `years` bold."""
    height, top, bottom, right = 300, 16, 28, 64
    x = Scale(0, 366, LEFT, WIDTH - right)
    totals = {
        year: _running_total(day for day in record if day.date.year == year)
        for year in sorted({day.date.year for day in record})
    }
    ceiling = 200 * (max(line[-1] for line in totals.values()) // 200 + 1)
    y = Scale(0, ceiling, height - bottom, top)
    parts = _levels(y, range(0, int(ceiling) + 1, 200), "", end=x(366))
    for month in range(12):
        start = date(2012, month + 1, 1).timetuple().tm_yday
        parts.append(_text(x(start + 14), height - 9, MONTHS[month], "", "middle"))
    taken = float("-inf")
    for place, (year, line) in enumerate(sorted(totals.items(), key=lambda pair: -pair[1][-1])):
        shade = f"year-{place % 4}" if year in years else "other"
        points = "".join(f"L{x(day)} {y(total)}" for day, total in enumerate(line, 1))
        parts.append(f'<path class="line {shade}" d="M{points[1:]}"/>')
        taken = max(y(line[-1]) + 4, taken + 17)  # the names must not lie on each other
        parts.append(_text(x(366) + 8, taken, str(year), f"end {shade}"))
    return _svg(height, "Precipitation since the first of January, in millimetres", parts)


def shares(days: Sequence[Day]) -> str:
    """One bar, divided among the kinds of weather."""
    height, at = 44, float(0)
    parts = []
    for kind in KINDS:
        count = sum(day.kind == kind for day in days)
        if not count:
            continue
        width = WIDTH * count / len(days)
        share = f"{100 * count / len(days):.0f} %"
        parts.append(
            f'<rect class="{kind}" x="{at + 1:.1f}" width="{max(width - 2, 1):.1f}" '
            f'height="{height}" rx="4"><title>{kind}: {count} days, {share}</title></rect>'
        )
        if width > 44:
            parts.append(_text(at + width / 2, height / 2 + 5, share, f"on-{kind}", "middle"))
        at += width
    return _svg(height, "Days of each kind of weather", parts)


def calendar(days: Sequence[Day]) -> str:
    """A square for every day, a column for every week, a row of weeks for every year."""
    cell, step, top, row = 13, 16, 22, 7 * 16 + 34
    years = sorted({day.date.year for day in days})
    parts = []
    for place, year in enumerate(years):
        above = place * row + top
        first = date(year, 1, 1)
        monday = first - timedelta(days=first.weekday())
        parts.append(_text(0, above + 3.5 * step + 4, str(year), "strong"))
        for month in range(12):
            week = (date(year, month + 1, 1) - monday).days // 7
            parts.append(_text(LEFT + week * step, above - 8, MONTHS[month], ""))
        for day in days:
            if day.date.year == year:
                week, weekday = divmod((day.date - monday).days, 7)
                parts.append(
                    f'<rect class="{day.kind}" x="{LEFT + week * step}" '
                    f'y="{above + weekday * step}" width="{cell}" height="{cell}" rx="2.5">'
                    f"<title>{day.date}: {day.kind}, {number(day.low)} to {number(day.high)} °C, "
                    f"{number(day.precipitation)} mm</title></rect>"
                )
    return _svg(len(years) * row - 12, "The weather of every day", parts)


def number(value: float) -> str:
    """One decimal, and a minus sign that is one."""
    return f"{value:,.1f}".replace("-", "\N{MINUS SIGN}")


def _svg(height: float, label: str, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _levels(y: Scale, values: Iterable[int], unit: str, end: float = WIDTH - RIGHT) -> list[str]:
    parts = []
    for value in values:
        kind = "zero" if value == 0 else "grid"
        parts.append(f'<path class="{kind}" d="M{LEFT} {y(value)}H{end}"/>')
        label = f"{value:,}{unit}".replace("-", "\N{MINUS SIGN}")
        parts.append(_text(LEFT - 8, y(value) + 4, label, "", "end"))
    return parts


def _month_axis(months: Sequence[Month], x: Scale, height: float) -> list[str]:
    if len(months) <= 12:
        return [
            _text(
                x(month.first.toordinal() + month.days / 2),
                height - 9,
                MONTHS[month.first.month - 1],
                "",
                "middle",
            )
            for month in months
        ]
    januaries = [month for month in months if month.first.month == 1]
    return [
        _text(x(month.first.toordinal()) + 4, height - 9, str(month.first.year), "")
        for month in januaries
    ]


def _tooltip(month: Month, x: Scale, top: float, bottom: float) -> str:
    left, end = x(month.first.toordinal()), x(month.first.toordinal() + month.days)
    return (
        f'<rect class="hover" x="{left}" y="{top}" width="{end - left:.1f}" '
        f'height="{bottom - top}"><title>{_name(month)}: on average {number(month.mean_low)} to '
        f"{number(month.mean_high)} °C, at most {number(month.lowest)} to "
        f"{number(month.highest)} °C</title></rect>"
    )


def _name(month: Month) -> str:
    return f"{MONTHS[month.first.month - 1]} {month.first.year}"


def _edge_to_edge(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same line, drawn on to both edges of the chart."""
    return [(LEFT, points[0][1]), *points, (WIDTH - RIGHT, points[-1][1])]


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """A smooth path through all points (Catmull-Rom, as Bézier curves)."""
    path = f"M{points[0][0]} {points[0][1]}"
    for place in range(len(points) - 1):
        before = points[max(place - 1, 0)]
        here, there = points[place], points[place + 1]
        after = points[min(place + 2, len(points) - 1)]
        x1, y1 = here[0] + (there[0] - before[0]) / 6, here[1] + (there[1] - before[1]) / 6
        x2, y2 = there[0] - (after[0] - here[0]) / 6, there[1] - (after[1] - here[1]) / 6
        path += f"C{x1:.1f} {y1:.1f} {x2:.1f} {y2:.1f} {there[0]} {there[1]}"
    return path


def _bar(left: float, top: float, width: float, bottom: float) -> str:
    """A bar that is round at its upper end only."""
    r = min(4, width / 3, max(bottom - top, 0))
    return (
        f"M{left} {bottom}V{top + r:.1f}q0 {-r:.1f} {r:.1f} {-r:.1f}h{width - 2 * r:.1f}"
        f"q{r:.1f} 0 {r:.1f} {r:.1f}V{bottom}Z"
    )


def _running_total(days: Iterable[Day]) -> list[float]:
    total, line = 0.0, []
    for day in days:
        total += day.precipitation
        line.append(total)
    return line
