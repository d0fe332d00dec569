"""What the command line prints of workflows for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from backroom.cli.output import say
from backroom.cli.plain import plain
from backroom.cli.show import ago, facts, print_table
from backroom.flow import WorkflowInfo, WorkflowJob, WorkflowPage

__all__ = ["workflow", "workflows"]

NAMED: Final = 3
"""Jobs that a line names of those that one waits for."""


def workflows(found: WorkflowPage) -> None:
    """A table of workflows and batches."""
    if not len(found):
        say("there are no workflows")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "name", "status", "jobs", "created"):
        table.add_column(heading, no_wrap=heading == "id")
    for info in found:
        table.add_row(
            info.id, Text(plain(info.name)), str(info.status), _counts(info), ago(info.created_at)
        )
    print_table(table)
    if found.cursor is not None:
        say(f"more: --cursor {found.cursor}")


def workflow(info: WorkflowInfo) -> None:
    """Everything about one, its jobs in the order in which they were added."""
    rows: list[tuple[str, object]] = [
        ("id", info.id),
        ("name", info.name),
        ("kind", info.kind),
        ("status", info.status),
        ("on failure", info.on_failure),
        ("jobs", _counts(info)),
        ("created", ago(info.created_at)),
        ("finished", "" if info.finished_at is None else ago(info.finished_at)),
    ]
    facts([(name, value) for name, value in rows if value != ""])
    if not info.jobs:
        return
    say("")
    numbers = {job.id: number for number, job in enumerate(info.jobs, 1)}
    table = Table(box=None, pad_edge=False)
    for heading in ("", "id", "type", "status", "after", "error"):
        table.add_column(heading, no_wrap=heading != "error")
    for number, job in enumerate(info.jobs, 1):
        table.add_row(
            str(number), job.id, Text(plain(job.type)), str(job.status), _after(job, numbers),
            Text(plain(job.error or "")),
        )  # fmt: skip
    print_table(table)
    shown = sum(job.role == "job" for job in info.jobs)
    if shown < info.total:
        say(f"and {info.total - shown:,} more jobs")


def _counts(info: WorkflowInfo) -> str:
    words = [f"{info.completed:,} of {info.total:,} completed"]
    words += [
        f"{count:,} {word}"
        for count, word in ((info.failed, "failed"), (info.cancelled, "cancelled"))
        if count
    ]
    return ", ".join(words)


def _after(job: WorkflowJob, numbers: Mapping[Any, int]) -> str:
    """By their numbers in the table."""
    if job.role == "callback":
        return "callback, all"
    named = [str(numbers.get(id_, "?")) for id_ in job.after[:NAMED]]
    more = len(job.after) - len(named)
    text = ", ".join(named) + (f" and {more:,} more" if more > 0 else "")
    return f"undo, {text}" if job.role == "undo" else text
