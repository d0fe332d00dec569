"""Child processes that never outlive the process that started them.

Run as `python -m examples.mail.processes PARENT COMMAND ...`, this module becomes `COMMAND`, having
asked the kernel to kill it when the process `PARENT` dies, which has to be its parent.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parents[2]
PR_SET_PDEATHSIG = 1  # linux/prctl.h

Child = subprocess.Popen[str]


class Children:
    """Starts processes, and ends those that still run; `children` does it in every case."""

    def __init__(self) -> None:
        self._started: list[Child] = []

    def start(self, module: Sequence[str], log: Path, stdout: int | TextIO | None = None) -> Child:
        """Run a Python module with its arguments; call it from the main thread.

        What it writes goes to the end of the file `log`; its output goes to `stdout` if that is
        given. It leads a process group of its own, so Ctrl-C in a terminal reaches this process
        alone, which then ends its children in order.
        """
        command = [sys.executable, "-m", *module]
        if sys.platform == "linux":  # so that they end even if this process is killed by SIGKILL
            command = [sys.executable, "-m", __spec__.name, str(os.getpid()), *command]
        with log.open("a", encoding="utf-8") as lines:
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=stdout or lines,
                stderr=lines,
                text=True,
                start_new_session=True,
            )
        self._started.append(child)
        return child

    def end_all(self) -> None:
        """Kill what still runs. Safe to call twice, or with nothing started."""
        for child in self._started:
            child.kill()  # does nothing to one that has been waited for
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()


@contextlib.contextmanager
def children() -> Iterator[Children]:
    """`Children` that have all ended when the block is left, however it is left."""
    started = Children()
    try:
        yield started
    finally:
        started.end_all()


def become(parent: int, command: list[str]) -> None:
    """Turn into `command`, with the same process id, to be killed when `parent` dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
