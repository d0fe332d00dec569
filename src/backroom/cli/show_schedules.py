"""What the command line prints of schedules for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from backroom.cli.output import say
from backroom.cli.plain import count_of, plain
from backroom.cli.show import ago, as_json, facts, print_table
from backroom.job import FIRST
from backroom.schedule import ScheduleInfo, TickInfo, TickPage
from backroom.ticking import is_interval

__all__ = ["schedule", "schedules"]


def schedules(found: Sequence[ScheduleInfo]) -> None:
    """A table of schedules."""
    if not found:
        say("there are no schedules")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "type", "when", "next run", "last run"):
        table.add_column(heading, no_wrap=heading in ("name", "type"))
    for info in found:
        following = info.next_runs[0] if info.next_runs else None
        table.add_row(
            Text(plain(info.name)).append_text(_marks(info)), Text(plain(info.type)),
            Text(plain(info.text)), _moment(following),
            "" if info.last_at is None else ago(info.last_at),
        )  # fmt: skip
    print_table(table)


def schedule(info: ScheduleInfo, ticks: TickPage) -> None:
    """Everything about one schedule, and a page of its ticks."""
    rows: list[tuple[str, object]] = [
        ("name", info.name + _marks(info).plain),
        ("type", info.type),
        ("when", info.text),
        ("rule", "" if is_interval(info.rule) else f"{info.rule} ({info.tz})"),
        ("queue", f"{info.queue}, {info.priority}"),
        ("missed", info.missed),
        ("overlap", info.overlap),
        ("jitter", f"{info.jitter:g} s" if info.jitter else ""),
        ("expires", "" if info.expires_in is None else f"{info.expires_in:g} s after its tick"),
        ("origin", "beside a handler" if info.origin == "code" else "made by a call"),
        ("created", _moment(info.created_at)),
        ("last run", _moment(info.last_at)),
        ("last job", info.last_job or ""),
        ("options", as_json(info.options)),
        ("version", "" if info.version == FIRST else f"{info.version} of its data"),
        ("data", as_json(info.data)),
    ]
    rows += [("next run" if n == 0 else "", _moment(at)) for n, at in enumerate(info.next_runs)]
    facts([(name, value) for name, value in rows if value not in ("", "{}")])
    if not len(ticks):
        say("no tick has come yet")
        return
    say("")
    table = Table(box=None, pad_edge=False)
    for heading in ("tick", "became", "job"):
        table.add_column(heading, no_wrap=True)
    for tick in ticks:
        table.add_row(_when(tick, info), tick.outcome, Text(plain(tick.job or "")))
    print_table(table)
    if ticks.cursor is not None:
        say(f"more: --cursor {ticks.cursor}")


def _marks(info: ScheduleInfo) -> Text:
    text = Text(style="red")
    for is_so, word in ((info.paused, "paused"), (info.orphaned, "orphaned")):
        if is_so:
            text.append(f" ({word})")
    return text


def _moment(at: datetime | None) -> str:
    """In the zone that it comes with: that of its schedule."""
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M:%S %Z")


def _when(tick: TickInfo, info: ScheduleInfo) -> str:
    zone = info.created_at.tzinfo if not info.next_runs else info.next_runs[0].tzinfo
    text = _moment(tick.at.astimezone(zone))
    if tick.at == tick.until:
        return text
    return f"{text} to {_moment(tick.until.astimezone(zone))}, {count_of(tick.count, 'tick')}"
