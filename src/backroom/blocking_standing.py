"""How a service stands, for code without asyncio: a part of `backroom.blocking`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from backroom.describing import Masks, TypeInfo
from backroom.ports import Store
from backroom.service import JobService

__all__ = ["BlockingStanding"]

T = TypeVar("T")


class BlockingStanding:
    """All of it is passed through; but a question to the storage is handed over."""

    _service: JobService

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError

    @property
    def storage(self) -> Store:
        """Where the jobs are."""
        return self._service.storage

    @property
    def concurrency(self) -> int:
        """Jobs at once, beside the queues that have slots of their own."""
        return self._service.concurrency

    @property
    def queues_text(self) -> str:
        """The queues this service works on, for people."""
        return self._service.queues_text

    @property
    def inherited(self) -> bool:
        """Whether the process that this one was forked from opened it: then it is of no use
        here."""
        return self._service.inherited

    @property
    def started(self) -> bool:
        """Whether jobs are being processed here."""
        return self._service.started

    @property
    def idle(self) -> bool:
        """Nothing runs here, and the last look found nothing due."""
        return self._service.idle

    @property
    def attempts_ended(self) -> int:
        """Attempts whose code has ended here since `start`."""
        return self._service.attempts_ended

    @property
    def handled_types(self) -> list[str]:
        """The job types that have a handler here."""
        return self._service.handled_types

    @property
    def handled_versions(self) -> dict[str, int]:
        """By job type that has a handler here: the version of data that it takes."""
        return self._service.handled_versions

    @property
    def holds_lease(self) -> bool:
        """Whether jobs are being processed here, also while it stops, and the lease under which
        they are stands."""
        return self._service.holds_lease

    @property
    def slots(self) -> list[tuple[str, int, int]]:
        """Of each group of queues that share slots here: which queues, how many slots, and how
        many of them are taken; empty if no jobs are processed here."""
        return self._service.slots

    @property
    def known_types(self) -> list[TypeInfo]:
        """The job types that were declared here, by name."""
        return self._service.known_types

    def masks(self, type: str) -> Masks | None:
        """What nobody is shown of the jobs of a type; None: it is not known here."""
        return self._service.masks(type)

    def probe(self) -> None:
        """Asks the storage the least question that there is."""
        self._call(self._service.probe())
