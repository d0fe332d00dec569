"""Several worker processes, kept running.

The supervisor imports nothing of the application: it starts the same command several times and
watches. A worker that ends without having been told to is started again, after a pause that
grows while it keeps ending early; one that cannot even begin ends them all.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["READY", "SUPERVISED", "Supervisor", "follow_supervisor", "say_ready"]

log = logging.getLogger("backroom")

READY: Final = "BACKROOM_READY_FD"
"""Names the pipe on which a worker says that it has begun."""
SUPERVISED: Final = "BACKROOM_SUPERVISOR"
"""Names the process that started a worker."""

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds before a worker that ended is started again, at first and at most."""
SETTLED: Final = 30.0
"""Seconds after which a worker is not held to have ended early."""
MISUSED: Final = 2
"""The exit code of wrong usage: starting it again would not help."""


class Supervisor:
    """Keeps `count` workers running, until it is told to stop them.

    `terminate`: the first call drains them all, the second has them leave at once.
    `restart` replaces them one by one; a replacement that cannot begin ends the restart.
    """

    def __init__(self, command: Sequence[str], count: int, *, once: bool = False) -> None:
        """`once`: a worker that ends with code 0 is not started again."""
        self._command = list(command)
        self._count = count
        self._once = once
        self._slots: list[_Slot] = []
        self._leaving = asyncio.Event()
        self._restarting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.code = 0
        """What the supervisor itself ends with: the highest code of a worker that was told to
        leave, or that could not begin."""

    async def run(self) -> int:
        """Until all have ended. Returns the exit code."""
        self._slots = [_Slot(self, number) for number in range(1, self._count + 1)]
        await asyncio.gather(*(slot.run() for slot in self._slots))
        if self._restarting is not None:
            await self._restarting
        return self.code

    def is_leaving(self) -> bool:
        """Whether it was told to stop."""
        return self._leaving.is_set()

    @property
    def once(self) -> bool:
        return self._once

    @property
    def all_work(self) -> bool:
        """Whether every one of its workers has said that it works, and lives."""
        return bool(self._slots) and all(slot.works for slot in self._slots)

    async def pause(self, seconds: float) -> None:
        """Waits, or until it is told to stop."""
        try:
            await asyncio.wait_for(self._leaving.wait(), seconds)
        except TimeoutError:
            return

    def start(self) -> Process:
        """One more worker."""
        return Process(self._command, self._loop)

    def give_up(self, code: int) -> None:
        """A worker cannot begin: the others shall end too."""
        self.code = max(self.code, code)
        if not self.is_leaving():
            self.terminate()

    def terminate(self) -> None:
        """Drains the workers; called again, has them give back what runs, and leave."""
        # Two signals of one kind may arrive as one where nobody has looked at the first.
        number = signal.SIGINT if self.is_leaving() else signal.SIGTERM
        self._leaving.set()
        for slot in self._slots:
            slot.tell(number)

    def restart(self) -> None:
        """Replaces all workers, one after the other, without a gap."""
        if self.is_leaving() or (self._restarting is not None and not self._restarting.done()):
            return
        self._restarting = self._loop.create_task(self._replace_all())

    async def _replace_all(self) -> None:
        for slot in self._slots:
            if self.is_leaving() or not await slot.replace():
                return
        log.info("all %d workers were replaced", self._count)


class _Slot:
    """The place of one worker."""

    def __init__(self, supervisor: Supervisor, number: int) -> None:
        self._supervisor = supervisor
        self._number = number
        self._process: Process | None = None
        self._old: Process | None = None

    async def run(self) -> None:
        """Keeps a worker here until there shall be none."""
        supervisor = self._supervisor
        pause, began_once = FIRST_PAUSE, False
        while not supervisor.is_leaving():
            try:
                self._process = process = supervisor.start()
            except OSError as error:
                log.error("worker %d cannot be started: %s", self._number, error)
                supervisor.give_up(1)
                return
            since = asyncio.get_running_loop().time()
            code = await self._follow()
            process, lived = self._process, asyncio.get_running_loop().time() - since
            began_once |= process.began
            if self._supervisor.is_leaving():
                # One that was told to leave before it had begun could not do so by itself.
                told = code == 128 + signal.SIGTERM and not process.began
                supervisor.code = max(supervisor.code, 0 if told else code)
                return
            if code == 0 and supervisor.once:
                return
            if code == MISUSED or not began_once:
                supervisor.give_up(code or 1)
                return
            if code == 0:  # It was worn.
                pause = FIRST_PAUSE
                continue
            if lived >= SETTLED:
                pause = FIRST_PAUSE
            log.warning(
                "worker %d (process %d) %s; it is started again in %.1f s",
                self._number, process.pid, how_ended(code), pause,
            )  # fmt: skip
            await supervisor.pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    @property
    def works(self) -> bool:
        """Whether there is a worker here that has begun, and not ended."""
        process = self._process
        return process is not None and process.began and not process.ended.done()

    async def _follow(self) -> int:
        """Until the process here has ended, and none has taken its place."""
        while True:
            process = self._process
            assert process is not None
            code = await process.ended
            if process is self._process:
                return code

    async def replace(self) -> bool:
        """Has another worker begin, then drains this one. Returns whether it did."""
        old = self._process
        if old is None or old.ended.done():
            return True
        new = self._supervisor.start()
        if not await new.begins():
            log.error(
                "the new worker %d %s before it began; the workers that run are kept",
                self._number, how_ended(await new.ended),
            )  # fmt: skip
            return False
        self._process, self._old = new, old
        if self._supervisor.is_leaving():
            new.signal(signal.SIGTERM)
        old.signal(signal.SIGTERM)
        await old.ended
        self._old = None
        return True

    def tell(self, number: signal.Signals) -> None:
        for process in (self._process, self._old):
            if process is not None:
                process.signal(number)


class Process:
    """One worker process. It lives in a session of its own: Ctrl-C reaches the supervisor
    alone, which tells the workers."""

    def __init__(self, command: Sequence[str], loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.ended: asyncio.Future[int] = loop.create_future()
        self._ready: asyncio.Future[bool] = loop.create_future()
        ours, theirs = os.pipe()
        env = {**os.environ, READY: str(theirs), SUPERVISED: str(os.getpid())}
        try:
            self._process = subprocess.Popen(
                command, env=env, pass_fds=[theirs], start_new_session=True
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self.pid = self._process.pid
        os.set_blocking(ours, False)
        loop.add_reader(ours, self._read, ours)
        threading.Thread(target=self._wait, name=f"backroom-worker-{self.pid}", daemon=True).start()

    @property
    def began(self) -> bool:
        """It has said that it works."""
        return self._ready.done() and self._ready.result()

    async def begins(self) -> bool:
        """Waits until it works, or has ended."""
        return await self._ready

    def signal(self, number: signal.Signals) -> None:
        if not self.ended.done():  # Not reaped yet, so the number is still its own.
            # `Popen.send_signal` would look first, and so reap it before `_wait` has seen its end.
            os.kill(self.pid, number)

    def _read(self, pipe: int) -> None:
        said = os.read(pipe, 16)
        if not self._ready.done():
            self._ready.set_result(bool(said))
        if not said:
            self._loop.remove_reader(pipe)
            os.close(pipe)

    def _wait(self) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self._call(self._exited)

    def _exited(self) -> None:
        code = self._process.wait()
        if not self._ready.done():
            self._ready.set_result(False)
        self.ended.set_result(code if code >= 0 else 128 - code)

    def _call(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            log.debug("the supervisor's loop has ended")


def how_ended(code: int) -> str:
    """An exit code, in words."""
    if code > 128:
        try:
            return f"was killed by {signal.Signals(code - 128).name}"
        except ValueError:
            return f"was killed by signal {code - 128}"
    return f"ended with code {code}"


# -- in the worker ------------------------------------------------------------------------------


def follow_supervisor() -> None:
    """In a worker: drains when its supervisor is killed, where the kernel can tell (Linux)."""
    supervisor = os.environ.get(SUPERVISED)
    if supervisor is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != int(supervisor):  # It has gone already.
        os.kill(os.getpid(), signal.SIGTERM)


def say_ready() -> None:
    """In a worker: it works now."""
    pipe = os.environ.pop(READY, None)
    if pipe is not None:
        os.write(int(pipe), b"ready")
        os.close(int(pipe))
