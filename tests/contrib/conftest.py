"""Real servers for the examples, and what their clients see."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.process.fixtures import family
from tests.process.parts import Child, Family, eventually

__all__ = ["family"]


class Site(NamedTuple):
    """A server in a process of its own, on a free port of this machine."""

    process: Child
    http: httpx.Client

    def ends_cleanly(self, family: Family) -> None:
        """At Ctrl-C, without a word about an error, and nothing of it is left."""
        self.process.signal(signal.SIGINT)
        code = self.process.ends()
        assert code in (0, 130, -signal.SIGINT), self.process.text
        for trouble in ("Traceback", "Warning", "ERROR"):
            assert trouble not in self.process.text, self.process.text
        assert not of_this_test(family)


def of_this_test(family: Family) -> list[str]:
    """Processes that were started by a test, and by what that started."""
    mark = f"PROCESS_TEST_FOLDER={family.folder}\0".encode()
    left = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if place.name != str(os.getpid()) and mark in (place / "environ").read_bytes():
                left.append((place / "cmdline").read_text())
        except OSError:
            continue
    return [command for command in left if command]


@pytest.fixture
def site(family: Family) -> Iterator[Callable[..., Site]]:
    """Starts a server: `site("-m", "uvicorn", ...)`."""
    clients: list[httpx.Client] = []

    def start(*command: str) -> Site:
        env = {"JOBS": f"file:{family.jobs}", "PORT": "0", "PYTHONWARNINGS": "default"}
        process = family.start(*command, env=env)
        running = re.compile(r"[Rr]unning on (http://127\.0\.0\.1:\d+)")
        found = eventually(
            lambda: running.search(process.text) or process.code is not None,
            "the server says where it runs",
            30,
        )
        assert isinstance(found, re.Match), process.text
        # Not through a proxy that this machine may have.
        client = httpx.Client(base_url=found[1], timeout=10, trust_env=False)
        clients.append(client)
        return Site(process, client)

    yield start
    for client in clients:
        client.close()
