"""`backroom backup` and `backroom restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backroom.cli.bar import bar
from backroom.cli.commands import Command, on_storage, option
from backroom.cli.plain import count_of, plain

if TYPE_CHECKING:
    from backroom.service import JobService
    from backroom.storage.backup import Copy

__all__ = ["backup", "restore"]

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=Command, short_help="Copy a file storage to a file while it is in use.")
@click.argument("file", type=FILE)
@option("--force", is_flag=True, help="Replace FILE if it is there.")
@on_storage
def backup(file: Path, force: bool, target: str | None, storage: str | None, as_json: bool) -> None:
    """Copy a file storage to FILE while it is in use: all of one moment, checked.

    Who writes to the store meanwhile is not held up. Never copy its folder by hand while it is
    in use.
    """
    from backroom.cli.asking import refuse_missing
    from backroom.cli.target import service_of
    from backroom.storage.backup import back_up

    service = service_of(target, storage)
    directory = _directory(service)
    refuse_missing(service)
    with bar("copying") as progress:
        copy = back_up(directory, file, replace=force, progress=progress)
    _report(copy, as_json, f"{count_of(copy.jobs, 'job')} in {copy.file}, checked")


@click.command(cls=Command, short_help="Make a file storage from a backup.")
@click.argument("file", type=FILE)
@option("--force", is_flag=True, help="Put a store that is there aside.")
@on_storage
def restore(
    file: Path, force: bool, target: str | None, storage: str | None, as_json: bool
) -> None:
    """Make a file storage from FILE, a backup.

    Refused while a worker runs there, and where a store is, unless --force: then that is put
    aside beside the new one. All jobs are as they were at the backup. Those that were active
    come back as orphans as soon as a worker runs: what may have begun is charged an attempt.
    What ran or was scheduled after the backup is forgotten, so jobs may run again.
    """
    from backroom.cli.target import service_of
    from backroom.storage.backup import restore

    directory = _directory(service_of(target, storage))
    with bar("restoring") as progress:
        copy = restore(file, directory, replace=force, progress=progress)
    said = f"{count_of(copy.jobs, 'job')} restored to {copy.file}"
    if copy.active:
        said += (
            f"\nof them active: {copy.active:,}; they come back as orphans when a worker"
            " starts, and what may have begun is charged an attempt"
        )
    if copy.aside is not None:
        said += f"\nthe store that was there: {copy.aside}"
    _report(copy, as_json, said)


def _directory(service: JobService) -> Path:
    from backroom.cli.asking import directory_of

    directory = directory_of(service)
    if directory is None:
        raise click.UsageError(
            plain(f"only a file storage has backups of this kind, not {service.storage.url}")
        )
    return directory


def _report(copy: Copy, as_json: bool, said: str) -> None:
    from backroom.cli.output import printing, say, to_json

    with printing():
        if as_json:
            to_json(copy)
        else:
            say("\n".join(plain(line) for line in said.splitlines()))
