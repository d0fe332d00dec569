"""`backroom queues`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from backroom.cli.commands import Commands, on_storage
from backroom.cli.complete import complete_queues
from backroom.cli.plain import plain
from backroom.cli.recording import recorded

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


@queues.command("limit")
@click.argument("name", metavar="QUEUE", shell_complete=complete_queues)
@click.argument("most", metavar="NUMBER|none")
@on_storage
def limit(name: str, most: str, target: str | None, storage: str | None, as_json: bool) -> None:
    """At most so many jobs of a queue run at once, whatever code says; none: as code says."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, say, to_json

    if most != "none" and not most.isdecimal():
        raise click.UsageError(f"NUMBER is 1 to 10000, or none, got {most!r}")
    number = None if most == "none" else int(most)

    async def change(service: JobService) -> None:
        await recorded(
            service, "limit", f"queue {name}", partial(service.limit_queue, name, number),
            {"most": number},
        )  # fmt: skip

    look_up(target, storage, change)
    with printing():
        if as_json:
            to_json({name: number})
        else:
            say(plain(f"{name}  {'as code says' if number is None else f'at most {number:,}'}"))


def _switch(
    names: tuple[str, ...], target: str | None, storage: str | None, as_json: bool, paused: bool
) -> None:
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, say, to_json

    done = "paused" if paused else "resumed"

    async def switch(service: JobService) -> list[str]:
        known = [queue.name for queue in (await service.get_stats()).queues]
        for name in names:
            change = service.pause_queue if paused else service.resume_queue
            await recorded(
                service, "pause" if paused else "resume", f"queue {name}", partial(change, name)
            )
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
