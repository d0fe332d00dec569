"""What callers ask of the writer: changes, on their way through a group commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from backroom.errors import BackroomError, StorageError
from backroom.job import JobRecord
from backroom.step import StepRecord
from backroom.storage.sqlite import inserts, outcomes, steps
from backroom.storage.sqlite.ledger import Ledger
from backroom.transition import Transition

__all__ = ["Change", "Finishes", "GivesBack", "Inserts", "Keeps", "Other", "Spoiled", "apply_all"]


class Spoiled(Exception):
    """A change was refused after it had written: what it wrote must go, and with it the
    transaction it was in."""

    def __init__(self, refusal: BackroomError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Change(msgspec.Struct, kw_only=True, eq=False):
    """One caller's change, on its way through a group commit. A struct, since there is one for
    every job; but one that the garbage collector sees: a refusal knows the frame that raised it,
    that frame the change, and the change the future that holds the refusal."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    """Of this loop."""
    result: Any = None
    error: BaseException | None = None

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


class Other(Change, eq=False):
    """Any change; not joined with others."""

    change: Callable[[Ledger], Any]

    def apply(self, ledger: Ledger) -> Any:
        return self.change(ledger)


class GivesBack(Other, eq=False):
    """Carried out behind the inserts that came before it: one that nobody waits for any more may
    claim a job for the worker that gives back what it does not know of."""


class Inserts(Change, kw_only=True, eq=False):
    """Jobs of one `insert` call; a group commit inserts all such calls in one statement."""

    jobs: Sequence[JobRecord]
    now: int
    worker: int | None
    start: bool

    def apply(self, ledger: Ledger) -> Any:
        return inserts.insert_one(ledger, self)


class Finishes(Change, kw_only=True, eq=False):
    """Transitions of one `finish` call; joined like `Inserts`."""

    worker: int
    transitions: Sequence[Transition]
    now: int
    cleared: Callable[[Finishes], None]
    """Called on the caller's loop once the outcomes are durable, before anything that the same
    commit or a later one answers."""

    def apply(self, ledger: Ledger) -> Any:
        return outcomes.finish(ledger, self.worker, self.transitions, self.now)

    def part(self, transition: Transition) -> Finishes:
        """The same of one of its transitions, or of what stands for it."""
        return Finishes(
            loop=self.loop, future=self.loop.create_future(), worker=self.worker,
            transitions=[transition], now=self.now, cleared=self.cleared,
        )  # fmt: skip

    def settle(self) -> None:
        if self.error is None:
            self.cleared(self)
        Change.settle(self)


class Keeps(Change, kw_only=True, eq=False):
    """A step of a job that runs; a group commit keeps all of them in one statement. The result is
    whether the claim stands."""

    key: int
    token: int
    step: StepRecord

    def apply(self, ledger: Ledger) -> Any:
        return steps.keep(ledger, [(self.key, self.token, self.step)])[0]


def apply_all(ledger: Ledger, changes: Sequence[Change]) -> None:
    """All changes in one transaction: outcomes first, joined, and steps; then the rest in order;
    inserts last, in one statement: what a claim leaves nothing in front of may pass straight to a
    worker. A refusal (`BackroomError`) of what has not written is an answer to its caller and
    ends nothing.

    Raises: `Spoiled`; what SQLite says; never `OSError`.
    """
    added: list[Inserts] = []
    finishes: dict[int, list[Finishes]] = {}
    keeps: list[Keeps] = []
    others: list[Change | list[Inserts]] = []
    for change in changes:
        if type(change) is Inserts:
            added.append(change)
        elif type(change) is Finishes:
            finishes.setdefault(change.worker, []).append(change)
        elif type(change) is Keeps:
            keeps.append(change)
        else:
            if type(change) is GivesBack and added:
                others.append(added)
                added = []
            others.append(change)
    for worker, group in finishes.items():
        _finish(ledger, worker, group)
    if keeps:
        stand = steps.keep(ledger, [(one.key, one.token, one.step) for one in keeps])
        for keep, stands in zip(keeps, stand, strict=True):
            keep.result, keep.error = stands, None
    for other in others:
        if isinstance(other, list):
            _insert(ledger, other)
        else:
            _answer(ledger, other)
    if added:
        _insert(ledger, added)


def _insert(ledger: Ledger, group: list[Inserts]) -> None:
    for insert, answer in zip(group, inserts.insert(ledger, group), strict=True):
        insert.result = insert.error = None
        if isinstance(answer, BackroomError):
            insert.error = answer
        else:
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
        refusal = StorageError(
            f"the files of a worker failed: {error}; nothing was changed", unchanged=True
        )
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
