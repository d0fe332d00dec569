"""`backroom limits`."""

from __future__ import annotations

import click

from backroom.cli.commands import on_storage

__all__ = ["limits"]


@click.command()
@on_storage
def limits(target: str | None, storage: str | None, as_json: bool) -> None:
    """Every limit that the storage knows: its number, what is taken, how many wait."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    found = look_up(target, storage, lambda service: service.get_limits())
    with printing():
        if as_json:
            to_json(found)
        else:
            from backroom.cli import show

            show.limits(found)
