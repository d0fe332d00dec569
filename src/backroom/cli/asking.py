"""One question to a service, or to the storage behind a URL, and its end."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backroom.cli.plain import plain
from backroom.cli.target import service_of
from backroom.errors import BackroomError
from backroom.service import JobService

if TYPE_CHECKING:
    from backroom.ports import Store
    from backroom.storage.postgres import DatabaseJobStorage

__all__ = [
    "ask",
    "database_of",
    "directory_of",
    "is_conversation",
    "look_up",
    "once",
    "refuse_missing",
    "said_once",
]

T = TypeVar("T")


def look_up(
    target: str | None, storage: str | None, question: Callable[[JobService], Awaitable[T]]
) -> T:
    """Asks a store that must be there."""
    service = service_of(target, storage)
    refuse_missing(service)
    return ask(service, question)


def ask(service: JobService, question: Callable[[JobService], Awaitable[T]]) -> T:
    """Asks, and lets the storage go."""

    async def asking() -> T:
        try:
            await service.open()  # An application may have used and stopped it.
            return await question(service)
        finally:
            await service.stop(0)

    return once(asking())


def once(question: Coroutine[Any, Any, T]) -> T:
    """Asks what is asked once, and not again where that goes wrong."""
    with said_once():
        return asyncio.run(question)


@contextmanager
def said_once() -> Iterator[None]:
    """What goes wrong in this block is said by who asked. Where nobody has set up a log, which
    would say it at the same place, that does not."""
    log = logging.getLogger("backroom.storage")
    if log.hasHandlers():
        yield
        return
    log.addFilter(_tells_of_no_error)
    try:
        yield
    finally:
        log.removeFilter(_tells_of_no_error)


def _tells_of_no_error(record: logging.LogRecord) -> bool:
    return not any(isinstance(one, BackroomError) for one in record.args or ())


def directory_of(service: JobService) -> Path | None:
    """The folder of a file storage; None for the others."""
    directory = getattr(service.storage, "directory", None)
    return directory if isinstance(directory, Path) else None


def database_of(store: Store) -> DatabaseJobStorage | None:
    """A storage in PostgreSQL; None: it is another one."""
    if not store.url.startswith(("postgresql://", "postgres://")):
        return None  # Nobody waits for a driver that is not needed.
    from backroom.storage import DatabaseJobStorage

    return store if isinstance(store, DatabaseJobStorage) else None


def refuse_missing(service: JobService) -> None:
    """A look at a store that is not there would make an empty one of a typing error."""
    database = database_of(service.storage)
    if database is not None:
        database.migrates = False  # It says itself what is not there.
    directory = directory_of(service)
    if directory is None:
        return
    try:
        (directory / "jobs.db").stat()
    except (FileNotFoundError, NotADirectoryError):
        raise click.UsageError(
            plain(f"there is no job store in {directory}; name it with --storage file:PATH")
        ) from None
    except OSError as error:  # The folder of another user, above all.
        raise click.ClickException(
            plain(f"cannot look for a job store in {directory}: {error.strerror}")
        ) from None


def is_conversation() -> bool:
    """Whether there is somebody who can read a question and answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()
