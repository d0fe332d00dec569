"""Hosts of a network of their own, on this machine: namespaces, of which nothing is left when the
process that has them ends, however it does."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Self

__all__ = ["Host", "Network", "no_hosts_here"]

NEW_NETWORK = 0x40000000
ADDRESSES = "10.203.{}.{}"


def no_hosts_here() -> str:
    """Why there can be no such hosts here; empty where there can."""
    if sys.platform != "linux":
        return "only Linux has network namespaces"
    missing = [program for program in ("ip", "unshare") if shutil.which(program) is None]
    if missing:
        return f"not on the PATH: {', '.join(missing)}"
    making = ["unshare", "--net", "ip", "link", "add", "one", "type", "veth", "peer", "name", "two"]
    tried = subprocess.run(making, capture_output=True, text=True, check=False)
    return tried.stderr.strip()


class Host:
    """One namespace: it is there as long as a process in it waits for the end of a pipe."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; read _"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        self._keeper.stdout.readline()  # It is there.
        self._keeper.stdout.close()
        self.pid = self._keeper.pid
        self.ip("link", "set", "lo", "up")

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """What this thread opens and starts is there. Its threads and its loop's are not."""
        with open("/proc/thread-self/ns/net") as here, open(f"/proc/{self.pid}/ns/net") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())

    def ip(self, *command: str) -> None:
        """One command of `ip`, there."""
        with self.inside():
            done = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"ip {' '.join(command)}: {done.stderr.strip()}")

    def close(self) -> None:
        """It is gone, with its links, when the last process in it has ended."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait()


class Network:
    """A host in the middle and others, each with a link to it that can be taken down."""

    def __init__(self, others: int) -> None:
        self._stack = contextlib.ExitStack()
        try:
            self.middle = self._host()
            self.others = [self._host() for _ in range(others)]
            for number, other in enumerate(self.others):
                self._link(number, other)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def address(self, number: int) -> str:
        """Of the middle, as this one of the others sees it."""
        return ADDRESSES.format(number, 1)

    def take_down(self, number: int) -> None:
        """Nothing reaches this host, nothing leaves it, and nobody is told."""
        self.middle.ip("link", "set", f"to{number}", "down")

    def bring_up(self, number: int) -> None:
        self.middle.ip("link", "set", f"to{number}", "up")

    def _host(self) -> Host:
        host = Host()
        self._stack.callback(host.close)
        return host

    def _link(self, number: int, other: Host) -> None:
        ours, theirs = f"to{number}", "out"
        pair = ("type", "veth", "peer", "name", theirs, "netns", str(other.pid))
        self.middle.ip("link", "add", ours, *pair)
        for host, name, last in ((self.middle, ours, 1), (other, theirs, 2)):
            host.ip("address", "add", f"{ADDRESSES.format(number, last)}/24", "dev", name)
            host.ip("link", "set", name, "up")


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, NEW_NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, f"the namespace cannot be entered: {os.strerror(number)}")
