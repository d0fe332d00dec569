"""The weather report: one HTML page that needs nothing but itself."""

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from statistics import fmean
from string import Template

from . import charts
from .charts import number
from .weather import KINDS, Day, by_month

PAGE = Path(__file__).parent / "templates" / "report.html"


def render(record: Sequence[Day], years: Sequence[int], title: str) -> str:
    """The page about those days of `record` that lie in `years`.

    Raises `ValueError` if there are none.
    """
    days = [day for day in record if day.date.year in years]
    if not days:
        raise ValueError(f"no observations of {', '.join(map(str, years))} in the record")
    first, last = days[0].date, days[-1].date
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        period=f"{first:%-d %B %Y} to {last:%-d %B %Y}",
        days=f"{len(days):,}",
        tiles="".join(_tiles(days, len(set(years)))),
        temperatures=charts.temperatures(days),
        precipitation=charts.precipitation(days),
        running_total=charts.running_total(record, years),
        shares=charts.shares(days),
        legend="".join(_legend(days)),
        calendar=charts.calendar(days),
        months="".join(_table_rows(days)),
    )


def write(file: Path, page: str) -> None:
    """Write `page` so that `file` is never half a page, whenever the process dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(page, encoding="utf-8")
    draft.replace(file)


def _tiles(days: Sequence[Day], years: int) -> list[str]:
    rain = sum(day.precipitation for day in days)
    wet = sum(day.precipitation > 0 for day in days)
    hottest = max(days, key=lambda day: day.high)
    coldest = min(days, key=lambda day: day.low)
    wettest = max(days, key=lambda day: day.precipitation)
    windiest = max(days, key=lambda day: day.wind)
    rain_name = "Rain a year" if years > 1 else "Precipitation"
    return [
        _tile("Average", number(fmean((d.high + d.low) / 2 for d in days)), "°C", "day and night"),
        _tile("Warmest day", number(hottest.high), "°C", _on(hottest)),
        _tile("Coldest night", number(coldest.low), "°C", _on(coldest)),
        _tile(rain_name, f"{rain / years:,.0f}", "mm", f"on {wet / years:.0f} days"),
        _tile("Wettest day", number(wettest.precipitation), "mm", _on(wettest)),
        _tile("Windiest day", number(windiest.wind), "m/s", _on(windiest)),
    ]


def _tile(name: str, value: str, unit: str, note: str) -> str:
    number_and_unit = f"<b>{value}<i>{unit}</i></b>"
    return f'<div class="tile"><span>{name}</span>{number_and_unit}<small>{note}</small></div>'


def _on(day: Day) -> str:
    return f"{day.date:%-d %b %Y}"


def _legend(days: Sequence[Day]) -> list[str]:
    counts = {kind: sum(day.kind == kind for day in days) for kind in KINDS}
    return [
        f'<li><svg viewBox="0 0 12 12"><rect class="{kind}" width="12" height="12" rx="3"/></svg>'
        f"{kind} <b>{count:,}</b></li>"
        for kind, count in counts.items()
        if count
    ]


def _table_rows(days: Sequence[Day]) -> list[str]:
    return [
        f"<tr><th>{month.first:%B %Y}</th>"
        f"<td>{number(month.mean_low)}</td><td>{number(month.mean_high)}</td>"
        f"<td>{number(month.lowest)}</td><td>{number(month.highest)}</td>"
        f"<td>{number(month.precipitation)}</td><td>{month.wet_days}</td></tr>"
        for month in by_month(days)
    ]
