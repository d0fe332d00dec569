"""`backroom audit`."""

from __future__ import annotations

from typing import Any

import click

from backroom.cli.commands import on_storage, option

__all__ = ["audit"]


@click.command()
@option("--actor", help="What this one did, as it is shown.")
@option("--verb", help="What was done: retry, cancel, pause ...")
@option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True,
        help="How many at most.")  # fmt: skip
@option("--cursor", help="Where the last page ended.")
@on_storage
def audit(target: str | None, storage: str | None, as_json: bool, **page: Any) -> None:
    """What people did to jobs, queues and schedules, newest first."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    found = look_up(target, storage, lambda service: service.get_actions(**page))
    with printing():
        if as_json:
            to_json({"actions": list(found), "cursor": found.cursor})
        else:
            from backroom.cli import show

            show.actions(found)
