"""`backroom top`: the terminal's dashboard."""

from __future__ import annotations

import sys

import click

from backroom.cli.commands import Command, option

__all__ = ["top"]


@click.command(
    cls=Command, short_help="Watch queues, workers, running and failed jobs; steer them."
)
@option("--every", metavar="SECONDS", type=click.FloatRange(0.1, 3600), default=1.0,
        show_default=True, help="Look again every so many seconds.")  # fmt: skip
@option("--storage", metavar="URL", envvar="BACKROOM_STORAGE",
        help="Where the jobs are; default file:./storage/jobs.")  # fmt: skip
@option("--app", "target", metavar="MODULE:ATTR", envvar="BACKROOM_APP",
        help="Or: the service that knows.")  # fmt: skip
def top(target: str | None, storage: str | None, every: float) -> None:
    """Queues, workers, what runs and what failed, on one screen that keeps itself up to date.

    Keys: Tab or 1 to 4 choose a list, arrows or j and k a row; p pauses and resumes a queue, d
    drains a worker, c cancels a running job, r retries failed ones; Space holds the picture; ?
    shows the keys; q leaves.
    """
    from backroom.cli.asking import look_up

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            "top needs a terminal; in a pipe use backroom stats --watch --json, which prints lines"
        )
    from backroom.cli.top.session import session

    look_up(target, storage, lambda service: session(service, every))
