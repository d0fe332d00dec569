"""What the command line prints: tables for people, JSON for programs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from backroom.action import ActionInfo
from backroom.cli.output import say
from backroom.cli.plain import plain
from backroom.job import FIRST, AttemptError, JobInfo, JobPage, JobStatus, to_datetime
from backroom.limit import LimitInfo
from backroom.stats import JobStats, QueueStats
from backroom.step import FOREVER, UNTIL_TOLD

__all__ = [
    "ago",
    "as_json",
    "console",
    "facts",
    "job",
    "jobs",
    "limits",
    "print_table",
    "queues",
    "stats",
    "stats_view",
]

WIDEST: Final = 10_000
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
    """Standard output; in a pipe as wide as it takes, so that no line is folded or cut.

    Text of a job is given to it as `Text` only: a `str` is markup.
    """
    return Console(width=None if sys.stdout.isatty() else WIDEST, highlight=False, emoji=False)


def _text(value: object, style: str = "") -> Text:
    return Text(plain(value), style=style)


def print_table(table: Table) -> None:
    """On standard output, without the blanks that fill a line up."""
    out = console()
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as printed:
        out.print(table)
    for line in printed.get().splitlines():
        say(line.rstrip())


def _status(info: JobInfo) -> Text:
    text = Text(str(info.status), style=COLOURS[info.status])
    if info.parked:
        text.append(f" (no worker knows {_unknown(info.version)})", style="red")
    if info.cancel_requested:
        text.append(" (cancel requested)", style="red")
    return text


def _unknown(version: int) -> str:
    """What of a job no worker knows."""
    return "its type" if version == FIRST else f"its type, or version {version} of its data"


def _when(moment: datetime | None) -> str:
    if moment is None:
        return ""
    # The first and the last day there are may have no other zone: they stay in UTC.
    with contextlib.suppress(OverflowError, ValueError):
        moment = moment.astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def ago(moment: datetime | None) -> str:
    """How long ago it was, or how soon it will be: "5 m ago"."""
    if moment is None:
        return ""
    if moment == to_datetime(FOREVER):
        return UNTIL_TOLD
    seconds = (datetime.now(UTC) - moment).total_seconds()
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if size >= length:
            text = f"{size / length:.0f} {unit}"
            break
    else:
        text = f"{size:.0f} s"
    return f"{text} ago" if seconds >= 0 else f"in {text}"


def _due(moment: datetime) -> str:
    text = ago(moment)
    return text if text == UNTIL_TOLD else f"{_when(moment)} ({text})"


def jobs(page: JobPage) -> None:
    """A table of jobs."""
    if not len(page):
        say("no jobs match")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "type", "queue", "priority", "status", "attempt", "created", "error"):
        table.add_column(heading, no_wrap=heading in ("id", "type", "status"))
    for info in page:
        table.add_row(
            _text(info.id), _text(info.type), _text(info.queue),
            info.priority, _status(info), _attempts(info), ago(info.created_at),
            Text(plain(info.error or "").partition("\n")[0][:80]),
        )  # fmt: skip
    print_table(table)
    if page.cursor is not None:
        say(f"more: --cursor {page.cursor}")


def _attempts(info: JobInfo) -> str:
    most = "" if info.max_attempts is None else f"/{info.max_attempts}"
    return f"{info.attempt}{most}"


def job(info: JobInfo) -> None:
    """Everything about one job."""
    out = console()
    table = Table(box=None, show_header=False, pad_edge=False)
    rows: list[tuple[str, object]] = [
        ("id", plain(info.id)),
        ("type", plain(info.type)),
        ("version", "" if info.version == FIRST else f"{info.version} of its data"),
        ("status", _status(info)),
        ("queue", f"{plain(info.queue)}, {info.priority}"),
        ("attempt", _attempts(info) + (f", {info.crashes} crashes" if info.crashes else "")),
        ("created", _when(info.created_at)),
        ("run at", _due(info.run_at)),
        ("waits", _waits(info)),
        ("expires", _when(info.expires_at)),
        ("started", _when(info.started_at)),
        ("finished", _when(info.finished_at)),
        ("worker", plain(info.worker or "")),
        ("unique key", plain(info.unique_key or "")),
        ("workflow", plain(info.workflow or "")),
        ("tags", plain(", ".join(info.tags))),
        ("progress", "" if info.progress is None else _progress(info)),
        ("options", as_json(info.options)),
        ("metadata", as_json(info.metadata)),
        ("data", as_json(info.data)),
        ("result", "" if info.result is None else as_json(info.result)),
        ("error", plain(info.error or "")),
    ]
    kept = [(name, value) for name, value in rows if value not in ("", "{}")]
    if out.is_terminal:
        for name, value in kept:
            table.add_row(name, value if isinstance(value, Text) else Text(str(value)))
        out.print(table)
    else:
        for name, value in kept:
            say(f"{name:<11} " + str(value).replace("\n", "\n" + " " * 12))
    if info.steps:
        out.print()
        print_table(_steps(info))
    for signal in info.signals:
        out.print()
        sent = f"signal {signal.name}, sent {_when(signal.at)}, is not taken yet: "
        out.print(_text(f"{sent}{as_json(signal.value)}"))
    for error in info.errors:
        out.print()
        out.print(
            Text(f"attempt {error.attempt}", style="red"),
            _text(f"{_when(error.at)}{_ran(error)} {error.kind}: {error.message}"),
        )
        if error.traceback:
            out.print(_text(error.traceback.rstrip(), "dim"))
    if info.log:
        out.print("\nlog")
        for line in info.log:
            start = Text(f"{_when(line.at)} {line.level:7} [{line.attempt}] ")
            out.print(start, _text(line.message), sep="")


def _ran(error: AttemptError) -> str:
    """For how long it had run; empty where nobody knows."""
    if error.started_at is None:
        return ""
    return f", {(error.at - error.started_at).total_seconds():.3f} s after its begin,"


def _waits(info: JobInfo) -> str:
    if info.blocked_by is not None:
        return plain(info.blocked_by)
    if info.status is JobStatus.BLOCKED and info.workflow is not None:
        return f"for jobs of its workflow: backroom workflows show {plain(info.workflow)}"
    step = info.waits_for
    if step is None:
        return ""
    until = "" if step.until is None else f" until {_when(step.until)} ({ago(step.until)})"
    if step.kind == "sleep":
        return f"sleeps{until}"
    return f"waits for signal {plain(step.name)}{until}"


def _steps(info: JobInfo) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "name", "kind", "begun", "took", "result"):
        table.add_column(heading, no_wrap=heading != "result")
    for step in info.steps:
        if step.timed_out:
            result = "no signal came in time"
        elif step.done:
            result = "" if step.kind == "sleep" else as_json(step.result)
        else:
            result = "waits"
        took = "" if step.took is None else f"{step.took:.3f} s"
        table.add_row(
            str(step.number), _text(step.name), step.kind, _when(step.at), took, Text(result)
        )
    return table


def as_json(value: Any) -> str:
    """A value in one line."""
    return plain(msgspec.json.encode(value, enc_hook=str).decode())


def _progress(info: JobInfo) -> str:
    message = f" {plain(info.progress_message)}" if info.progress_message else ""
    return f"{info.progress or 0:.0%}{message}"


def stats(now: JobStats) -> None:
    """Counts, queues, workers."""
    for part in _stats_parts(now):
        if isinstance(part, Table):
            print_table(part)
        else:
            console().print(part)


def stats_view(now: JobStats) -> RenderableType:
    """The same as one picture, for a screen that is drawn again and again."""
    return Group(*_stats_parts(now))


def _stats_parts(now: JobStats) -> list[Table | Text]:
    counts = Table(box=None, pad_edge=False)
    for status in JobStatus:
        counts.add_column(str(status), justify="right", style=COLOURS[status])
    counts.add_row(*(f"{now.by_status[status]:,}" for status in JobStatus))
    parts: list[Table | Text] = [counts]
    if now.queues:
        parts += [Text(), _queues(now.queues)]
    for kind in now.parked:
        waits = f"{kind.jobs:,} jobs of type {kind.name} wait for a worker that knows it"
        parts += [Text(), _text(waits, "red")]
    parts.append(Text())
    if not now.workers:
        parts.append(Text("no worker is running"))
    for worker in now.workers:
        since = ago(worker.started_at)
        drains = ", drains" if worker.draining else ""
        held = f"{worker.active:,} jobs"
        parts.append(_text(f"worker {worker.name}: {held}, started {since}{drains}"))
    return parts


def facts(rows: Sequence[tuple[str, object]]) -> None:
    """A table of two columns: what it is, and what is said of it."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows:
        table.add_row(name, _text(value))
    print_table(table)


def queues(all_: Sequence[QueueStats]) -> None:
    """A table of queues."""
    if not all_:
        say("no queue has held a job yet")
        return
    print_table(_queues(all_))


def limits(all_: Sequence[LimitInfo]) -> None:
    """A table of limits."""
    if not all_:
        say("no job has had a limit yet")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("limit")
    for heading in ("allows each key", "taken by all", "waiting"):
        table.add_column(heading, justify="right")
    for limit in all_:
        allows = f"{limit.most:,}" if limit.per is None else f"{limit.most:,} in {limit.per:g} s"
        taken = f"{limit.used:,}" if limit.per is None else ""
        table.add_row(_text(limit.name), allows, taken, f"{limit.blocked:,}")
    print_table(table)


def actions(page: Sequence[ActionInfo]) -> None:
    """A table of what people did."""
    if not page:
        say("nobody has done anything yet")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("when", "who", "did", "to", "outcome"):
        table.add_column(heading)
    table.add_column("changed", justify="right")
    for one in page:
        changed = "" if one.changed is None else f"{one.changed:,}"
        outcome = one.outcome if one.reason is None else f"{one.outcome}: {one.reason}"
        table.add_row(
            f"{one.at:%Y-%m-%d %H:%M:%S}", _text(one.actor), _text(one.verb), _text(one.target),
            _text(outcome), changed,
        )  # fmt: skip
    print_table(table)


def _queues(all_: Sequence[QueueStats]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("queue")
    for heading in ("pending", "scheduled", "active"):
        table.add_column(heading, justify="right")
    table.add_column("oldest pending")
    for queue in all_:
        name = _text(queue.name)
        if queue.paused:
            name.append(" (paused)", style="red")
        table.add_row(
            name, f"{queue.pending:,}", f"{queue.scheduled:,}", f"{queue.active:,}",
            ago(queue.oldest_pending),
        )  # fmt: skip
    return table
