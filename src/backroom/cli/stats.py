"""`backroom stats`."""

from __future__ import annotations

import sys

import click

from backroom.cli.commands import Command, on_storage, option

__all__ = ["stats"]


@click.command(cls=Command, short_help="Count jobs by status and queue; list workers.")
@option("--watch", metavar="[SECONDS]", type=click.FloatRange(0.1, 3600), is_flag=False,
        flag_value=2.0,
        help="Look again every so many seconds (2), until Ctrl-C.")  # fmt: skip
@on_storage
def stats(target: str | None, storage: str | None, as_json: bool, watch: float | None) -> None:
    """How many jobs there are, by status and by queue, and which workers run.

    --watch draws the picture again and again on a terminal; with --json it prints a line each
    time, in a pipe too.
    """
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    if watch is not None:
        if not as_json and not sys.stdout.isatty():
            raise click.UsageError("--watch needs a terminal; with --json it prints lines anywhere")
        from backroom.cli.watch import keep_looking

        with printing():
            look_up(target, storage, lambda service: keep_looking(service, watch, as_json))
        return
    now = look_up(target, storage, lambda service: service.get_stats())
    with printing():
        if as_json:
            to_json(now)
        else:
            from backroom.cli import show

            show.stats(now)
