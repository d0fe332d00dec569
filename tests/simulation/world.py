"""One world: processes of the real engine, what they do, and what befalls them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any, Final, Protocol

import msgspec

from backroom import (
    BackroomError,
    BulkJob,
    Cancel,
    Concurrency,
    Cron,
    FailJob,
    FlowJob,
    Job,
    JobFailedError,
    JobRequest,
    JobService,
    JobStatus,
    JobType,
    MemoryJobStorage,
    Rate,
    RetryJob,
    Schedule,
    Snooze,
    Unique,
)
from backroom import scheduler as scheduling
from backroom.flow import Kept, OnFailure
from backroom.identity import JobIds
from backroom.inspecting import Outlook
from backroom.job import SECOND
from backroom.limit import LimitInfo
from backroom.ports import Store
from backroom.schedule import ScheduleRecord
from tests.simulation.history import History
from tests.simulation.loop import Machine, SimLoop
from tests.simulation.network import Network, Remote
from tests.simulation.plan import Beat, Plan
from tests.simulation.server import Row, Server, at_once

__all__ = [
    "HEARD",
    "LATER_BY",
    "START",
    "TIMEOUT",
    "TOLD",
    "Backends",
    "Memory",
    "Process",
    "SimClock",
    "World",
    "run_world",
]

START: Final = 1_772_366_400 * SECOND
"""What the clocks show at first: 2026-03-01, noon."""
LATER_BY: Final = 7200.0
"""Seconds by which all clocks go forward when all is well again: what was written under one that
was an hour wrong is due as well."""
PATIENCE: Final = 240.0
"""Seconds in which, once all is well, every job must end."""
TIMEOUT: Final = 3.0
HEARD: Final = 6.0
"""Seconds after which all workers have heard of an operator's limit, with the way to them."""
TOLD: Final = 1.0
"""The same where nobody's wake-up is lost."""
QUEUES: Final = ("default", "mail")
LANES: Final = 2
"""Keys of the limit, in worlds that have one."""
TYPES: Final = ("WORK", "WORK", "WORK", "ODD", "JUNK")


class SimClock:
    """A clock of a machine, which may be wrong, and go wrong."""

    virtual = True

    def __init__(self, loop: SimLoop, rate: float = 1.0) -> None:
        self._loop = loop
        self._rate = rate
        self.wrong = 0.0
        """Seconds by which its wall clock is wrong."""

    def now(self) -> int:
        return START + round((self._loop.time() * self._rate + self.wrong) * SECOND)

    def uptime(self) -> float:
        return 1000 + self._loop.time() * self._rate


class Backends(Protocol):
    """Where the storages of a world come from: one for each of its processes."""

    clock: SimClock | None
    """Of all processes, where they are on one machine."""
    own: SimClock
    """Of the storage itself."""
    precise: bool
    """It knows of a dead process what had begun there, and at once; else what it may have begun,
    and when its lease has ended."""

    def make(self, clock: SimClock, retention: float | None) -> Store:
        """The storage for a new process, open."""
        ...

    def crashed(self, backend: Store) -> None:
        """Its process is gone; the system knows."""
        ...

    def run(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Carries out a verb."""
        ...

    def close(self) -> None:
        """The world has ended."""
        ...


class Memory:
    """One storage in memory for all, as a server far away would be."""

    clock = None
    precise = False

    def __init__(self, loop: SimLoop) -> None:
        self.own = SimClock(loop)
        self._storage: MemoryJobStorage | None = None

    def make(self, clock: SimClock, retention: float | None) -> Store:
        if self._storage is None:
            self._storage = MemoryJobStorage(retention=retention, clock=self.own)
            at_once(self._storage.open)
        return self._storage

    def crashed(self, backend: Store) -> None:
        """It learns that from nobody."""

    def run(self, call: Callable[[], Awaitable[Any]]) -> Any:
        return at_once(call)

    def close(self) -> None:
        if self._storage is not None:
            at_once(self._storage.close)


class Process:
    """One process: a service, with a worker or without."""

    def __init__(self, world: World, name: str, *, works: bool) -> None:
        self.world = world
        self.machine = Machine(name)
        self.works = works
        clock = world.backends.clock
        if clock is None:
            drift = world.plan.drift
            clock = SimClock(world.loop, 1 + world.chance.uniform(-drift, drift))
            clock.wrong = world.clock.wrong
        self.clock = clock
        self.backend = world.backends.make(clock, world.plan.retention)
        self.remote = Remote(
            world.network, self.machine, clock, self.backend, planning=bool(world.plan.beats)
        )
        self.told = asyncio.Event()
        self.grace = 0.0
        self.stopped = False
        self.started = False
        self.service: JobService | None = None

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def alive(self) -> bool:
        return self.machine.alive and not self.stopped

    def make_service(self) -> JobService:
        plan, chance = self.world.plan, self.world.chance
        service = JobService(
            self.remote.store,
            concurrency=plan.concurrency,
            poll_interval=plan.poll,
            lease=plan.lease,
            starvation_after=plan.starvation,
            default_retry_delay=0.3,
            default_timeout=TIMEOUT,
            queues={"mail": 1} if self.works and chance.random() < 0.5 else None,
        )
        service._records._make_id = JobIds(random.Random(chance.random()).randbytes)
        work = self._work()
        if not self.works:
            for type_ in (work, "ODD", "JUNK", "TICK"):
                service.declare(type_)
            return service
        if plan.batch and chance.random() < 0.7:
            service.register_handler(work, self._handle_many, batch=plan.batch, within=plan.within)
        else:
            service.register_handler(work, self._handle)
        service.register_handler(JobType("JUNK", Junk), _junk)
        if plan.beats:
            service.register_handler(
                "TICK", self._handle, schedules=list(map(_schedule, plan.beats))
            )
        if chance.random() < 0.5 or self.world.calm:
            service.register_handler("ODD", self._handle)
        else:
            service.declare("ODD")
        return service

    def _work(self) -> Any:
        """The type of most jobs."""
        plan = self.world.plan
        said: dict[str, Any] = {"fair_by": "data.lane"} if plan.turns else {}
        limits: list[Concurrency | Rate] = []
        if plan.lane:
            limits.append(Concurrency(plan.lane, key="data.lane", name="lane"))
        if plan.pace:
            limits.append(Rate(plan.pace, per=1.0, key="data.lane", name="pace", burst=plan.burst))
        if limits:
            said["limit"] = limits
        return JobType("WORK", dict[str, Any], **said) if said else "WORK"

    async def live(self) -> None:
        """A worker's life."""
        self.service = service = self.make_service()
        while True:
            try:
                await service.start()
                break
            except BackroomError:
                await asyncio.sleep(0.2)
        self.started = True
        self.world.history.note(self.name, "starts")
        if self.world.chance.random() < 0.4 and not self.world.plan.crowd:
            self.world.let_produce(self, service, 3)
        await self.told.wait()
        ended = await service.stop(self.grace)
        self.stopped = True
        self.world.history.note(self.name, "has stopped", ended=ended, leased=self.remote.leased)

    # -- what handlers do ------------------------------------------------------------------------

    async def _handle(self, job: Job[dict[str, Any]]) -> Any:
        n, acts = self.world.server.ids[job.id], job.data["acts"]
        runs = self.world.runs
        runs[n] = runs.get(n, 0) + 1
        act = acts[min(runs[n], len(acts)) - 1]
        token = self.world.server.token(job._claim.token)
        note = self.world.history.note
        try:
            result = await self._act(act, job)
        except asyncio.CancelledError:
            note(self.name, "is interrupted", n, token=token, act=act)
            raise
        except Exception:
            note(self.name, "raises", n, token=token, act=act)
            raise
        note(self.name, "returns", n, token=token, act=act)
        return result

    async def _handle_many(self, jobs: list[BulkJob[dict[str, Any], Any]]) -> None:
        """Each of them at once, as if it were alone; what becomes of it is said when it ends, or
        by an error of the call."""

        async def run(job: BulkJob[dict[str, Any], Any]) -> None:
            try:
                result = await self._handle(job)
            except Exception as error:
                job.fail(error)
            else:
                if isinstance(result, Snooze):
                    job.snooze(result.delay)
                elif isinstance(result, Cancel):
                    job.cancel(result.reason)
                else:
                    job.succeed(result)

        await asyncio.gather(*map(run, jobs))

    async def _act(self, act: str, job: Job[dict[str, Any]]) -> Any:
        chance = self.world.chance
        await asyncio.sleep(chance.choice((0, 0.001, 0.05, 0.4)))
        if act == "slow":
            await asyncio.sleep(chance.choice((0.5, 1.5, 2.5)))
        elif act == "error":
            raise ValueError("as planned")
        elif act == "fail":
            raise FailJob("as planned")
        elif act == "snooze":
            return Snooze(chance.choice((0, 0.5, 2)))
        elif act == "cancel":
            return Cancel("as planned")
        elif act == "retry":
            raise RetryJob(delay=chance.choice((0, 0.5, 2)))
        elif act == "hang":
            await asyncio.Event().wait()
        elif act == "stubborn":
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(4)
            await asyncio.sleep(chance.choice((0, 0.3, 1)))
        elif act == "bad result":
            return object()
        elif act == "block":
            self.world.block(self, 3 * self.world.plan.lease)
            await asyncio.sleep(0)
        elif act == "talk":
            for part in range(3):
                job.progress(part / 3, f"part {part}")
                job.log.info("part %d", part)
                await asyncio.sleep(0.2)
        elif act == "kill":
            self.world.crash(self)
            await asyncio.Event().wait()
        elif act == "follow" and self.service is not None:
            with suppress(BackroomError):
                await self.world.schedule_one(self, self.service, ["ok"])
        return {"n": job.data["n"]}


class Junk(msgspec.Struct):
    """What no job carries."""

    n: str


def _schedule(beat: Beat) -> Schedule:
    rule = Cron(beat.rule, beat.tz) if isinstance(beat.rule, str) else beat.rule
    data = {"n": 0, "acts": list(beat.acts)}
    return Schedule(rule, data=data, name=beat.name, missed=beat.missed, overlap=beat.overlap)


async def _junk(job: Job[Junk]) -> None:
    raise AssertionError("its data cannot be read")


class World:
    """Everything that a seed makes happen."""

    def __init__(self, loop: SimLoop, plan: Plan, backends: Backends) -> None:
        self.loop = loop
        self.plan = plan
        self.backends = backends
        self.chance = random.Random(plan.seed + 1)
        self.whim = random.Random(plan.seed + 3)
        """Of unique keys."""
        self.rule = random.Random(plan.seed + 5)
        """Of limits that operators put."""
        self.history = History(loop.time)
        self.clock = backends.own
        self.server = Server(self.history, self.clock, backends.run, self._next_number)
        self.network = Network(loop, plan.seed + 2, self.server, self.history, plan.weather)
        self.network.limited = plan.lanes or plan.operated
        self.network.operated = plan.operated
        self.processes: list[Process] = []
        self.runs: dict[int, int] = {}
        """How often each job's handler was called."""
        self.calm = False
        """All is well, but for what handlers do."""
        self.over = False
        self._jobs = 0
        self._names = 0
        self.final: dict[int, Outlook] = {}
        """How the jobs stand at the end."""
        self.flows: list[Kept] = []
        """The same of workflows."""
        self.limits: list[LimitInfo] = []
        """The same of limits."""
        self.timetable: dict[str, tuple[ScheduleRecord, list[Row]]] = {}
        """The same of schedules and their ticks."""
        self._known: list[str] = []
        self._producing: list[tuple[Machine, asyncio.Task[None]]] = []

    # -- processes -------------------------------------------------------------------------------

    def spawn(self, *, works: bool) -> Process:
        self._names += 1
        kind = "worker" if works else "client"
        process = Process(self, f"{kind}-{self._names}", works=works)
        self.processes.append(process)
        if works:
            self.loop.spawn(process.machine, process.live())
        return process

    def workers(self) -> list[Process]:
        return [one for one in self.processes if one.works and one.alive]

    def block(self, process: Process, seconds: float) -> None:
        process.machine.blocked_until = self.loop.time() + seconds
        self.history.note(process.name, "blocks its loop", seconds=seconds)

    # -- producers -------------------------------------------------------------------------------

    def let_produce(self, process: Process, service: JobService, count: int) -> None:
        self._let(process, self._produce(process, service, count))

    def _let(self, process: Process, main: Coroutine[Any, Any, None]) -> None:
        self._producing.append((process.machine, self.loop.spawn(process.machine, main)))

    def _is_produced(self) -> bool:
        return not any(machine.alive and not task.done() for machine, task in self._producing)

    async def _produce(self, process: Process, service: JobService, count: int) -> None:
        chance = self.chance
        for _ in range(count):
            await asyncio.sleep(chance.random() * self.plan.seconds / count)
            if self.calm:
                return
            with suppress(BackroomError, TimeoutError):
                if chance.random() < 0.2:
                    await self._schedule_many(process, service)
                    continue
                if self.plan.flows and chance.random() < 0.4:
                    await self._compose(process, service)
                    continue
                job_id = await self.schedule_one(process, service)
                if job_id is not None and chance.random() < 0.2:
                    await self._await_result(process, service, job_id)

    async def _flood(self, process: Process, service: JobService) -> None:
        while not self.calm:
            urgent = self._jobs > 8
            made = [
                self._note(process, ["ok"], "WORK", {
                    "priority": "critical" if urgent else "low", "queue": "default", "retries": 4,
                })
                for _ in range(8 if urgent else 2)
            ]  # fmt: skip
            with suppress(BackroomError):
                await service.schedule_many(
                    [JobRequest(type_, data, **options) for _, (type_, data), options in made]
                )
            await asyncio.sleep(0.4)

    async def _crowd(self, process: Process, service: JobService) -> None:
        """Many jobs of one lane, and now and then one of another."""
        many = 40
        while not self.calm:
            lanes = [0] * many + [1] * (self.chance.random() < 0.5)
            made = [self._note(process, ["ok"], "WORK", {"retries": 4}, lane) for lane in lanes]
            with suppress(BackroomError):
                await service.schedule_many(
                    [JobRequest(type_, data, **options) for _, (type_, data), options in made]
                )
            many = 8
            await asyncio.sleep(0.4)

    def _new(
        self, process: Process, acts: list[str] | None, *, of_flow: bool = False
    ) -> tuple[int, Any, dict[str, Any]]:
        chance, plan = self.chance, self.plan
        if acts is None:
            acts = [chance.choice(plan.acts) for _ in range(chance.randint(1, 3))] + ["ok"]
            if "kill" in plan.acts and chance.random() < 0.2:
                acts = ["kill"]  # It would kill for ever.
        options: dict[str, Any] = {
            "priority": chance.choice(("critical", "high", "normal", "normal", "low")),
            "queue": chance.choice(QUEUES),
            "retries": chance.choice((0, 1, 2, 4)),
        }
        if chance.random() < 0.2:
            options["delay"] = chance.choice((0.2, 1, 4))
        if chance.random() < 0.15:
            options["unique_key"] = f"key {chance.randint(1, 3)}"
        if chance.random() < 0.08:
            options["expires_in"] = chance.choice((0.1, 1, 5))
        if chance.random() < 0.3:
            options["timeout"] = chance.choice((0.3, 1, 8))
        if plan.unique:
            self._be_unique(options)
        if of_flow:
            self._refuse(options)
        return self._note(process, acts, chance.choice(TYPES), options)

    def _be_unique(self, options: dict[str, Any]) -> None:
        whim = self.whim
        if whim.random() < 0.5:
            key = options.pop("unique_key", None) or f"key {whim.randint(1, 3)}"
            held: dict[str, Any] = whim.choice(
                ({}, {"until": "start"}, {"until": "start"}, {"period": whim.choice((0.5, 3))})
            )
            how = whim.choice(("existing", "replace", "replace", "raise"))
            options["unique"] = Unique(key=key, on_conflict=how, **held)

    def _refuse(self, options: dict[str, Any]) -> None:
        """A workflow is refused as a whole where another job has a key of it. In worlds without
        many keys its jobs have none: most would be refused."""
        key, said = options.pop("unique_key", None), options.pop("unique", None)
        if self.plan.unique and (said is not None or key is not None):
            held = msgspec.structs.replace(said or Unique(key=key), on_conflict="raise")
            options["unique"] = held

    def _note(
        self,
        process: Process,
        acts: list[str],
        type_: str,
        options: dict[str, Any],
        lane: int | None = None,
    ) -> tuple[int, Any, dict[str, Any]]:
        n = self._next_number()
        data: dict[str, Any] = {"n": n, "acts": acts}
        if self.plan.lanes:
            data["lane"] = n % LANES if lane is None else lane
        self.history.note(
            process.name, "schedules", n, type=type_, acts=acts,
            **{name: value for name, value in options.items() if value != "normal"},
            **{name: data[name] for name in ("lane",) if name in data},
        )  # fmt: skip
        return n, (type_, data), options

    def _next_number(self) -> int:
        self._jobs += 1
        return self._jobs

    async def schedule_one(
        self, process: Process, service: JobService, acts: list[str] | None = None
    ) -> str | None:
        n, (type_, data), options = self._new(process, acts)
        try:
            job_id = await service.schedule(type_, data, **options)
        except BackroomError as error:
            self.history.note(process.name, "is not told", n, error=type(error).__name__)
            raise
        self._told(process, n, job_id)
        return job_id

    async def _schedule_many(self, process: Process, service: JobService) -> None:
        made = [self._new(process, None) for _ in range(self.chance.randint(2, 6))]
        requests = [JobRequest(type_, data, **options) for _, (type_, data), options in made]
        ids = await service.schedule_many(requests)
        for (n, _, _), job_id in zip(made, ids, strict=True):
            self._told(process, n, job_id)

    async def _compose(self, process: Process, service: JobService) -> None:
        """A workflow."""
        chance = self.chance
        made: list[tuple[int, FlowJob[Any]]] = []
        last, (type_, data), _ = self._note(process, ["ok"], "WORK", {})
        on_failure: OnFailure = chance.choice(("stop", "continue"))
        async with service.workflow(
            "flow", on_failure=on_failure, on_complete=JobRequest(type_, data)
        ) as flow:
            for _ in range(chance.randint(2, 5)):
                n, (type_, data), options = self._new(process, None, of_flow=True)
                after = [job for _, job in made if chance.random() < 0.5]
                made.append((n, flow.add(type_, data, after=after, **options)))
        for n, job in made:
            self._told(process, n, job.id)
        self.history.note(process.name, "is told", last, of=last)

    def _told(self, process: Process, n: int, job_id: str) -> None:
        self.history.note(process.name, "is told", n, of=self.server.ids.get(job_id))
        self._known.append(job_id)

    async def _await_result(self, process: Process, service: JobService, job_id: str) -> None:
        n = self.server.ids[job_id]
        try:
            await service.result(job_id, timeout=self.chance.choice((0.5, 5, 30)))
        except JobFailedError:
            self.history.note(process.name, "hears that it failed", n)
        else:
            self.history.note(process.name, "hears the result", n)

    async def _people(self, service: JobService) -> None:
        """Somebody at a terminal."""
        chance = self.chance
        while not self.calm:
            await asyncio.sleep(chance.random() * 1.5)
            with suppress(BackroomError):
                act = chance.choice(
                    ("cancel", "retry", "delete", "pause", "resume", "retry all", "look")
                )
                if act in ("cancel", "retry", "delete") and self._known:
                    await getattr(service, f"{act}_job")(chance.choice(self._known))
                elif act == "pause" and chance.random() < 0.5:
                    await service.pause_queue("mail")
                elif act == "resume":
                    await service.resume_queue("mail")
                elif act == "retry all":
                    await service.retry_jobs(status=chance.choice(("failed", "cancelled")))
                elif act == "look":
                    await service.get_stats()
                    await service.get_jobs(status=JobStatus.ACTIVE)

    async def _rule(self, process: Process, service: JobService) -> None:
        """An operator who limits queues, and lifts that, as many jobs of them have just come."""
        rule = self.rule
        while not self.calm:
            queue, most = rule.choice(QUEUES), rule.choice((1, 1, 2, 4, None))
            made = [
                self._note(process, [rule.choice(("ok", "ok", "slow"))], "WORK", {
                    "queue": queue, "retries": 4,
                })
                for _ in range(rule.choice((0, 5, 12)))
            ]  # fmt: skip
            with suppress(BackroomError):
                await service.schedule_many(
                    [JobRequest(type_, data, **options) for _, (type_, data), options in made]
                )
            await asyncio.sleep(rule.choice((0.01, 0.1, 0.5)))
            with suppress(BackroomError):
                await service.limit_queue(queue, most)
            await asyncio.sleep(rule.random() * 4)

    async def _meddle(self, service: JobService) -> None:
        """Somebody who pauses schedules, and resumes them."""
        chance = self.chance
        while not self.calm:
            await asyncio.sleep(chance.random() * 0.5)
            name = chance.choice(self.plan.beats).name
            with suppress(BackroomError):
                await chance.choice((service.pause_schedule, service.resume_schedule))(name)

    # -- what befalls them -----------------------------------------------------------------------

    async def nemesis(self) -> None:
        """One trouble after the other."""
        chance, plan = self.chance, self.plan
        kinds = sorted(plan.troubles & {"crash", "stop", "term", "cut", "clock", "kill at once"})
        while not self.calm and kinds:
            await asyncio.sleep(chance.random() * 2)
            victims = [one for one in self.processes if one.alive]
            if self.calm or not victims:
                continue
            self._befall(chance.choice(kinds), chance.choice(victims))

    def _befall(self, kind: str, one: Process) -> None:
        chance, loop = self.chance, self.loop
        if kind == "crash":
            self.crash(one)
        elif kind == "kill at once":
            for worker in self.workers():
                self.crash(worker)
        elif kind == "stop":
            seconds = chance.choice((0.3, 1, 3)) * self.plan.lease
            one.machine.stopped_until = loop.time() + seconds
            self.history.note(one.name, "stands still", seconds=seconds)
        elif kind == "term" and one.works:
            one.grace = chance.choice((0, 1, 5))
            self.history.note(one.name, "is told to stop", grace=one.grace)
            self.loop.call_soon(one.told.set, context=one.machine.context.copy())
            self._replace()
        elif kind == "cut":
            one.remote.cut_until = loop.time() + chance.choice((0.2, 1, 2)) * self.plan.lease
        elif kind == "clock":
            step = chance.choice((-3600.0, 3600.0, -5.0, 5.0)) if not one.clock.wrong else 0.0
            one.clock.wrong = step
            self.history.note(one.name, "sets its clock", wrong=step)

    def crash(self, one: Process) -> None:
        self.history.note(one.name, "crashes")
        self.loop.crash(one.machine)
        self.backends.crashed(one.backend)
        if one.works:
            self._replace()
        else:
            self.loop.call_later(1.0, self._client, context=Context())

    def _replace(self) -> None:
        self.loop.spawn(None, self._respawn())

    async def _respawn(self) -> None:
        await asyncio.sleep(self.chance.random() * 2)
        if not self.over:
            self.spawn(works=True)

    def _client(self) -> None:
        if not self.calm:
            process = self.spawn(works=False)
            process.service = service = process.make_service()
            if self.plan.crowd:
                self._let(process, self._crowd(process, service))
            else:
                self.let_produce(process, service, self.plan.jobs)

    # -- from the beginning to the end -----------------------------------------------------------

    async def run(self) -> None:
        """Trouble, then calm, until every job has ended; then all processes stop."""
        plan = self.plan
        for _ in range(plan.workers):
            self.spawn(works=True)
        for _ in range(plan.producers):
            self._client()
        if plan.flood:
            process = self.spawn(works=False)
            process.service = process.make_service()
            self._let(process, self._flood(process, process.service))
        if "people" in plan.troubles:
            process = self.spawn(works=False)
            process.service = process.make_service()
            self._let(process, self._people(process.service))
            if plan.beats:
                self._let(process, self._meddle(process.service))
            if plan.operated:
                self._let(process, self._rule(process, process.service))
        self.loop.spawn(None, self.nemesis())
        await asyncio.sleep(plan.seconds)
        await self._calm_down()
        await self._until_all_ended()
        await self._stop_all()

    async def _calm_down(self) -> None:
        self.calm = True
        self.history.note("world", "calm")
        self.network.calm()
        for one in self.processes:
            one.remote.cut_until = 0.0
            one.clock.wrong = LATER_BY
            if one.machine.stopped_until > self.loop.time():
                one.machine.stopped_until = self.loop.time()
        self.clock.wrong = LATER_BY
        helper = self.spawn(works=True)
        while not helper.started:
            await asyncio.sleep(0.1)

    async def _until_all_ended(self) -> None:
        # What was said before may still be on its way, or be said a second time.
        await asyncio.sleep(
            4 * max(self.plan.weather.slowest if self.plan.weather.slow else 0, 0.1)
        )
        until = self.loop.time() + PATIENCE
        people = self.spawn(works=False)
        service = people.make_service()
        lasting = self.rule.choice((None, 3, 5))
        if self.plan.beats:
            await self._end_schedules(people, service)
        while self.loop.time() < until:
            stand = self.server.outlooks(people.backend).values()
            if self._is_produced() and all(outlook.status.terminal for outlook in stand):
                if self.plan.operated:  # What was counted as limits came, and ended unheard.
                    await asyncio.sleep(HEARD)
                return
            for queue in QUEUES:  # Again and again: what people said may arrive late.
                await service.resume_queue(queue)
                if self.plan.operated:
                    await service.limit_queue(queue, lasting)
            await asyncio.sleep(1)

    async def _end_schedules(self, people: Process, service: JobService) -> None:
        """Each goes on until it has decided what had come when all became well; then it is paused,
        or there would be no end."""
        now = self.clock.now()
        until = self.loop.time() + PATIENCE
        names = [beat.name for beat in self.plan.beats]
        while names and self.loop.time() < until:
            for name in names:  # What people said before may arrive late.
                await service.resume_schedule(name)
            await asyncio.sleep(1)
            kept = [record for record, _ in self.server.timetable(people.backend).values()]
            names = [one.name for one in kept if one.paused or (one.next_at or 0) <= now]
        if names:
            self.history.note("world", "stand still", names=names)
        for beat in self.plan.beats:
            await service.pause_schedule(beat.name)

    async def _stop_all(self) -> None:
        self.over = True
        for one in self.processes:
            if one.works and one.alive:
                self.history.note(one.name, "is told to stop", grace=5)
                one.grace = 5
                self.loop.call_soon(one.told.set, context=one.machine.context.copy())
        until = self.loop.time() + 60
        while self.workers() and self.loop.time() < until:
            await asyncio.sleep(0.1)


def run_world(plan: Plan, make_backends: Callable[[SimLoop], Backends] = Memory) -> World:
    """Runs a world to its end. What the engine logs on the way is not printed."""
    random.seed(plan.seed)
    chance = random.Random(plan.seed + 4)
    scheduling.JobIds = lambda: JobIds(chance.randbytes)  # type: ignore[assignment, misc]
    loop = SimLoop(plan.seed)
    backends = make_backends(loop)
    level = logging.getLogger("backroom").level
    logging.getLogger("backroom").setLevel(logging.CRITICAL + 1)
    try:
        world = World(loop, plan, backends)
        loop.run(world.run())
        backend = world.processes[-1].backend
        world.final = world.server.outlooks(backend)
        world.server.count(backend)
        world.flows = world.server.flows(backend)
        world.limits = world.server.limits(backend)
        if plan.beats:
            world.timetable = world.server.timetable(backend)
        return world
    finally:
        scheduling.JobIds = JobIds  # type: ignore[misc]
        logging.getLogger("backroom").setLevel(level)
        backends.close()
