"""Between the processes and their storage: what is late, lost, or out of order.

A call travels, is carried out, and its answer travels back. Any of these may take long, so that
calls and answers overtake each other; a call may never arrive, and an answer may be lost, which
its caller cannot tell from the former. What is carried out is carried out by a real storage.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Final, cast

import msgspec

from backroom.errors import StorageError
from backroom.lease import MARGIN
from backroom.ports import Capabilities, Clock, Heartbeat, Store, Wake
from backroom.transition import Claim
from tests.simulation.history import History
from tests.simulation.loop import Machine, SimLoop
from tests.simulation.server import Server

__all__ = ["Network", "Remote", "Weather"]

VERBS: Final = {
    "insert", "enlist", "extend", "retire", "claim", "start", "finish", "give_back", "disown",
    "report", "reclaim", "prune", "find", "outlook", "page", "stats", "queues", "retry", "cancel",
    "delete", "pause", "insert_flow", "flow", "put_limits", "limits", "free_up", "fold",
    "put_schedule", "pause_schedule", "schedule", "schedules", "due_schedules", "fire", "ticks",
    "tell", "sample", "past", "totals", "crew", "drain", "limit_queue", "operated", "stranded",
    "requeue",
}  # fmt: skip
SAID_AGAIN: Final = {
    "insert", "insert_flow", "finish", "extend", "start", "retire", "put_schedule",
    "pause_schedule", "fire", "tell",
}  # fmt: skip
"""What a network may carry twice; calling again with the same values is safe."""


class Weather(msgspec.Struct):
    """How likely what is, per call."""

    latency: float = 0.001
    """Seconds that a way takes, mostly."""
    slow: float = 0.0
    """Part of the ways that take up to `slowest` seconds."""
    slowest: float = 1.0
    refused: float = 0.0
    """Calls that never arrive."""
    lost: float = 0.0
    """Answers that never arrive: the call was carried out."""
    twice: float = 0.0
    """Calls that are carried out twice."""
    unheard: float = 0.0
    """Wake-ups that are lost."""


class Network:
    """All ways of one world."""

    def __init__(
        self, loop: SimLoop, seed: int, server: Server, history: History, weather: Weather
    ) -> None:
        self.limited = False
        """Some jobs have limits."""
        self.operated = False
        """Operators limit queues."""
        self._loop = loop
        self._chance = random.Random(seed)
        self.server = server
        self.history = history
        self.weather = weather
        self._ears: dict[Callable[[Wake], None], Machine] = {}
        self.faults = 0
        """Calls that were refused, or whose answer was lost, so far."""

    def calm(self) -> None:
        """From now on all is well."""
        self.weather = Weather()

    def _way(self) -> float:
        chance, weather = self._chance, self.weather
        if chance.random() < weather.slow:
            return chance.random() * weather.slowest
        return weather.latency * (0.2 + 2 * chance.random())

    def _later(self, seconds: float, call: Callable[..., object], *args: Any) -> None:
        self._loop.call_later(seconds, call, *args, context=Context())

    async def ask(self, remote: Remote, verb: str, args: Any, kwargs: Any) -> Any:
        """One call, from the process that makes it."""
        reply = self._loop.create_future()
        sent = remote.clock.uptime()
        chance, weather = self._chance, self.weather
        cut = remote.cut_until > self._loop.time()
        if cut or chance.random() < weather.refused:
            self._fail(remote, verb, reply, arrived=False)
        else:
            lost = chance.random() < weather.lost
            twice = verb in SAID_AGAIN and chance.random() < weather.twice
            arrive = partial(self._arrive, remote, verb, args, kwargs)
            way = self._way()
            self._later(way, arrive, reply, lost)
            if twice:
                self._later(way + self._way() * 2, arrive, None, True)
        answer = await reply
        if isinstance(answer, Heartbeat):
            # What is left of a lease when it is granted, from the moment that it was asked for,
            # is on the safe side on any clock.
            remote.heard(verb, sent + answer.deadline * (1 - MARGIN))
            answer = msgspec.structs.replace(answer, deadline=sent + answer.deadline)
        return answer

    def _fail(self, remote: Remote, verb: str, reply: Any, *, arrived: bool) -> None:
        self.faults += 1
        how = "its answer was lost" if arrived else "it never arrived"
        self.history.note(remote.machine.name, "is cut off", verb=verb, how=how)
        error = StorageError(f"{verb}: {how}")
        self._later(self._way() + 0.01, _answer, reply, None, error)

    def _arrive(
        self, remote: Remote, verb: str, args: Any, kwargs: Any, reply: Any, lost: bool
    ) -> None:
        answer, error = None, None
        jobs = args[0] if verb == "insert" else ()
        if verb == "insert_flow":
            jobs = [member.record for member in args[1].members]
        if reply is None and self.server.has_forgotten(jobs):
            return  # A job is known again as long as it is kept; beyond that it would be a new one.
        try:
            answer = self.server.carry_out(remote, verb, args, kwargs)
            if isinstance(answer, Heartbeat):
                left = answer.deadline - self.server.clock.uptime()
                answer = msgspec.structs.replace(answer, deadline=left)
        except Exception as wrong:
            error = wrong
        self._ring(verb)
        if reply is None:
            return
        if lost or remote.cut_until > self._loop.time():
            self._fail(remote, verb, reply, arrived=True)
        else:
            self._later(self._way(), _answer, reply, answer, error)

    # -- wake-ups --------------------------------------------------------------------------------

    def listen(self, machine: Machine, callback: Callable[[Wake], None]) -> Callable[[], None]:
        self._ears[callback] = machine
        return lambda: self._ears.pop(callback, None) and None

    def _ring(self, verb: str) -> None:
        for wake in _WAKES.get(verb, ()):
            for callback, machine in list(self._ears.items()):
                if self._chance.random() >= self.weather.unheard:
                    self._loop.call_later(
                        self._way(), self._hear, callback, wake, context=machine.context.copy()
                    )

    def _hear(self, callback: Callable[[Wake], None], wake: Wake) -> None:
        if callback in self._ears:
            callback(wake)


_WAKES: Final[dict[str, tuple[Wake, ...]]] = {
    "insert": (Wake.JOBS,),
    "insert_flow": (Wake.JOBS,),
    "give_back": (Wake.JOBS,),
    "retire": (Wake.JOBS,),
    "finish": (Wake.FINISHED, Wake.JOBS),
    "reclaim": (Wake.JOBS, Wake.FINISHED),
    "retry": (Wake.JOBS,),
    "cancel": (Wake.CONTROL, Wake.FINISHED, Wake.JOBS),
    "pause": (Wake.CONTROL, Wake.JOBS),
    "limit_queue": (Wake.CONTROL, Wake.JOBS),
    "put_schedule": (Wake.CONTROL,),
    "pause_schedule": (Wake.CONTROL,),
    "fire": (Wake.JOBS,),
    "free_up": (Wake.JOBS,),
    "drain": (Wake.CONTROL,),
}


def _answer(reply: Any, answer: Any, error: Exception | None) -> None:
    if reply is not None and not reply.done():
        if error is not None:
            reply.set_exception(error)
        else:
            reply.set_result(answer)


class Remote:
    """The storage as one process has it."""

    def __init__(
        self, network: Network, machine: Machine, clock: Clock, backend: Store, *, planning: bool
    ) -> None:
        """`backend` carries out what arrives from this process; `planning`: also of schedules."""
        self.machine = machine
        self.backend = backend
        self.clock = clock
        self.capabilities = Capabilities(durable=True, shared=True, planning=planning, flowing=True)
        self.url = "simulated:"
        self.cut_until = 0.0
        """Nothing gets through until then."""
        self._leased_until = 0.0
        self._network = network
        self._abandoned: set[asyncio.Future[Any]] = set()
        """Inserts on their way whose caller was cancelled."""

    def heard(self, verb: str, until: float) -> None:
        """A lease was granted. What comes too late to be sure of it changes nothing."""
        if verb == "enlist":
            self._leased_until = until
        elif self.leased:
            self._leased_until = max(until, self._leased_until)

    @property
    def leased(self) -> bool:
        """Whether its process may be sure of its lease, by all that it has heard."""
        return self.clock.uptime() < self._leased_until

    @property
    def store(self) -> Store:
        """For `JobService(...)`."""
        return cast("Store", self)

    async def open(self) -> None:
        """It is open as long as the world stands."""

    async def close(self) -> None:
        """See `open`."""

    def subscribe(self, callback: Callable[[Wake], None]) -> Callable[[], None]:
        return self._network.listen(self.machine, callback)

    def note_start(self, worker: int, claim: Claim) -> None:
        self._network.server.begun(self, worker, claim)

    def __getattr__(self, verb: str) -> Any:
        if verb not in VERBS:
            raise AttributeError(verb)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if verb == "free_up" and not self._network.limited:
                return 0  # A world without limits is what it was before there were any.
            if verb == "operated" and not self._network.operated:
                return {}
            if verb == "give_back":  # What was sent before, and nobody waits for, goes before.
                await asyncio.gather(*self._abandoned, return_exceptions=True)
            asking = self._network.ask(self, verb, args, kwargs)
            if verb != "insert":
                return await asking
            asked = asyncio.ensure_future(asking)
            try:
                return await asyncio.shield(asked)
            except asyncio.CancelledError:
                self._abandoned.add(asked)
                asked.add_done_callback(self._forget)
                raise

        return call

    def _forget(self, asked: asyncio.Future[Any]) -> None:
        self._abandoned.discard(asked)
        if not asked.cancelled():
            asked.exception()  # Nobody asks for it any more.
