"""`backroom queues`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from backroom.cli.commands import Commands, on_storage
from backroom.cli.complete import complete_queues
from backroom.cli.plain import plain

if TYPE_CHECKING:
    from backroom.service import JobService

__all__ = ["queues"]


@click.group(cls=Commands)
def queues() -> None:
    """Look at queues, pause and resume them."""


@queues.command("list")
@on_storage
def list_queues(target: str | None, storage: str | None, as_json: bool) -> None:
    """Every queue that ever held a job, and what waits there."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    now = look_up(target, storage, lambda service: service.get_stats())
    with printing():
        if as_json:
            to_json(now.queues)
        else:
            from backroom.cli import show

            show.queues(now.queues)


@queues.command("pause")
@click.argument("names", metavar="QUEUE...", nargs=-1, required=True,
                shell_complete=complete_queues)  # fmt: skip
@on_storage
def pause(names: tuple[str, ...], target: str | None, storage: str | None, as_json: bool) -> None:
    """No job of these queues is started, by any worker, until they are resumed."""
    _switch(names, target, storage, as_json, paused=True)


@queues.command("resume")
@click.argument("names", metavar="QUEUE...", nargs=-1, required=True,
                shell_complete=complete_queues)  # fmt: skip
@on_storage
def resume(names: tuple[str, ...], target: str | None, storage: str | None, as_json: bool) -> None:
    """Ends a pause."""
    _switch(names, target, storage, as_json, paused=False)


def _switch(
    names: tuple[str, ...], target: str | None, storage: str | None, as_json: bool, paused: bool
) -> None:
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, say, to_json

    done = "paused" if paused else "resumed"

    async def switch(service: JobService) -> list[str]:
        known = [queue.name for queue in (await service.get_stats()).queues]
        for name in names:
            await (service.pause_queue(name) if paused else service.resume_queue(name))
        return known

    known = look_up(target, storage, switch)
    for name in names:
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, 1)
            near = f"; did you mean {close[0]!r}?" if close else ""
            click.echo(plain(f"note: no job has been in queue {name!r} yet{near}"), err=True)
    with printing():
        if as_json:
            to_json(dict.fromkeys(names, done))
        else:
            for name in names:
                say(plain(f"{name}  {done}"))
