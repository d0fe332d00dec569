"""`backroom jobs`: look at jobs, and steer them."""

from __future__ import annotations

from typing import Any

import click

from backroom.cli.commands import Commands, job_filters, on_storage, option
from backroom.cli.rearrange import priority, reschedule
from backroom.cli.schedule import schedule
from backroom.cli.signal import signal
from backroom.cli.statuses import STATUSES
from backroom.cli.steer import cancel, delete, retry

__all__ = ["jobs"]


@click.group(cls=Commands)
def jobs() -> None:
    """Look at jobs, schedule them, and steer them."""


@jobs.command("list")
@job_filters(*STATUSES)
@option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True,
        help="How many at most.")  # fmt: skip
@option("--cursor", help="Where the last page ended.")
@on_storage
def list_jobs(target: str | None, storage: str | None, as_json: bool, **filters: Any) -> None:
    """Jobs, newest first."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    page = look_up(target, storage, lambda service: service.get_jobs(**filters))
    with printing():
        if as_json:
            to_json({"jobs": list(page), "cursor": page.cursor})
        else:
            from backroom.cli import show

            show.jobs(page)


@jobs.command("show")
@click.argument("job_id")
@on_storage
def show_job(job_id: str, target: str | None, storage: str | None, as_json: bool) -> None:
    """Everything about one job: data, result, steps, errors, log."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    info = look_up(target, storage, lambda service: service.get_job(job_id))
    with printing():
        if as_json:
            to_json(info)
        else:
            from backroom.cli import show

            show.job(info)


for command in (schedule, signal, retry, cancel, delete, reschedule, priority):
    jobs.add_command(command)
