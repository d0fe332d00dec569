"""What stands still while a process forks: in the child, locks that other threads held would
never be free."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Generic, Protocol, TypeVar

__all__ = ["Forkable", "StillAtFork"]


class Forkable(Protocol):
    """Of use in one process only; another one may be made in a child."""

    def hold_still(self) -> None:
        """Before a fork: nothing is under way in it until `go_on`, or `leave_to_parent`."""
        ...

    def go_on(self) -> None:
        """In the parent."""
        ...

    def leave_to_parent(self) -> None:
        """In the child, where it is the parent's."""
        ...


T = TypeVar("T", bound=Forkable)


class StillAtFork(Generic[T]):
    """All of a kind. What was made later stands still first: it may wait for the former."""

    def __init__(self) -> None:
        self._all: weakref.WeakSet[T] = weakref.WeakSet()
        self._forking = threading.Lock()
        self._held: list[T] = []
        os.register_at_fork(
            before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
        )

    def add(self, one: T) -> None:
        self._all.add(one)

    def _before(self) -> None:
        self._forking.acquire()
        for one in list(self._all):
            one.hold_still()
            self._held.append(one)

    def _in_parent(self) -> None:
        while self._held:
            self._held.pop().go_on()
        self._forking.release()

    def _in_child(self) -> None:
        while self._held:
            self._held.pop().leave_to_parent()
        self._forking.release()
