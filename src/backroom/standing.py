"""The part of a service that tells how it stands: what it works on, and what it does right now."""

from __future__ import annotations

import asyncio
import os

from backroom.describing import Masks, TypeInfo, type_info
from backroom.ports import Store
from backroom.registry import Registry
from backroom.settings import (
    Settings,
)
from backroom.worker import Worker

__all__ = ["Standing"]


class Standing:
    """All of it is of this process; but a question to the storage is one that `_ready` opens."""

    storage: Store
    _settings: Settings
    _registry: Registry
    _opened: bool
    _process: int
    _loop: asyncio.AbstractEventLoop | None
    _worker: Worker | None
    _leaving: Worker | None

    async def _ready(self) -> None:
        raise NotImplementedError

    @property
    def concurrency(self) -> int:
        """Jobs at once, beside the queues that have slots of their own."""
        return self._settings.concurrency

    @property
    def queues_text(self) -> str:
        """The queues this service works on, for people."""
        only, own = self._settings.only, self._settings.queues
        parts = [f"{queue} ({slots} slots)" for queue, slots in own.items()
                 if only is None or queue in only]  # fmt: skip
        parts += ["all others"] if only is None and own else []
        parts += [queue for queue in only or () if queue not in own]
        return ", ".join(parts) or "all"

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that it is open on; None while it is closed."""
        return self._loop if self._opened else None

    @property
    def inherited(self) -> bool:
        """Whether the process that this one was forked from opened it: then it is of no use
        here."""
        return self._opened and self._process != os.getpid()

    @property
    def started(self) -> bool:
        """Whether jobs are being processed here."""
        return self._worker is not None

    @property
    def holds_lease(self) -> bool:
        """Whether jobs are being processed here, also while it stops, and the lease under which
        they are stands."""
        worker = self._worker or self._leaving
        return worker is not None and worker.holds_lease

    @property
    def slots(self) -> list[tuple[str, int, int]]:
        """Of each group of queues that share slots here: which queues, how many slots, and how
        many of them are taken; empty if no jobs are processed here."""
        return [] if self._worker is None else self._worker.slots

    async def probe(self) -> None:
        """Asks the storage the least question that there is.

        Raises:
            StorageError: it does not answer. ServiceStoppedError: this service was stopped.
        """
        await self._ready()
        await self.storage.queues()

    @property
    def idle(self) -> bool:
        """Nothing runs here, and the last look found nothing due."""
        return self._worker is None or self._worker.idle

    @property
    def attempts_ended(self) -> int:
        """Attempts whose code has ended here since `start`."""
        return 0 if self._worker is None else self._worker.ended

    @property
    def known_types(self) -> list[TypeInfo]:
        """The job types that were declared here, by name."""
        return [type_info(known) for known in self._registry.known]

    def masks(self, type: str) -> Masks | None:
        """What nobody is shown of the jobs of a type; None: it is not known here."""
        known = next((one for one in self._registry.known if one.name == type), None)
        return None if known is None else Masks.of(known)

    @property
    def handled_types(self) -> list[str]:
        """The job types that have a handler here."""
        return list(self._registry.handled)

    @property
    def handled_versions(self) -> dict[str, int]:
        """By job type that has a handler here: the version of data that it takes."""
        return self._registry.handled
