"""What the log says of a server that does not do its part: once that it is so, once that it is
over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from backroom.errors import BackroomError

__all__ = ["Outage"]

log = logging.getLogger("backroom.storage")

CALM: Final = 6.0
"""Seconds without a mishap after which one is over: who depends on the server asks it more often
than that, and of what it is asked, some may go well all the while."""


class Outage:
    """Of one server, as one process sees it. Callable from any thread."""

    def __init__(self, name: str, uptime: Callable[[], float] = time.monotonic) -> None:
        """`name`: of the server, for people."""
        self._name = name
        self._uptime = uptime
        self._lock = threading.Lock()
        self._kinds: set[type[BackroomError]] = set()
        self._began = 0.0
        self._last = 0.0
        self.on = False
        """Something went wrong, and it is not over."""

    def note(self, error: BackroomError) -> None:
        """Something went wrong. Of one kind, it is logged when it is the first: who hears of
        the error need not log it again."""
        error.logged = True
        with self._lock:
            self._last = self._uptime()
            if not self.on:
                self.on, self._began = True, self._last
            if type(error) in self._kinds:
                log.debug("%s", error)
                return
            self._kinds.add(type(error))
        log.warning("%s (it is asked again, and this is said once)", error)

    def past(self) -> None:
        """Something went well."""
        with self._lock:
            if not self.on or self._uptime() - self._last < CALM:
                return
            self.on = False
            self._kinds.clear()
            lasted = self._last - self._began
        log.warning("%s does its part again; it did not for %.1f s", self._name, lasted)
