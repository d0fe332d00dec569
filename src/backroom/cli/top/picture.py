"""The picture of a board, as wide and high as the terminal is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from backroom.cli.plain import plain
from backroom.cli.show import COLOURS, ago
from backroom.cli.top.board import Board, Look, Panel
from backroom.job import JobStatus

__all__ = ["picture"]

CHOSEN: Final = "reverse"
FIXED: Final = 6
"""Lines that are there whatever the lists hold: counts, rates, a heading's space, the last line."""
LEAST: Final = 2
"""Rows of a list that are shown where there is little room."""
KEYS: Final = (
    ("Tab, 1 to 4", "another list"),
    ("arrows, j, k", "another row"),
    ("p", "pause the queue, or let it go on"),
    ("d", "drain the worker (it takes no more jobs), or take it up again"),
    ("c", "cancel the running job"),
    ("r", "retry the failed jobs of this kind"),
    ("Space", "hold the picture, or let it go on"),
    ("q", "leave"),
)


def picture(board: Board, size: ConsoleDimensions) -> RenderableType:
    """All of it."""
    look = board.look
    if look is None:
        return Text("looking")
    if board.helping:
        return _help()
    parts: list[RenderableType] = [_counts(look), _rates(look, board.held)]
    tables = [_queues(look), _workers(look), _running(look), _failures(look)]
    rooms = _rooms([len(rows) for _, rows in tables], size.height - FIXED - 2 * len(tables))
    for panel, (headings, rows) in zip(Panel, tables, strict=True):
        parts.append(_list(board, panel, headings, rows, rooms[panel]))
    parts.append(_last_line(board))
    return Group(*parts)


def _rooms(wanted: Sequence[int], there: int) -> list[int]:
    """How many rows each list may show: a short one leaves its room to the others."""
    rooms = [min(LEAST, want) for want in wanted]
    while sum(rooms) < there and any(room < want for room, want in zip(rooms, wanted, strict=True)):
        short = min(
            (at for at in range(len(rooms)) if rooms[at] < wanted[at]), key=lambda at: rooms[at]
        )
        rooms[short] += 1
    return rooms


def _counts(look: Look) -> Text:
    line = Text()
    for status in JobStatus:
        line.append(f"{status} ", style="dim")
        line.append(f"{look.stats.by_status[status]:,}   ", style=COLOURS[status])
    return line


def _rates(look: Look, held: bool) -> Text:
    points = look.last_minute
    line = Text()
    if points:
        for name, style in (("completed", "green"), ("failed", "red"), ("retried", "yellow")):
            jobs = sum(getattr(point, name) for point in points)
            line.append(f"{name} in the last minute ", style="dim")
            line.append(f"{jobs:,}   ", style=style if jobs else "")
    if held:
        line.append("held: Space goes on", style="bold reverse")
    return line


def _list(
    board: Board, panel: Panel, headings: Sequence[str], rows: list[list[Text]], room: int
) -> RenderableType:
    here = panel is board.panel
    table = Table(box=None, pad_edge=False, expand=True)
    title = f"{panel + 1} {panel.name.lower()}"
    for number, heading in enumerate(headings):
        table.add_column(
            Text(title if number == 0 else heading, style="bold" if here else "dim"),
            no_wrap=True, overflow="ellipsis", ratio=3 if number == 0 else 1,
        )  # fmt: skip
    chosen = board.chosen(panel)
    first = max(0, min(chosen - room // 2, len(rows) - room))
    for number, cells in list(enumerate(rows))[first : first + room]:
        table.add_row(*cells, style=CHOSEN if here and number == chosen else "")
    if not rows:
        table.add_row(Text(_NONE[panel], style="dim"))
    left = len(rows) - room
    return Group(Text(f"and {left:,} more" if left > 0 and room else "", style="dim"), table)


_NONE: Final = {
    Panel.QUEUES: "no queue has held a job yet",
    Panel.WORKERS: "no worker is running: backroom worker MODULE:ATTR",
    Panel.RUNNING: "nothing runs",
    Panel.FAILURES: "no failed jobs",
}

_Rows = tuple[Sequence[str], list[list[Text]]]


def _queues(look: Look) -> _Rows:
    rows = []
    for queue in look.stats.queues:
        name = Text(plain(queue.name))
        if queue.paused:
            name.append(" (paused)", style="red")
        rows.append([
            name, Text(f"{queue.pending:,}"), Text(f"{queue.scheduled:,}"),
            Text(f"{queue.active:,}"), Text(ago(queue.oldest_pending)),
        ])  # fmt: skip
    return ("", "pending", "scheduled", "active", "oldest pending"), rows


def _workers(look: Look) -> _Rows:
    rows = []
    for worker in look.workers:
        name = Text(plain(worker.name))
        if worker.draining:
            name.append(" (takes no jobs)", style="red")
        if not worker.alive:
            name.append(" (gone)", style="red")
        report = worker.report
        memory = "" if report is None or report.memory is None else f"{report.memory / 1e6:,.0f} MB"
        runs = "" if report is None else f"{report.active:,} of {report.concurrency:,}"
        rows.append([name, Text(runs), Text(memory), Text(ago(worker.started_at))])
    return ("", "running", "memory", "started"), rows


def _running(look: Look) -> _Rows:
    now = datetime.now(UTC)
    rows = []
    for worker, running in look.running:
        seconds = max(0.0, (now - running.since).total_seconds())
        rows.append([
            Text(plain(f"{running.type}  {running.id}")), Text(f"{seconds:,.0f} s"),
            Text(str(running.attempt)), Text(plain(running.queue)), Text(plain(worker)),
        ])  # fmt: skip
    return ("", "since", "attempt", "queue", "worker"), rows


def _failures(look: Look) -> _Rows:
    rows = [
        [
            Text(plain(f"{group.type}  {group.kind}: {group.message}")),
            Text(f"{group.jobs:,}", style="red"), Text(ago(group.last_at)),
        ]
        for group in look.failures
    ]  # fmt: skip
    return ("", "jobs", "last"), rows


def _last_line(board: Board) -> Text:
    if board.asking is not None and board.asking.question is not None:
        return Text(plain(board.asking.question), style="bold yellow")
    if board.message:
        return Text(board.message, style="yellow")
    return Text("? keys   q leaves", style="dim")


def _help() -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False)
    for keys, what in KEYS:
        table.add_row(Text(keys, style="bold"), what)
    return Group(
        Text("backroom top", style="bold"),
        Text(),
        table,
        Text(),
        Text("any key goes back", style="dim"),
    )
