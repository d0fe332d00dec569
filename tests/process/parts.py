"""What the tests with real processes share: children that never outlive a test, and patience."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from backroom import FileJobStorage, JobService

__all__ = [
    "ROOT",
    "TYPES",
    "Child",
    "Entry",
    "Family",
    "Journal",
    "die_with_parent",
    "eventually",
    "eventually_async",
    "is_running",
    "none_left",
    "read_journals",
    "scheduling",
    "state_of",
]

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
APP = "tests.process.app:service"
TYPES = (
    "BLOCK", "DIE", "ECHO", "FLAKY", "FORK", "GATE", "NAP", "QUICK", "SAY", "SPAWN", "STUBBORN",
    "THREAD", "THREAD_GATE",
)  # fmt: skip
"""The job types of `app.py`."""


# -- patience ----------------------------------------------------------------------------------


def eventually(fact: Callable[[], T], what: str, within: float = 15.0) -> T:
    """What `fact` says as soon as that is true; asked again and again until `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        answer = fact()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what} (last: {answer!r})")
        time.sleep(0.005)


async def eventually_async(
    fact: Callable[[], Awaitable[T] | T], what: str, within: float = 15.0
) -> T:
    """`eventually`, while the loop of this process goes on; `fact` may be a coroutine function."""
    deadline = time.monotonic() + within
    while True:
        asked = fact()
        answer = await asked if isinstance(asked, Awaitable) else asked
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what} (last: {answer!r})")
        await asyncio.sleep(0.005)


async def none_left(service: JobService) -> bool:
    """Whether every job has ended."""
    by_status = (await service.get_stats()).by_status
    return not any(by_status[status] for status in ("pending", "scheduled", "active"))


# -- journals ----------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One line of a journal."""

    event: str
    job: str
    number: int
    """The attempt, or whatever else the event counts."""
    pid: int
    at: float
    """In seconds of the monotonic clock, which all processes of a machine share."""


class Journal:
    """Lines that outlive `kill -9`: one write each, to the end of a file of this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = 0
        self._file = -1

    def write(self, event: str, job: str = "-", number: int = 0) -> None:
        pid = os.getpid()
        if pid != self._pid:
            path = self._folder / f"{pid}.journal"
            self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._pid = pid
        os.write(self._file, f"{event} {job} {number} {pid} {time.monotonic()}\n".encode())


def read_journals(folder: Path, *events: str) -> list[Entry]:
    """All lines of all processes, or those about some events, by time. A line that is being
    written may be seen in part (the file grows page by page): it counts once it has its end."""
    entries: list[Entry] = []
    for file in folder.glob("*.journal"):
        whole, _, _ = file.read_text().rpartition("\n")
        for line in whole.splitlines():
            event, job, number, pid, at = line.split()
            if not events or event in events:
                entries.append(Entry(event, job, int(number), int(pid), float(at)))
    return sorted(entries, key=lambda entry: entry.at)


# -- processes ---------------------------------------------------------------------------------


def die_with_parent() -> None:
    """Asks the kernel to kill this process when the one that started it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def is_running(pid: int) -> bool:
    """Whether a process is there, and not merely waiting to be collected."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def state_of(pid: int) -> str:
    """Of a process, as the kernel tells it in one letter."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _has_its_turn(pid: int, jobs: Path) -> bool:
    """Whether it holds the first byte of the lock file, by the kernel's own list."""
    inode = str((jobs / "jobs.lock").stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        _, kind, _, _, holder, file, *span = line.split()[:8]  # "->" is one that waits
        if (kind, holder, span) == ("POSIX", str(pid), ["0", "0"]) and file.endswith(f":{inode}"):
            return True
    return False


class Child:
    """A process that a test started, with everything it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], written: Path) -> None:
        self._process = process
        self._written = written
        self.pid = process.pid

    @property
    def text(self) -> str:
        """What it wrote so far, standard output and errors."""
        return self._written.read_text(errors="replace")

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def says(self, text: str, within: float = 15.0) -> None:
        """Waits until it has written `text`."""
        eventually(lambda: text in self.text or self.code is not None, f"{text!r} written", within)
        assert text in self.text, f"it ended with {self.code} and wrote:\n{self.text}"

    def ends(self, within: float = 15.0) -> int:
        """Waits for its end; the exit code."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            late = f"process {self.pid} did not end within {within:g} s:\n{self.text}"
            raise AssertionError(late) from None

    def stop_still(self) -> None:
        """SIGSTOP, and waits until it has worked."""
        self.signal(signal.SIGSTOP)
        eventually(lambda: state_of(self.pid) == "T", "it is stopped")

    def freeze(self, jobs: Path) -> None:
        """Stops it, but not while it has its turn to write in the folder: all others would wait."""
        while True:
            self.stop_still()
            if not _has_its_turn(self.pid, jobs):
                return
            self.signal(signal.SIGCONT)
            time.sleep(0.005)

    def kill(self) -> None:
        """`kill -9`, and waits until the kernel has cleared up after it."""
        self._process.kill()
        self._process.wait()


class Family:
    """The processes of one test, around one folder; `end_all` ends them whatever happened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = folder / "jobs"
        self.children: list[Child] = []
        self.journal = Journal(folder)

    def start(self, *command: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> Child:
        """Runs this Python with arguments."""
        written = self.folder / f"child-{len(self.children)}.log"
        with written.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=cwd,
                env={**os.environ, "PROCESS_TEST_FOLDER": str(self.folder), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        child = Child(process, written)
        self.children.append(child)
        return child

    def worker(self, *options: str, app: str = APP, **settings: Any) -> Child:
        """`backroom worker` on the handlers of `app.py`; `settings` are those of its service."""
        env = {"PROCESS_TEST_SETTINGS": json.dumps(settings)}
        return self.start("-m", "backroom", "worker", app, *options, env=env)

    def ready(self, *options: str, app: str = APP, **settings: Any) -> Child:
        """A worker that has enlisted."""
        child = self.worker(*options, app=app, **settings)
        child.says("\n  runs ")
        return child

    def program(self, name: str, *arguments: str, **settings: Any) -> Child:
        """One of `programs.py`."""
        env = {"PROCESS_TEST_SETTINGS": json.dumps(settings)}
        return self.start("-m", "tests.process.programs", name, *arguments, env=env)

    def gate(self, name: str = "gate") -> None:
        """Lets go the handlers that wait for it."""
        (self.folder / name).touch()

    def entries(self, *events: str) -> list[Entry]:
        """What the handlers of all processes have noted."""
        return read_journals(self.folder, *events)

    def starts(self) -> Counter[str]:
        """How often each job was started."""
        return Counter(entry.job for entry in self.entries("started"))

    def end_all(self) -> None:
        """Kills what still runs, also what handlers left behind, by its id."""
        for child in self.children:
            child.kill()
        for entry in self.entries("child"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(entry.number, signal.SIGKILL)


@contextlib.asynccontextmanager
async def scheduling(place: Path | str, **settings: Any) -> AsyncIterator[JobService]:
    """A service of this process that knows the types of `app.py` and only schedules; in a folder,
    or where a URL says."""
    storage = place if isinstance(place, str) else FileJobStorage(place)
    service = JobService(storage, **settings)
    for name in TYPES:
        service.declare(name)
    try:
        yield service
    finally:
        await service.stop()
