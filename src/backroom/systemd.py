"""Telling the service manager how it stands, as `sd_notify` does; without one, nothing is told."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

__all__ = ["Manager"]


class Manager:
    """The service manager that started this process, if it wants to be told."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # A name of the kernel's own, and no file.
            self._address = "\0" + self._address[1:]
        elif not self._address.startswith("/"):
            self._address = ""
        self.watchdog: float | None = None
        """Seconds within which it wants a sign of life, again and again; None: it wants none."""
        microseconds = environ.get("WATCHDOG_USEC", "")
        # It may be meant for another process that handed its environment down.
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if self._address and ours and microseconds.isdecimal() and int(microseconds):
            self.watchdog = int(microseconds) / 1_000_000

    def tell(self, *lines: str) -> bool:
        """Sends lines such as "READY=1". Whether they were sent: who manages nothing, or has gone,
        is no reason to stop working."""
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                sending.setblocking(False)
                sending.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return False
        return True
