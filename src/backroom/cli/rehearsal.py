"""`backroom worker --dry-run`: everything that a start would need, and nothing started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backroom.cli.asking import ask, database_of, directory_of, once
from backroom.cli.output import printing, say, to_json
from backroom.cli.plain import count_of, plain
from backroom.cli.work import banner
from backroom.errors import BackroomError
from backroom.service import JobService
from backroom.stats import JobStats

if TYPE_CHECKING:
    from backroom.storage.postgres import DatabaseJobStorage

__all__ = ["rehearse"]


def rehearse(service: JobService, target: str, as_json: bool) -> int:
    """Says what would run. Returns the exit code: 0 it would, 1 something is in the way."""
    problems: list[str] = []
    notes: list[str] = []
    if not service.handled_types:
        problems.append("there is no handler: every job would be parked; register one")
    directory, database = directory_of(service), database_of(service.storage)
    if directory is not None and not (directory / "jobs.db").exists():
        if _can_be_made(directory):
            notes.append(f"the store {directory} is not there yet; the first start makes it")
        else:
            problems.append(f"the folder {directory} cannot be made by this user")
    else:
        try:
            missing = database is not None and _would_migrate(database)
            if missing:
                notes.append("tables are missing or older; the first start makes them")
            else:
                notes += _waiting(service, ask(service, lambda service: service.get_stats()))
        except BackroomError as error:
            problems.append(str(error))
    with printing():
        if as_json:
            to_json(
                {
                    "service": target,
                    "storage": service.storage.url,
                    "concurrency": service.concurrency,
                    "queues": service.queues_text,
                    "types": service.handled_types,
                    "notes": notes,
                    "problems": problems,
                }
            )
        else:
            for line in banner(service, target, False)[:-1]:
                say(plain(line))
            for note in notes:
                say(plain(f"  note         {note}"))
            if not problems:
                say("nothing was started: all is well")
    for problem in problems:
        click.echo(plain(f"Error: {problem}"), err=True)
    return 1 if problems else 0


def _would_migrate(database: DatabaseJobStorage) -> bool:
    """Where it would not, the opening says what is missing."""
    return database.migrates and bool(once(database.examine()).missing)


def _can_be_made(directory: Path) -> bool:
    nearest = directory.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _waiting(service: JobService, stats: JobStats) -> list[str]:
    """What a start would find there."""
    due = stats.by_status["pending"]
    notes = [f"{count_of(due, 'job')} due; workers that run: {len(stats.workers)}"]
    notes += [f"queue {queue.name} is paused" for queue in stats.queues if queue.paused]
    for kind in stats.parked:
        here = service.handled_versions.get(kind.type, 0) >= kind.version
        known = "it would run them" if here else "it would park them too"
        notes.append(f"{count_of(kind.jobs, 'job')} of type {kind.name} parked by workers; {known}")
    return notes
