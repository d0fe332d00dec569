"""What the command line prints: tables for people, JSON for programs."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from backroom.job import JobInfo, JobPage, JobStats, JobStatus

__all__ = ["console", "job", "jobs", "stats", "to_json"]

COLOURS: Final = {
    JobStatus.SCHEDULED: "blue",
    JobStatus.PENDING: "cyan",
    JobStatus.BLOCKED: "magenta",
    JobStatus.ACTIVE: "yellow",
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "bright_black",
}


def console() -> Console:
    """Standard output; wide in a pipe, so that no line is folded."""
    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def to_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode())


def _clean(text: object) -> str:
    """Text of a job that cannot steer the terminal: control characters are shown, not sent."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in str(text))


def _status(info: JobInfo) -> Text:
    text = Text(str(info.status), style=COLOURS[info.status])
    if info.parked:
        text.append(" (no worker knows its type)", style="red")
    if info.cancel_requested:
        text.append(" (cancel requested)", style="red")
    return text


def _when(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _ago(moment: datetime | None) -> str:
    if moment is None:
        return ""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if size >= length:
            text = f"{size / length:.0f} {unit}"
            break
    else:
        text = f"{size:.0f} s"
    return f"{text} ago" if seconds >= 0 else f"in {text}"


def jobs(page: JobPage) -> None:
    """A table of jobs."""
    if not len(page):
        click.echo("no jobs match")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "type", "queue", "priority", "status", "attempt", "created", "error"):
        table.add_column(heading, no_wrap=heading in ("id", "type", "status"))
    for info in page:
        table.add_row(
            info.id, escape(_clean(info.type)), escape(_clean(info.queue)), info.priority,
            _status(info), _attempts(info), _ago(info.created_at),
            escape(_clean(info.error or "").partition("\n")[0][:80]),
        )  # fmt: skip
    console().print(table)
    if page.cursor is not None:
        click.echo(f"more: --cursor {page.cursor}")


def _attempts(info: JobInfo) -> str:
    most = "" if info.max_attempts is None else f"/{info.max_attempts}"
    return f"{info.attempt}{most}"


def job(info: JobInfo) -> None:
    """Everything about one job."""
    out = console()
    table = Table(box=None, show_header=False, pad_edge=False)
    rows: list[tuple[str, object]] = [
        ("id", info.id),
        ("type", _clean(info.type)),
        ("status", _status(info)),
        ("queue", f"{_clean(info.queue)}, {info.priority}"),
        ("attempt", _attempts(info) + (f", {info.crashes} crashes" if info.crashes else "")),
        ("created", _when(info.created_at)),
        ("run at", f"{_when(info.run_at)} ({_ago(info.run_at)})"),
        ("expires", _when(info.expires_at)),
        ("started", _when(info.started_at)),
        ("finished", _when(info.finished_at)),
        ("worker", info.worker or ""),
        ("unique key", _clean(info.unique_key or "")),
        ("tags", _clean(", ".join(info.tags))),
        ("progress", "" if info.progress is None else _progress(info)),
        ("options", _json(info.options)),
        ("metadata", _json(info.metadata)),
        ("data", _json(info.data)),
        ("result", "" if info.result is None else _json(info.result)),
        ("error", _clean(info.error or "")),
    ]
    for name, value in rows:
        if value not in ("", "{}"):
            table.add_row(name, value if isinstance(value, Text) else escape(str(value)))
    out.print(table)
    for error in info.errors:
        out.print(
            f"\n[red]attempt {error.attempt}[/red] {_when(error.at)}"
            f" {escape(_clean(error.kind))}: {escape(_clean(error.message))}"
        )
        if error.traceback:
            out.print(escape(_clean(error.traceback).rstrip()), style="dim")
    if info.log:
        out.print("\nlog")
        for line in info.log:
            out.print(
                f"{_when(line.at)} {line.level:7} [{line.attempt}] ", escape(_clean(line.message)),
                sep="",
            )  # fmt: skip


def _json(value: Any) -> str:
    return _clean(msgspec.json.encode(value, enc_hook=str).decode())


def _progress(info: JobInfo) -> str:
    message = f" {_clean(info.progress_message)}" if info.progress_message else ""
    return f"{info.progress or 0:.0%}{message}"


def stats(now: JobStats) -> None:
    """Counts, queues, workers."""
    out = console()
    counts = Table(box=None, pad_edge=False)
    for status in JobStatus:
        counts.add_column(str(status), justify="right", style=COLOURS[status])
    counts.add_row(*(f"{now.by_status[status]:,}" for status in JobStatus))
    out.print(counts)
    if now.queues:
        table = Table(box=None, pad_edge=False)
        table.add_column("queue")
        for heading in ("pending", "scheduled", "active"):
            table.add_column(heading, justify="right")
        table.add_column("oldest pending")
        for queue in now.queues:
            name = escape(_clean(queue.name)) + (" [red](paused)[/red]" if queue.paused else "")
            table.add_row(
                name, f"{queue.pending:,}", f"{queue.scheduled:,}", f"{queue.active:,}",
                _ago(queue.oldest_pending),
            )  # fmt: skip
        out.print()
        out.print(table)
    for type_, count in now.unknown_types.items():
        out.print(
            f"\n[red]{count:,} jobs of type {escape(_clean(type_))} wait for a worker that knows"
            " it[/red]"
        )
    out.print()
    if not now.workers:
        out.print("no worker is running")
    for worker in now.workers:
        out.print(
            f"worker {escape(worker.name)}: {worker.active:,} jobs, started"
            f" {_ago(worker.started_at)}"
        )
