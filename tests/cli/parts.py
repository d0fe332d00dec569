"""What the tests of the command line share: commands in a pipe, and on a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.process.parts import ROOT

__all__ = ["Shown", "Terminal", "backroom", "clean_environment"]


class Shown(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


def clean_environment(**env: str) -> dict[str, str]:
    """This environment without any setting of ours but these."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("BACKROOM_")}
    return {**clean, **env}


def backroom(*arguments: str, cwd: Path = ROOT, given: str = "", **env: str) -> Shown:
    """`python -m backroom ...`, with pipes all around it; `given` is its standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "backroom", *arguments],
        cwd=cwd,
        env=clean_environment(**{"COLUMNS": "40", **env}),
        input=given,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    shown = Shown(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in shown.err, shown.err
    return shown


class Terminal:
    """A command that speaks to a person."""

    def __init__(
        self, *arguments: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None
    ) -> None:
        self._ours, its = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "backroom", *arguments],
            cwd=cwd,
            env=clean_environment(TERM="xterm-256color", COLUMNS="200", **(env or {})),
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        os.close(its)
        self._seen = b""

    @property
    def text(self) -> str:
        """All that it has shown, without colours and movements."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._seen.decode(errors="replace"))

    @property
    def raw(self) -> str:
        """All that it has sent."""
        return self._seen.decode(errors="replace")

    def shows(self, text: str, times: int = 1, within: float = 30.0) -> None:
        """Waits until it has shown `text`, so many times in all."""
        deadline = time.monotonic() + within
        while self.text.count(text) < times:
            assert self._read(deadline), f"{text!r} was not shown, but: {self.text}"

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def ends(self, within: float = 30.0) -> int:
        """Waits for its end; the exit code."""
        try:
            while self._read(time.monotonic() + within):
                pass
            return self._process.wait(within)
        finally:
            self._process.kill()
            os.close(self._ours)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            read = os.read(self._ours, 65_536)
        except OSError:  # The last one on the other side has gone.
            return False
        self._seen += read
        return bool(read)
