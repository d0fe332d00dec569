"""`backroom jobs reschedule|priority`: another moment, or another priority, for jobs that wait."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import click

from backroom.cli.commands import Command, job_filters, on_storage, option
from backroom.cli.statuses import LIVE, PRIORITIES
from backroom.cli.steer import Verb, steer, without_asking
from backroom.cli.values import duration, moment

__all__ = ["priority", "reschedule"]

WAITING: Final = tuple(status for status in LIVE if status != "active")


@click.command("reschedule", cls=Command)
@click.argument("job_ids", nargs=-1)
@option(
    "--delay", type=duration, metavar="DURATION", help="So long from now: 90, 5m, 2h, 1d; 0: now."
)
@option(
    "--at", "run_at", type=moment, metavar="MOMENT", help="Or: when, as ISO 8601 with its zone."
)
@job_filters(*WAITING)
@without_asking
@on_storage
def reschedule(delay: float | None, run_at: datetime | None, **said: Any) -> None:
    """Give jobs that wait another moment: by id, or all that match."""
    if (delay is None) == (run_at is None):
        raise click.UsageError("say --delay or --at, one of them")
    when: dict[str, Any] = {"delay": delay} if run_at is None else {"run_at": run_at}
    verb = Verb(
        "reschedule", "rescheduled",
        lambda service, job_id: service.reschedule_job(job_id, **when),
        lambda service, **which: service.reschedule_jobs(**when, **which),
        WAITING, when,
    )  # fmt: skip
    steer(verb, **said)


@click.command("priority", cls=Command)
@click.argument("to", metavar="PRIORITY", type=click.Choice(PRIORITIES))
@click.argument("job_ids", nargs=-1)
@job_filters(*WAITING)
@without_asking
@on_storage
def priority(to: str, **said: Any) -> None:
    """Give jobs that wait another priority: by id, or all that match."""
    verb = Verb(
        "reprioritize", "reprioritized",
        lambda service, job_id: service.reprioritize_job(job_id, to),
        lambda service, **which: service.reprioritize_jobs(to, **which),
        WAITING, {"to": to},
    )  # fmt: skip
    steer(verb, **said)
