"""A copy of a checkout, in which its tests run on its own Backroom."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from tests.mutants.mutant import SOURCE, Mutant

__all__ = ["Run", "Scratch", "end_all"]

LEFT_OUT = ("storage", "build", "dist")
"""Of what stands at the top of a checkout; beside all whose name begins with a dot."""
PATIENCE = 10.0
"""Seconds that a run has to clear up after itself, when it is out of time."""
WITNESS = '''
"""Notes which backroom each process imports: those that tests start are to have the copy's too."""
import atexit, os, sys
from importlib.machinery import PathFinder

def note(file):
    notes = os.open({notes!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(notes, f"{{os.getpid()}} {{file}}\\n".encode())
    os.close(notes)

class Witness:
    def find_spec(self, name, path=None, target=None):
        if name != "backroom":
            return None
        spec = PathFinder.find_spec(name, path)
        note(spec and spec.origin)
        return spec

@atexit.register
def note_what_was_found_otherwise():  # pytest finds its plugins by itself.
    if "backroom" in sys.modules:
        note(sys.modules["backroom"].__file__)

sys.meta_path.insert(0, Witness())
'''
_RED = re.compile(r"^(?:FAILED|ERROR) tests/(\S+?(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)
_WHY = re.compile(r"^(?:/\S+?:\d+: |E +)(.+)$", re.MULTILINE)


class Run(NamedTuple):
    """What came of some tests."""

    code: int | None
    """pytest's exit code; None when they were out of time."""
    red: list[str]
    """The tests that failed, below tests/."""
    why: str
    """What the first of them said."""
    seconds: float
    processes: int
    """How many imported the copy's Backroom."""
    strangers: set[str]
    """Every other Backroom that one of them imported."""
    said: str

    @property
    def sound(self) -> bool:
        """Whether it says anything of the copy."""
        return self.processes > 0 and not self.strangers


class Scratch:
    """A folder that is thrown away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkout = folder / "checkout"
        self._notes = folder / "imported.txt"

    @classmethod
    def of(cls, checkout: Path, folder: Path) -> Scratch:
        """A copy of what a checkout holds, compiled code included."""
        scratch = cls(folder)
        scratch.checkout.mkdir(parents=True)
        for entry in checkout.iterdir():
            if entry.name.startswith(".") or entry.name in LEFT_OUT:
                continue
            if entry.is_dir():
                shutil.copytree(entry, scratch.checkout / entry.name)
            else:
                shutil.copy2(entry, scratch.checkout / entry.name)
        witness = scratch.checkout / "sitecustomize.py"
        witness.write_text(WITNESS.format(notes=str(scratch._notes)))
        return scratch

    def apply(self, mutant: Mutant) -> None:
        """Removes a guard.

        Raises:
            GuardMoved: it is not where the mutant says.
        """
        file = self.checkout / SOURCE / mutant.file
        file.write_text(mutant.mutate(file.read_text()))
        for compiled in file.parent.glob(f"__pycache__/{file.stem}.*"):
            compiled.unlink()  # It is known by its second and size, which may be the same.

    def run(self, tests: Sequence[str], limit: float, *options: str) -> Run:
        """Runs tests, named below tests/, one after the other."""
        command = [
            *(sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider"),
            *("-q", "--no-header", "--tb=line", "-rfE", f"--basetemp={self.folder / 'tmp'}"),
            *(*options, "--", *(f"tests/{test}" for test in tests)),
        ]
        env = {name: value for name, value in os.environ.items() if name not in _OURS}
        env["PYTHONPATH"] = os.pathsep.join([str(self.checkout / "src"), str(self.checkout)])
        began = time.monotonic()
        code, said = _bounded(command, self.checkout, env, limit, self.folder / "said.txt")
        seconds = time.monotonic() - began
        red, why = _RED.findall(said), _WHY.search(said)
        ours = str(self.checkout / SOURCE / "__init__.py")
        notes = self._notes.read_text().splitlines() if self._notes.exists() else []
        imported = {tuple(note.split(" ", 1)) for note in notes}
        processes = {process for process, file in imported if file == ours}
        strangers = {file for _, file in imported if file != ours}
        return Run(code, red, why[1] if why else "", seconds, len(processes), strangers, said)


_OURS = ("PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "CI")


def _bounded(
    command: Sequence[str], folder: Path, env: dict[str, str], limit: float, written: Path
) -> tuple[int | None, str]:
    """The exit code of a command, None where it took too long, and what it said. Nothing that it
    started is left: it has a session of its own, which ends with it."""
    with written.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        _running.add(process)
        code: int | None = None
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # Its fixtures end what they started.
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
        finally:
            _running.discard(process)
            _end(process)
    return code, written.read_text(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


_running: Final[set[subprocess.Popen[bytes]]] = set()


def end_all() -> None:
    """Ends the runs of all scratches. They are waited for in threads of their own."""
    for process in list(_running):
        _end(process)
