"""What a handler learns of the jobs that its own one has waited for."""

from __future__ import annotations

from typing import Any, Final, Protocol, TypeVar, overload

import msgspec

from backroom.codec import Codec
from backroom.errors import (
    ConfigurationError,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    OptionError,
)
from backroom.flow import Predecessor
from backroom.flowing import Flowing
from backroom.job import JobId, JobStatus

__all__ = ["Predecessors", "Typed", "none_here"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

PAGE: Final = 1000
"""Jobs that are asked for at once."""


class Typed(Protocol[R_co]):
    """A `JobType`, as far as its results are meant."""

    @property
    def name(self) -> str: ...
    @property
    def result(self) -> type[R_co]: ...


class Predecessors:
    """The jobs that one has waited for: of a callback all jobs of its workflow, of an undo job the
    one that it takes back."""

    def __init__(self, storage: Flowing, owner: str, key: int) -> None:
        self._storage = storage
        self._owner = owner
        self._key = key

    async def all(self, which: object = None) -> list[Predecessor]:
        """In the order in which they were added, whatever became of them."""
        type_ = None if which is None else _name_of(which)
        found: list[Predecessor] = []
        after = None
        while True:
            page = await self._storage.predecessors(self._key, type_, after, PAGE)
            found += page
            if len(page) < PAGE:
                return found
            after = page[-1].id

    @overload
    async def result_of(self, which: Typed[R] | JobId[R]) -> R: ...
    @overload
    async def result_of(self, which: str) -> Any: ...
    async def result_of(self, which: Any) -> Any:
        """See `Job.result_of`."""
        if isinstance(which, JobId):
            found = [one for one in await self.all() if one.id == which]
        else:
            found = await self.all(which)
        if not found:
            raise JobNotFoundError(
                f"{self._owner} has waited for no job {_said(which)}: say it as after= of this one"
            )
        if len(found) > 1:
            raise OptionError(
                f"{self._owner} has waited for {len(found):,} jobs {_said(which)}: ask for all of"
                " them with job.results_of"
            )
        [one] = found
        if one.status is JobStatus.FAILED:
            raise JobFailedError(one.error or f"{one.type} {one.id} failed")
        if one.status is JobStatus.CANCELLED:
            raise JobCancelledError(one.error or f"{one.type} {one.id} was cancelled")
        return _read(one, which)

    @overload
    async def results_of(self, which: Typed[R]) -> list[R]: ...
    @overload
    async def results_of(self, which: str) -> list[Any]: ...
    async def results_of(self, which: Any) -> list[Any]:
        """See `Job.results_of`."""
        return [
            _read(one, which) for one in await self.all(which) if one.status is JobStatus.COMPLETED
        ]


def _read(one: Predecessor, which: object) -> Any:
    text, type_ = one.result or "null", getattr(which, "result", None)
    if type_ is None:
        return msgspec.json.decode(text)
    return Codec(one.type, "result", type_).decode(text)


def _name_of(which: object) -> str:
    name = which if isinstance(which, str) else getattr(which, "name", None)
    if not isinstance(name, str):
        raise OptionError(f"say the jobs by their JobType, or by its name, got {which!r}")
    return str.__str__(name)


def _said(which: object) -> str:
    return f"{which!r}" if isinstance(which, JobId) else f"of type {_name_of(which)}"


def none_here() -> ConfigurationError:
    """Where the storage keeps no workflows."""
    return ConfigurationError("this storage keeps no workflows: no job waits for another one")
