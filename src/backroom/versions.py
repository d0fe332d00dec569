"""Versions of data: how data that was kept by older code becomes the data of the newer one.

A job says which version its data has (`options`: nothing for the first). A worker whose code is
newer leads old data up, one version a step, where its handler runs. The job keeps the data that
it was scheduled with: the next attempt leads it up anew, and an older worker can still run it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from backroom.codec import Codec, encode_json
from backroom.errors import ConfigurationError, FailJob, RetryJob, UpgradeError
from backroom.job import FIRST

__all__ = [
    "LATEST",
    "Upgrade",
    "WayUp",
    "check_upgrade",
    "check_version",
    "mark_of",
    "version_of",
]

T = TypeVar("T")

LATEST: Final = 1000

Upgrade: TypeAlias = Callable[[Any], Any]
"""Data of one version to data of the next."""


class _Said(msgspec.Struct):
    """The one word of a job's options that is read here."""

    version: int = FIRST


_said: Final = msgspec.json.Decoder(_Said)


def version_of(options: str | None) -> int:
    """The version of a job's data, by the options that it is kept with."""
    return FIRST if options is None else _said.decode(options).version


def mark_of(version: int) -> str | None:
    """The options of a job of which nothing else is said."""
    return None if version == FIRST else f'{{"version":{version}}}'


def check_version(name: str, version: object) -> int:
    """Raises: ConfigurationError: it is no whole number from 1 on."""
    if isinstance(version, bool) or not isinstance(version, int) or not FIRST <= version <= LATEST:
        raise ConfigurationError(
            f"{name}: version must be a whole number from {FIRST} to {LATEST:,}, got {version!r}"
        )
    return version


def check_upgrade(name: str, version: int, upgrade: object) -> dict[int, Upgrade]:
    """The functions that lead data of every older version up to this one, by version.

    Raises:
        ConfigurationError: an older version has no function, another one has; or a function does
            not take the data alone and return what it becomes.
    """
    if upgrade is None:
        upgrade = {}
    if not isinstance(upgrade, Mapping):
        raise ConfigurationError(
            f"{name}: upgrade must say by version which function leads its data up, such as"
            f" {{1: from_v1}}, got {upgrade!r}"
        )
    for old, function in upgrade.items():
        if isinstance(old, bool) or not isinstance(old, int) or not FIRST <= old < version:
            older = f"versions {FIRST} to {version - 1} are" if version > 2 else "version 1 is"
            raise ConfigurationError(
                f"{name}: upgrade has a function for version {old!r}, but the data is of version"
                f" {version}: {older if version > FIRST else 'nothing is'} older"
            )
        _check_function(f"{name}: the upgrade from version {old}", function)
    for old in range(FIRST, version):
        if old not in upgrade:
            raise ConfigurationError(
                f"{name}: data of version {old} has no way up to version {version}: give"
                f" upgrade={{{old}: function}}, which makes data of version {old + 1} of it"
            )
    return dict(sorted(upgrade.items()))


def _check_function(which: str, function: object) -> None:
    if not callable(function):
        raise ConfigurationError(f"{which} must be a function, got {function!r}")
    for kind in (
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    ):
        if kind(function):
            raise ConfigurationError(
                f"{which} must be a plain function that returns the data: {function!r} is not"
            )
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise ConfigurationError(
            f"{which} must take the data as its one argument: {function!r}: {error}"
        ) from None
    except ValueError:  # Some of C have none; calling them will tell.
        pass


class WayUp:
    """The steps of one job type, each with the type that it takes."""

    def __init__(self, name: str, steps: Mapping[int, Upgrade]) -> None:
        """Raises: ConfigurationError: the annotation of a function is none that can be read."""
        self._name = name
        self.steps = dict(steps)
        self._takes = {
            old: Codec[Any](name, f"data of version {old}", _taken(name, old, function))
            for old, function in steps.items()
        }

    def lead(self, text: str, version: int, top: Codec[T]) -> T:
        """Data of an older version, as it is kept, as the type of the newest.

        Between two steps it is what it would be if it had been kept so: what a function gets
        does not depend on where the job began.

        Raises:
            UpgradeError: a function raised, or what it took or gave does not fit.
            FailJob, RetryJob: a function said so.
        """
        for old in range(version, FIRST + len(self.steps)):
            try:
                given = self.steps[old](self._takes[old].decode(text))
                text = encode_json(self._name, f"data of version {old + 1}", given)
            except (FailJob, RetryJob):
                raise
            except Exception as error:
                raise self._failed(old, error) from error
        try:
            return top.decode(text)
        except Exception as error:
            raise self._failed(FIRST + len(self.steps) - 1, error) from error

    def _failed(self, old: int, error: Exception) -> UpgradeError:
        try:
            why = f"{type(error).__name__}: {error}"
        except Exception as unprintable:
            why = f"{type(error).__name__} (its own text failed: {type(unprintable).__name__})"
        return UpgradeError(
            f"{self._name}: the upgrade of its data from version {old} to {old + 1} failed: {why}"
        )


def _taken(name: str, old: int, function: Upgrade) -> Any:
    """The type of what a function takes, as it is annotated; plain JSON values where it is not."""
    try:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    except ValueError:
        return Any
    except Exception as error:
        raise ConfigurationError(
            f"{name}: the annotations of the upgrade from version {old} cannot be read:"
            f" {type(error).__name__}: {error}"
        ) from None
    annotation = parameters[0].annotation
    return Any if annotation is inspect.Parameter.empty else annotation
