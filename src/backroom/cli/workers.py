"""`backroom workers`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from backroom.cli.commands import Commands, on_storage
from backroom.cli.plain import plain
from backroom.cli.recording import recorded

if TYPE_CHECKING:
    from backroom.service import JobService

__all__ = ["workers"]


@click.group(cls=Commands)
def workers() -> None:
    """Look at workers, and have one claim nothing more."""


@workers.command("list")
@on_storage
def list_workers(target: str | None, storage: str | None, as_json: bool) -> None:
    """Every worker that has not ended, and what it runs."""
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, to_json

    found = look_up(target, storage, lambda service: service.get_workers())
    with printing():
        if as_json:
            to_json(found)
        else:
            from backroom.cli import show_workers

            show_workers.workers(found)


@workers.command("drain")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1, 2**63 - 1))
@on_storage
def drain(ids: tuple[int, ...], target: str | None, storage: str | None, as_json: bool) -> None:
    """These workers claim nothing more: what they run ends, what has not begun goes back.

    They stay until somebody stops them, or resumes them.
    """
    _switch(ids, target, storage, as_json, on=True)


@workers.command("resume")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1, 2**63 - 1))
@on_storage
def resume(ids: tuple[int, ...], target: str | None, storage: str | None, as_json: bool) -> None:
    """These workers claim jobs again."""
    _switch(ids, target, storage, as_json, on=False)


def _switch(
    ids: tuple[int, ...], target: str | None, storage: str | None, as_json: bool, on: bool
) -> None:
    from backroom.cli.asking import look_up
    from backroom.cli.output import printing, say, to_json

    done = "draining" if on else "resumed"

    async def switch(service: JobService) -> None:
        names = {one.id: one.name for one in await service.get_workers()}
        for worker in ids:
            await recorded(
                service, "drain" if on else "resume", f"worker {names.get(worker, worker)}",
                partial(service.drain_worker, worker, on), {"id": worker},
            )  # fmt: skip

    look_up(target, storage, switch)
    with printing():
        if as_json:
            to_json({str(worker): done for worker in ids})
        else:
            for worker in ids:
                say(plain(f"{worker}  {done}"))
