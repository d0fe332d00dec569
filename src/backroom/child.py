"""The other end of `processes.py`: what runs in a child process. One attempt at a time, in the
main thread; a second thread listens for the parent, and ends the process when it has gone.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import importlib.util
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
from typing import Any, Final

import msgspec

from backroom.clock import SystemClock
from backroom.errors import ConfigurationError, JobTypeError
from backroom.frames import Ended, Frames, Ready, Run, Said, Setup, Stop, pack
from backroom.handle import Job
from backroom.logs import log_to_stderr, underway
from backroom.outcome import MAX_MESSAGE, clip, errored, raised, returned
from backroom.processes import memory_used
from backroom.registry import JobType, Known, known_handler
from backroom.retry import Backoff
from backroom.transition import Cancelled, Completed, Errored, Outcome, Policy, Snoozed
from backroom.versions import version_of

__all__ = ["main"]

MAIN: Final = "__mp_main__"
"""The name under which the parent's `__main__` is imported here, as multiprocessing does: code
below `if __name__ == "__main__":` does not run."""
SAY_EVERY: Final = 0.1
"""Seconds between two reports of progress."""


def main(socket_number: int) -> None:
    """Runs attempts until the parent has no more."""
    _die_with_parent()
    parent = _Parent(socket.socket(fileno=socket_number))
    setup = parent.setup()
    log_to_stderr(setup.log_level, as_json=setup.json_log)
    if setup.max_memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (setup.max_memory, setup.max_memory))
    loops = asyncio.Runner()
    handlers: dict[tuple[str, str, str], Known] = {}
    parent.send(Ready())
    count = 0
    while True:
        run = parent.next()
        count += 1
        ended = _Attempt(parent, setup, loops, handlers).ended(run)
        sys.stdout.flush()
        sys.stderr.flush()
        parent.send(_worn(ended, setup, count))


class _Parent:
    """The socket to the parent, read in a thread of its own."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.Lock()
        self._runs: queue.SimpleQueue[Run] = queue.SimpleQueue()
        self._setups: queue.SimpleQueue[Setup] = queue.SimpleQueue()
        self._attempt: _Attempt | None = None
        threading.Thread(target=self._listen, name="backroom-parent", daemon=True).start()

    def setup(self) -> Setup:
        return self._setups.get()

    def next(self) -> Run:
        return self._runs.get()

    def send(self, frame: Ready | Said | Ended) -> None:
        with self._sending:
            try:
                self._socket.sendall(pack(frame))
            except OSError:  # The parent has gone, or needs this process no more.
                os._exit(0)

    def watch(self, attempt: _Attempt | None) -> None:
        """Which attempt is told to stop."""
        self._attempt = attempt

    def _listen(self) -> None:
        frames = Frames()
        while True:
            try:
                data = self._socket.recv(1 << 20)
            except OSError:
                data = b""
            if not data:  # The parent has gone, or needs this process no more.
                os._exit(0)
            for frame in frames.feed(data):
                if isinstance(frame, Run):
                    self._runs.put(frame)
                elif isinstance(frame, Setup):
                    self._setups.put(frame)
                elif isinstance(frame, Stop) and self._attempt is not None:
                    self._attempt.stop()


class _Attempt:
    """One attempt: the handler found, the data decoded, the outcome told."""

    def __init__(
        self,
        parent: _Parent,
        setup: Setup,
        loops: asyncio.Runner,
        handlers: dict[tuple[str, str, str], Known],
    ) -> None:
        self._parent = parent
        self._setup = setup
        self._loops = loops
        self._handlers = handlers
        self._job: Job[Any] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stopped = False
        self._last_said = 0.0

    def ended(self, run: Run) -> Ended:
        """Runs it."""
        self._parent.watch(self)
        try:
            known = self._find(run)
            version = version_of(run.claim.options)
            data = known.data.decode(run.claim.data) if version == known.version else None
        except Exception as error:
            final = isinstance(error, (JobTypeError, ConfigurationError))
            return _told(errored(error, retry=not final), None)
        policy = Policy(run.retries, 0.0, Backoff(), run.timeout)
        now = SystemClock().now
        self._job = job = Job(run.claim, data, policy, run.started_at, now, self._say)
        if self._stopped:
            job.stop()
        outcome: Outcome
        interrupted = False
        try:
            assert known.handler is not None
            underway.set(job)
            if version != known.version:
                job.data = known.read(run.claim.data, version)
            if known.handler_is_async:
                value = self._loops.run(self._coroutine(known.handler, job))
            else:
                value = known.handler(job)
            outcome = returned(run.claim.type, known.result, value, self._setup.max_payload)
        except asyncio.CancelledError as error:
            interrupted = self._stopped
            outcome = errored(error)
        except Exception as error:
            outcome = raised(error)
        except BaseException as error:  # SystemExit and the like end the attempt.
            outcome = errored(error)
        finally:
            underway.set(None)
            self._parent.watch(None)
        self._say(job, at_once=True)
        return Ended("interrupted") if interrupted else _told(outcome, job)

    async def _coroutine(self, handler: Any, job: Job[Any]) -> Any:
        underway.set(job)  # All coroutines of this process run in one context.
        self._task = asyncio.current_task()
        if self._stopped and self._task is not None:
            self._task.cancel()
        return await handler(job)

    def stop(self) -> None:
        """In the thread that listens."""
        self._stopped = True
        if self._job is not None:
            self._job.stop()
        task = self._task
        if task is not None:
            task.get_loop().call_soon_threadsafe(task.cancel)

    def _say(self, job: Job[Any], *, at_once: bool = False) -> None:
        """Progress and lines; now and then while it runs, and all of it at the end."""
        now = time.monotonic()
        if not at_once and now - self._last_said < SAY_EVERY:
            return
        self._last_said = now
        report = job.report()
        if report is not None:
            self._parent.send(
                Said(report.progress, report.progress_message, list(report.log or ()))
            )

    # -- the handler -----------------------------------------------------------------------------

    def _find(self, run: Run) -> Known:
        """The handler of a type, as importing its module registers it.

        Raises:
            ConfigurationError: the import registers none, and nothing tells the data's type.
        """
        name = (run.module, run.qualname, run.claim.type)
        known = self._handlers.get(name)
        if known is None:
            known = self._handlers[name] = self._import(run)
        return known

    def _import(self, run: Run) -> Known:
        name = MAIN if run.module == "__main__" else run.module
        module = _import_main(self._setup.main) if name == MAIN else importlib.import_module(name)
        known = known_handler(name, run.qualname, run.claim.type)
        if known is not None:
            return known
        handler: Any = module
        try:
            for part in run.qualname.split("."):
                handler = getattr(handler, part)
        except AttributeError:
            raise ConfigurationError(
                f"{run.module} has no {run.qualname} when it is imported in a child process;"
                " define the handler at the top of the module"
            ) from None
        kinds = [
            kind
            for kind in vars(module).values()
            if isinstance(kind, JobType) and kind.name == run.claim.type
        ]
        if run.typed and not kinds:
            raise ConfigurationError(
                f"importing {run.module} in a child process registered no handler of"
                f" {run.claim.type}, so the type of its data is not known there: register the"
                " handler where the module is imported, not in a function"
            )
        return Known.of_handler(run.claim.type, handler, kinds[0] if kinds else None)


def _told(outcome: Outcome, job: Job[Any] | None) -> Ended:
    saw_stop = job is not None and job.saw_stop
    if isinstance(outcome, Completed):
        return Ended("completed", outcome.result, saw_stop=saw_stop)
    if isinstance(outcome, Snoozed):
        return Ended("snoozed", delay=outcome.delay)
    if isinstance(outcome, Cancelled):
        return Ended("cancelled", message=clip(outcome.reason, MAX_MESSAGE))
    assert isinstance(outcome, Errored)
    return Ended(
        outcome.kind, None, outcome.message, outcome.traceback, outcome.retry, outcome.delay,
        failed=True, saw_stop=saw_stop,
    )  # fmt: skip


def _worn(ended: Ended, setup: Setup, count: int) -> Ended:
    """Says that this child is to be replaced, if it is."""
    if setup.max_jobs is not None and count >= setup.max_jobs:
        return msgspec.structs.replace(ended, worn=f"it has run {count} jobs")
    if setup.max_memory is not None:
        used = memory_used()
        if used > setup.max_memory * 3 // 4:
            return msgspec.structs.replace(ended, worn=f"it uses {used >> 20} MiB of memory")
    return ended


def _import_main(path: str | None) -> Any:
    """The parent's `__main__`, under another name."""
    if MAIN in sys.modules:
        return sys.modules[MAIN]
    if path is None:
        raise ConfigurationError(
            "the handler was defined in a session without a file, which no child process can"
            " import: put it into a module"
        )
    spec = importlib.util.spec_from_file_location(MAIN, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} cannot be imported in a child process")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MAIN] = module
    spec.loader.exec_module(module)
    return module


def _die_with_parent() -> None:
    """Asks the kernel to kill this process when the one that started it dies; where the kernel
    cannot, the end of the socket does it as soon as Python code runs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
