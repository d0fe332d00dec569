"""What a shell offers after Tab: names that the store knows, where asking it is cheap."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

__all__ = ["complete_queues", "complete_types"]

QUEUES: Final = "SELECT name FROM queue ORDER BY name LIMIT 1000"
TYPES: Final = "SELECT DISTINCT type FROM (SELECT type FROM job ORDER BY key DESC LIMIT 2000)"


def complete_queues(context: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Queues that ever held a job."""
    return [name for name in _names(context, QUEUES) if name.startswith(incomplete)]


def complete_types(context: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Types of the newest jobs."""
    return [name for name in _names(context, TYPES) if name.startswith(incomplete)]


def _names(context: click.Context, question: str) -> list[str]:
    """Only a file storage that is named by its URL is asked: an application is not imported
    while somebody types."""
    try:
        database = _database(context)
        if database is None or not database.is_file():
            return []
        import apsw

        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            names = [str(name) for (name,) in connection.execute(question)]
        finally:
            connection.close()
    except Exception:  # A shell that completes has no place for what went wrong.
        return []
    return sorted(name for name in names if name.isprintable())


def _database(context: click.Context) -> Path | None:
    storage = context.params.get("storage")
    if storage is None:
        from backroom.cli.config import read_config

        root = context.find_root()
        assert isinstance(root.command, click.Group)
        settings = read_config(root.command, root, root.params.get("config"))
        storage = settings["stats"].get("storage") if settings else None
    scheme, _, folder = (storage or "file:./storage/jobs").partition(":")
    return Path(folder.removeprefix("//")) / "jobs.db" if scheme == "file" else None
