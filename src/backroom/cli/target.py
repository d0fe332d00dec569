"""Which service or storage a command speaks of."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from backroom import blocking
from backroom.errors import BackroomError
from backroom.service import JobService

__all__ = ["Given", "load_service", "service_of"]


class Given(NamedTuple):
    """In the context of a command: the service of the program whose command line it is."""

    name: str
    service: Callable[[], JobService]


def load_service(target: str) -> JobService:
    """The service that `package.module:attribute` names, which may be a blocking one; the
    current folder is importable.

    Raises:
        click.UsageError: no such module or attribute, or it is no JobService.
    """
    name, colon, attribute = target.partition(":")
    parts = [*name.split("."), *attribute.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise click.UsageError(
            f"{target!r} is not of the form module:attribute, for example app.jobs:service"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            raise click.UsageError(
                f"there is no module {error.name!r} on the path or in {os.getcwd()}"
            ) from None
        raise
    service: Any = module
    for part in attribute.split("."):
        try:
            service = getattr(service, part)
        except AttributeError:
            raise click.UsageError(
                f"{name} has no attribute {attribute!r}{_near(part, service)}"
            ) from None
    if isinstance(service, blocking.JobService):
        service = service.service
    if not isinstance(service, JobService):
        raise click.UsageError(f"{target} is a {type(service).__name__}, not a JobService")
    return service


def _near(name: str, module: object) -> str:
    # Not everything that has attributes keeps them in a `__dict__`.
    inside: dict[str, object] = getattr(module, "__dict__", {})
    kinds = (JobService, blocking.JobService)
    services = [key for key, value in inside.items() if isinstance(value, kinds)]
    close = difflib.get_close_matches(name, services, 1) or services[:1]
    return f"; did you mean {close[0]!r}?" if close else ""


def service_of(target: str | None, storage: str | None) -> JobService:
    """The service to look up in: that of the program whose command line this is, or of an
    application, or one over a storage's URL.

    Raises:
        click.UsageError: both were named, or the name makes no sense.
    """
    given = click.get_current_context().find_object(Given)
    if given is not None:
        return given.service()
    if target is not None and storage is not None:
        raise click.UsageError("name module:attribute or --storage, not both")
    if target is not None:
        return load_service(target)
    try:
        return JobService(storage or "file:./storage/jobs")
    except BackroomError as error:
        raise click.UsageError(str(error)) from None
