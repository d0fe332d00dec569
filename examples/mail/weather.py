"""The weather record of Seattle: reading it, and what a report wants to know about it."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from statistics import fmean

RECORD = Path(__file__).parent / "data" / "seattle-weather.csv"
KINDS = ("sun", "fog", "drizzle", "rain", "snow")


@dataclass(frozen=True, slots=True)
class Day:
    date: date
    precipitation: float  # mm
    high: float  # °C
    low: float  # °C
    wind: float  # m/s
    kind: str  # one of KINDS


@dataclass(frozen=True, slots=True)
class Month:
    """The days of one month of one year, in numbers."""

    first: date
    days: int
    mean_high: float
    mean_low: float
    highest: float
    lowest: float
    precipitation: float
    wet_days: int


def read_days(file: Path = RECORD) -> list[Day]:
    """Every day of the record, oldest first."""
    with file.open(encoding="utf-8", newline="") as lines:
        return [_day(row) for row in csv.DictReader(lines)]


def by_month(days: Sequence[Day]) -> list[Month]:
    groups: dict[date, list[Day]] = {}
    for day in days:
        groups.setdefault(day.date.replace(day=1), []).append(day)
    return [
        Month(
            first=first,
            days=len(group),
            mean_high=fmean(day.high for day in group),
            mean_low=fmean(day.low for day in group),
            highest=max(day.high for day in group),
            lowest=min(day.low for day in group),
            precipitation=sum(day.precipitation for day in group),
            wet_days=sum(day.precipitation > 0 for day in group),
        )
        for first, group in groups.items()
    ]


def _day(row: dict[str, str]) -> Day:
    precipitation = float(row["precipitation"])
    kind = row["weather"]
    # From 2013 on the station noted no rain any more (see data/SOURCE.md).
    if precipitation > 0 and kind in ("fog", "sun"):
        kind = "rain"
    return Day(
        date=datetime.strptime(row["date"], "%Y/%m/%d").date(),
        precipitation=precipitation,
        high=float(row["temp_max"]),
        low=float(row["temp_min"]),
        wind=float(row["wind"]),
        kind=kind,
    )
