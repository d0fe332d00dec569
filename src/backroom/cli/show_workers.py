"""What the command line prints of workers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from backroom.cli.output import say
from backroom.cli.plain import plain
from backroom.cli.show import ago, print_table
from backroom.crew import WorkerInfo

__all__ = ["workers"]


def workers(all_: Sequence[WorkerInfo]) -> None:
    """A table of workers, and what each runs."""
    if not all_:
        say("no worker is running")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "worker", "state", "since"):
        table.add_column(heading)
    for heading in ("runs", "ahead", "slots", "memory"):
        table.add_column(heading, justify="right")
    table.add_column("queues")
    for one in all_:
        told = one.report
        state = "gone" if not one.alive else "draining" if one.draining else "working"
        numbers = ("", str(one.claimed), "", "")
        if told is not None:
            memory = "" if told.memory is None else f"{told.memory / 2**20:.0f} MiB"
            numbers = (f"{told.active:,}", f"{told.ahead:,}", f"{told.concurrency:,}", memory)
        queues = "" if told is None else plain(told.queues)
        table.add_row(str(one.id), plain(one.name), state, ago(one.started_at), *numbers, queues)
    print_table(table)
    for one in all_:
        for job in one.report.running if one.report else ():
            say(plain(f"{one.id}  {job.type} {job.id}, attempt {job.attempt}, {ago(job.since)}"))
