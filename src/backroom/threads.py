"""Threads for `def` handlers: as many as run at once, and none that keeps a process alive.

The pool of the standard library joins its threads when the interpreter ends, so one handler
that hangs would hang the worker's end; these are daemons.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Threads"]


class Threads:
    """Starts a thread when none is idle; keeps it for the next call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = 0
        self._started = 0
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], None]) -> None:
        """Runs `call`, which must not raise, in a thread of its own."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                self._started += 1
                threading.Thread(
                    target=self._serve, name=f"{self._name}-{self._started}", daemon=True
                ).start()
        self._calls.put(call)

    def _serve(self) -> None:
        while True:
            call = self._calls.get()
            if call is None:
                return
            call()
            del call
            with self._lock:
                self._idle += 1

    def close(self) -> None:
        """Lets the idle threads end; one that runs a call ends after it. Safe to call twice."""
        with self._lock:
            idle, self._idle = self._started, 0
            self._started = 0
        for _ in range(idle):
            self._calls.put(None)
