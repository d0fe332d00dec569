"""Which service or storage a command speaks of."""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import click
from click.core import ParameterSource

from backroom.cli.plain import plain
from backroom.errors import BackroomError
from backroom.service import JobService

__all__ = ["Given", "chosen", "given_service", "load_service", "service_of"]

SOURCES: Final = (
    ParameterSource.COMMANDLINE,
    ParameterSource.ENVIRONMENT,
    ParameterSource.DEFAULT_MAP,
)
"""From the one that wins to the one that gives way."""


class Given(NamedTuple):
    """In the context of a command: the service of the program whose command line it is."""

    name: str
    service: Callable[[], JobService]


def given_service() -> Given | None:
    """That of the command that runs, if it stands on another program's command line."""
    context = click.get_current_context(silent=True)
    return None if context is None else context.find_object(Given)


def load_service(target: str) -> JobService:
    """The service that `package.module:attribute` names, which may be a blocking one; the
    current folder is importable.

    Raises:
        click.UsageError: no such module or attribute, or it is no JobService.
        click.ClickException: the module fails while it is imported.
    """
    name, colon, attribute = target.partition(":")
    parts = [*name.split("."), *attribute.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise click.UsageError(
            f"{target!r} is not of the form module:attribute, for example app.jobs:service"
        )
    service: Any = _module(name)
    for part in attribute.split("."):
        try:
            service = getattr(service, part)
        except AttributeError:
            raise click.UsageError(
                f"{name} has no attribute {attribute!r}{_near(part, service)}"
            ) from None
    service = _async_one(service)
    if not isinstance(service, JobService):
        near = _near("", sys.modules[name])
        raise click.UsageError(f"{target} is a {type(service).__name__}, not a JobService{near}")
    return service


def _async_one(service: Any) -> Any:
    """What stands behind a service without asyncio; anything else as it is."""
    blocking = sys.modules.get("backroom.blocking")
    if blocking is not None and isinstance(service, blocking.JobService):
        return service.service
    return service


def _module(name: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise click.UsageError(
                f"there is no module {error.name!r} on the path or in {os.getcwd()}"
                f"{_near_module(error.name)}"
            ) from None
        raise _failed(name, error) from None
    except Exception as error:
        raise _failed(name, error) from None


def _failed(name: str, error: Exception) -> click.ClickException:
    """A mistake of the application: what, and the last place of its own that led there."""
    where = ""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename is not None:
        where = f" ({error.filename}, line {error.lineno})"
        error = type(error)(error.msg)
    else:
        ours = os.path.dirname(os.path.dirname(__file__))
        inside = [
            frame
            for frame in frames
            if not frame.filename.startswith((ours, "<frozen", os.path.dirname(os.__file__)))
        ] or frames
        where = f" ({inside[-1].filename}, line {inside[-1].lineno})"
    said = str(error) if isinstance(error, BackroomError) else f"{type(error).__name__}: {error}"
    return click.ClickException(
        plain(f'{name} cannot be imported: {said}{where}; see python -c "import {name}"')
    )


def _near_module(name: str) -> str:
    """A module beside the one that is not there."""
    parent, _, last = name.rpartition(".")
    path = getattr(sys.modules.get(parent), "__path__", None) if parent else [os.getcwd()]
    beside = [module.name for module in pkgutil.iter_modules(path)] if path else []
    close = difflib.get_close_matches(last, beside, 1)
    return f"; did you mean {f'{parent}.{close[0]}'.lstrip('.')!r}?" if close else ""


def _near(name: str, module: object) -> str:
    # Not everything that has attributes keeps them in a `__dict__`.
    inside: dict[str, object] = getattr(module, "__dict__", {})
    services = [key for key, value in inside.items() if isinstance(_async_one(value), JobService)]
    close = difflib.get_close_matches(name, services, 1) or services[:1]
    return f"; did you mean {close[0]!r}?" if close else ""


def chosen(target: str | None, storage: str | None) -> tuple[str | None, str | None]:
    """Which of the two counts, where both are set: the one that was said nearer to the command;
    said in one place, the application, which knows its storage.

    Raises:
        click.UsageError: both stand on the command line.
    """
    if target is None or storage is None:
        return target, storage
    context = click.get_current_context()
    ranks = [SOURCES.index(context.get_parameter_source(name) or SOURCES[0])
             for name in ("target", "storage")]  # fmt: skip
    if ranks == [0, 0]:
        raise click.UsageError("name module:attribute or --storage, not both")
    return (target, None) if ranks[0] <= ranks[1] else (None, storage)


def service_of(target: str | None, storage: str | None) -> JobService:
    """The service to look up in: that of an application, or one over a storage's URL.

    Raises:
        click.UsageError: both were named, or the name makes no sense.
    """
    given = given_service()
    if given is not None:
        return given.service()
    target, storage = chosen(target, storage)
    if target is not None:
        return load_service(target)
    try:
        return JobService(storage or "file:./storage/jobs")
    except BackroomError as error:
        raise click.UsageError(str(error)) from None
