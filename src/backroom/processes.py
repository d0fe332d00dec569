"""Warm child processes for handlers that want one: each runs an attempt at a time.

A child is a fresh interpreter (never a fork of this process) that imports the handler's module.
It lives in a session of its own, so that Ctrl-C does not reach it, and ends when its socket to
the parent does; on Linux the kernel also kills it with its parent. A child that dies costs the
attempt it ran, and nobody else's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from backroom.frames import Ended, Frames, Ready, Run, Said, Setup, Stop, pack
from backroom.logs import writes_json

__all__ = ["Died", "Execution", "Limits", "Processes", "memory_used"]

log = logging.getLogger("backroom")

KEPT_OUTPUT: Final = 8192
"""Bytes of the last output of a child that its death is told with."""
KEPT_LINES: Final = 20
LEAVE: Final = 2.0
"""Seconds that a child without work has to end."""


class Limits(msgspec.Struct, frozen=True):
    """What a child may use."""

    max_memory: int | None = None
    """Bytes; an allocation beyond fails with `MemoryError`, and a child that has grown beyond
    three quarters of it is replaced after its job."""
    max_jobs: int | None = None
    """Jobs after which it is replaced."""
    max_payload: int = 1 << 20


class Died(msgspec.Struct, frozen=True):
    """A child ended in the middle of an attempt."""

    how: str
    """For people: "was killed by SIGSEGV", "ended with exit code 3"."""
    output: str
    """Its last lines."""
    began: bool = True
    """The attempt may have begun."""


class Execution:
    """One attempt, on its way to and in a child. All callables are called on the loop."""

    def __init__(
        self,
        run: Callable[[], Run | None],
        *,
        said: Callable[[Said], None],
        ended: Callable[[Ended | Died], None],
    ) -> None:
        """`run` is called when a child takes the attempt, right before its code may begin; None
        where it is not to begin any more."""
        self.run = run
        self.said = said
        self.ended = ended
        self._child: _Child | None = None
        self._given_up = False

    @property
    def given_up(self) -> bool:
        """It was killed before a child took it."""
        return self._given_up

    def take(self, child: _Child) -> None:
        self._child = child

    def stop(self) -> None:
        """Asks its code to stop."""
        if self._child is not None:
            self._child.send(Stop())

    def kill(self) -> None:
        """Ends it now. `ended` is called once its process has gone."""
        if self._child is not None:
            self._child.kill()
        else:
            self._given_up = True


class Processes:
    """Starts a child when none is idle; keeps it for the next attempt."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._idle: deque[_Child] = deque()
        self._children: set[_Child] = set()
        self._waiting: deque[Execution] = deque()
        self._closing = False

    def run(self, execution: Execution) -> None:
        """Runs an attempt in an idle child, or in a new one."""
        while self._idle:
            child = self._idle.popleft()
            if child.alive:
                self._waiting.append(execution)
                self._ready(child)
                return
        self._waiting.append(execution)
        self._start_for_waiting()

    def warm(self, count: int) -> None:
        """Has so many children ready before they are needed."""
        for _ in range(count - len(self._children)):
            self._start()

    def _start_for_waiting(self) -> None:
        """A child for every attempt that waits; those on their way count."""
        coming = sum(not child.was_ready for child in self._children)
        if len(self._waiting) > coming and not self._closing:
            self._start()

    def _start(self) -> None:
        try:
            child = _Child(self._limits, self._loop, self._ready, self._gone)
        except OSError as error:
            log.error("no child process can be started: %s", error)
            if self._waiting:
                ended = self._waiting.popleft().ended
                self._loop.call_soon(ended, Died(f"could not be started ({error})", "", False))
        else:
            self._children.add(child)

    def _ready(self, child: _Child) -> None:
        """A child takes an attempt now."""
        while self._waiting:
            execution = self._waiting.popleft()
            run = None if execution.given_up else execution.run()
            if run is None:
                self._loop.call_soon(execution.ended, Died("was not needed any more", "", False))
            else:
                child.execute(execution, run)
                return
        if self._closing:
            child.close()
        else:
            self._idle.append(child)

    def _gone(self, child: _Child, died: Died) -> None:
        """A child has ended; one that never became ready may have left an attempt waiting."""
        self._children.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        if child.was_ready:
            self._start_for_waiting()
        elif self._waiting:
            self._waiting.popleft().ended(died)

    async def close(self) -> None:
        """Ends all children: those without work by themselves, the others at once."""
        self._closing = True
        for child in list(self._children):
            child.close()
        until = self._loop.time() + LEAVE
        while self._children and self._loop.time() < until:
            await asyncio.sleep(0.01)
        for child in list(self._children):
            child.kill()
        while self._children:
            await asyncio.sleep(0.01)


class _Child(asyncio.Protocol):
    """One child process, from its start to its end."""

    def __init__(
        self,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        ready: Callable[[_Child], None],
        gone: Callable[[_Child, Died], None],
    ) -> None:
        self._loop = loop
        self._ready = ready
        self._gone = gone
        self._frames = Frames()
        self._execution: Execution | None = None
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._output = bytearray()
        self._code: int | None = None
        self._silent = False
        self.was_ready = False
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _command(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        loop.add_reader(self._pipe, self._read_output)
        self._connecting = loop.create_task(self._connect(ours))
        main = getattr(sys.modules.get("__main__"), "__file__", None)
        level = logging.getLogger().getEffectiveLevel()
        self.send(
            Setup(
                None if main is None else os.path.abspath(main),
                limits.max_memory,
                limits.max_jobs,
                limits.max_payload,
                level,
                writes_json(),
            )
        )
        threading.Thread(
            target=self._wait, name=f"backroom-child-{self._process.pid}", daemon=True
        ).start()

    async def _connect(self, ours: socket.socket) -> None:
        await self._loop.create_connection(lambda: self, sock=ours)

    # -- to the child ----------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self._code is None and not self._silent

    def send(self, frame: Setup | Run | Stop) -> None:
        data = pack(frame)
        if self._transport is None:
            self._early.append(data)
        else:
            self._transport.write(data)

    def execute(self, execution: Execution, run: Run) -> None:
        self._read_output()
        self._output.clear()  # The death of this attempt is not told with another one's lines.
        execution.take(self)
        self._execution = execution
        self.send(run)

    def close(self) -> None:
        """A child without work ends when its socket does; one with work is killed."""
        if self._execution is not None or self._transport is None:
            self.kill()
        else:
            self._silent = True
            self._transport.close()

    def kill(self) -> None:
        """With all that it started in its session."""
        if self._code is None:  # Nobody else reaps it, so its number is still its own.
            self._silent = True
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._process.kill()

    # -- from the child --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        for data in self._early:
            transport.write(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            if isinstance(frame, Ready):
                self.was_ready = True
                self._ready(self)
            elif isinstance(frame, Said):
                if self._execution is not None:
                    self._execution.said(frame)
            elif isinstance(frame, Ended):
                self._has_ended(frame)

    def _has_ended(self, frame: Ended) -> None:
        execution, self._execution = self._execution, None
        if execution is not None:
            execution.ended(frame)
        if frame.worn is not None:
            log.info("child process %d is replaced: %s", self._process.pid, frame.worn)
            self.close()
        elif self.alive:
            self._ready(self)

    def _read_output(self) -> None:
        try:
            data = os.read(self._pipe, 65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._pipe)
            return
        self._output += data
        del self._output[:-KEPT_OUTPUT]
        try:
            os.write(2, data)
        except OSError:  # Nobody reads what this process writes.
            return

    def _wait(self) -> None:
        """In a thread of its own. The child is not reaped here, so that its number stays its own
        until the loop knows."""
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        try:
            self._loop.call_soon_threadsafe(self._exited)
        except RuntimeError:
            self._process.wait()

    def _exited(self) -> None:
        """What it said before its end is read first."""
        if self._transport is None or self._transport.is_closing():
            self._bury()
        else:
            self._loop.call_later(0.02, self._bury)

    def _bury(self) -> None:
        self._code = self._process.wait()
        self._read_output()
        self._loop.remove_reader(self._pipe)
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._transport is not None:
            self._transport.close()
        died = Died(_how(self._code), _last_lines(self._output))
        execution, self._execution = self._execution, None
        self._gone(self, died)
        if execution is not None:
            execution.ended(died)


def _command(socket_number: int) -> str:
    """With the import path of this process, which it may have changed since it began."""
    return (
        f"import sys; sys.path[:] = {sys.path!r};"
        f" from backroom.child import main; main({socket_number})"
    )


def memory_used() -> int:
    """Bytes that this process has in memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ""
    if -code == signal.SIGKILL:
        hint = " (by somebody, or by the kernel because memory ran out)"
    return f"was killed by {name}{hint}"


def _last_lines(output: bytes | bytearray) -> str:
    lines = output.decode("utf-8", "replace").splitlines()[-KEPT_LINES:]
    return "\n".join(lines)
