"""What callers ask of the writer: changes, on their way through a group commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from backroom.errors import BackroomError, StorageError
from backroom.job import JobRecord
from backroom.storage.sqlite import inserts, outcomes
from backroom.storage.sqlite.ledger import Ledger
from backroom.transition import Transition

__all__ = ["Change", "Finishes", "Inserts", "Other", "Spoiled", "apply_all"]


class Spoiled(Exception):
    """A change was refused after it had written: what it wrote must go, and with it the
    transaction it was in."""

    def __init__(self, refusal: BackroomError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Change:
    """One caller's change, on its way through a group commit."""

    __slots__ = ("error", "future", "loop", "result")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None

    def apply(self, ledger: Ledger) -> Any:
        """Carries the change out, within a transaction."""
        raise NotImplementedError

    def settle(self) -> None:
        """On the caller's loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Other(Change):
    """Any change; not joined with others."""

    __slots__ = ("change",)

    def __init__(self, change: Callable[[Ledger], Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.change = change

    def apply(self, ledger: Ledger) -> Any:
        return self.change(ledger)


class Inserts(Change):
    """Jobs of one `insert` call; a group commit inserts all such calls in one statement."""

    __slots__ = ("jobs", "now", "start", "worker")

    def __init__(
        self,
        jobs: Sequence[JobRecord],
        now: int,
        worker: int | None,
        start: bool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        # Not by super(): this is made once a job.
        self.jobs = jobs
        self.now = now
        self.worker = worker
        self.start = start
        self.loop = loop
        self.future = loop.create_future()
        self.error = None

    def apply(self, ledger: Ledger) -> Any:
        return inserts.insert(ledger, [self])[0]


class Finishes(Change):
    """Transitions of one `finish` call; joined like `Inserts`."""

    __slots__ = ("cleared", "now", "transitions", "worker")

    def __init__(
        self,
        worker: int,
        transitions: Sequence[Transition],
        now: int,
        loop: asyncio.AbstractEventLoop,
        cleared: Callable[[Finishes], None],
    ) -> None:
        """`cleared` is called on the caller's loop once the outcomes are durable, before
        anything that the same commit or a later one answers."""
        super().__init__(loop)
        self.cleared = cleared
        self.worker = worker
        self.transitions = transitions
        self.now = now

    def apply(self, ledger: Ledger) -> Any:
        return outcomes.finish(ledger, self.worker, self.transitions, self.now)

    def part(self, transition: Transition) -> Finishes:
        """The same of one of its transitions, or of what stands for it."""
        return Finishes(self.worker, [transition], self.now, self.loop, self.cleared)

    def settle(self) -> None:
        if self.error is None:
            self.cleared(self)
        super().settle()


def apply_all(ledger: Ledger, changes: Sequence[Change]) -> None:
    """All changes in one transaction: outcomes first, joined; then the rest in order; inserts
    last, in one statement: what a claim leaves nothing in front of may pass straight to a
    worker. A refusal (`BackroomError`) of what has not written is an answer to its caller and
    ends nothing.

    Raises: `Spoiled`; what SQLite says; never `OSError`.
    """
    added: list[Inserts] = []
    finishes: dict[int, list[Finishes]] = {}
    others: list[Change] = []
    for change in changes:
        if type(change) is Inserts:
            added.append(change)
        elif type(change) is Finishes:
            finishes.setdefault(change.worker, []).append(change)
        else:
            others.append(change)
    for worker, group in finishes.items():
        _finish(ledger, worker, group)
    for change in others:
        _answer(ledger, change)
    if added:
        for insert, answer in zip(added, inserts.insert(ledger, added), strict=True):
            insert.result = answer


def _answer(ledger: Ledger, change: Change) -> None:
    written = ledger.connection.total_changes()
    change.error = None  # It may be here for the second time, alone.
    try:
        change.result = change.apply(ledger)
        return
    except BackroomError as error:
        refusal = error
    except OSError as error:  # Of the files that it keeps beside the database.
        refusal = StorageError(f"the files of a worker failed: {error}; nothing was changed")
        refusal.__cause__ = error
    if ledger.connection.total_changes() != written:
        raise Spoiled(refusal)
    change.error = refusal


def _finish(ledger: Ledger, worker: int, group: list[Finishes]) -> None:
    if len(group) == 1:
        group[0].result = group[0].apply(ledger)
        return
    stands = outcomes.finish(
        ledger, worker, [t for one in group for t in one.transitions], group[0].now
    )
    at = 0
    for one in group:
        one.result = stands[at : at + len(one.transitions)]
        at += len(one.transitions)
