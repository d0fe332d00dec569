"""Moves that are killed: `python -m tests.process.mover SOURCE TARGET HOW`. Prints one line for
each move that was killed and ended by another one, and fails where a job was lost or doubled.

Each move runs in a forked child of its own; this process has opened no store.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from itertools import pairwise
from typing import Any, cast

from backroom import DatabaseJobStorage, FileJobStorage, moving
from backroom.baggage import Baggage
from backroom.flow import FlowRecord, FlowView, Member, Piece
from backroom.flowing import Flowing
from backroom.identity import JobIds
from backroom.inspecting import Filter
from backroom.job import SECOND, JobRecord
from backroom.moving import Move
from backroom.planning import Planning
from backroom.ports import House, Want, WorkerSpec
from backroom.schedule import ScheduleRecord
from backroom.tie import tied

JOBS = 15
PARCEL = 10
SCHEDULES = 2
FLOW = 6
EDGES = 3
VERBS = (
    "pack", "unpack", "unload", "pack_schedules", "unpack_schedules", "pack_flows", "pack_edges",
    "pack_members", "unpack_edges", "unpack_flows",
)  # fmt: skip


def house(url: str) -> House:
    if url.startswith("file:"):
        return FileJobStorage(url.removeprefix("file:"), durability="os")
    return DatabaseJobStorage(url)


def counting(house: House, step: Callable[[], None]) -> House:
    """`step` is called after each verb that changes something on the way: what is kept then is what
    is kept before the next one."""

    def counted(verb: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            answer = await verb(*arguments)
            step()
            return answer

        return call

    for name in VERBS:
        setattr(house, name, counted(getattr(house, name)))
    return house


async def at(source: str, target: str, work: Callable[[House, House], Awaitable[None]]) -> None:
    houses = [house(source), house(target)]
    for one in houses:
        await one.open()
    await work(*houses)
    for one in houses:
        await one.close()


async def fill(source: House, target: House) -> None:
    """Half of them with keys; those that were there go."""
    for one in (source, target):
        while jobs := (await one.copies(None, 1000, True))[0]:
            for job in jobs:
                await one.delete(job.id)
        for flow in await flowing(one).flows(1000, None):
            await flowing(one).cancel_flow(flow.record.id, one.clock.now())
        await one.delete(Filter())
        for schedule in await planning(one).schedules():
            await planning(one).drop_schedule(schedule.name)
    now, ids = source.clock.now(), JobIds()
    await source.insert(
        [
            JobRecord(
                ids(now), "NOTHING", "default", n % 4, now + n * SECOND, now, f'{{"n":{n}}}',
                unique_key=f"key {n}" if n % 2 else None,
            )
            for n in range(JOBS)
        ],
        now,
    )  # fmt: skip

    flow = ids(now)
    members = [
        Member(JobRecord(ids(now), "STEP", "flow", 2, now, now, f'{{"m":{n}}}',
                         options=tied(None, workflow=flow)))
        for n in range(FLOW)
    ]  # fmt: skip
    edges = [(one.record.id, other.record.id) for one, other in pairwise(members)]
    await flowing(source).insert_flow(
        FlowRecord(flow, "chain", "workflow", "stop", now), Piece(members, edges), now
    )
    for n in range(SCHEDULES):
        await planning(source).put_schedule(
            ScheduleRecord(
                name=f"s{n}", rule="@daily", tz="UTC", type="NOTHING", queue="default", priority=2,
                data="{}", created_at=now, next_at=now + n,
            )
        )  # fmt: skip


def planning(house: House) -> Planning:
    return cast(Planning, house)


def flowing(house: House) -> Flowing:
    return cast(Flowing, house)


async def check(source: House, target: House, whole: bool) -> None:
    """No job is at both places, none twice; and if the move is over, all are in the target."""
    here, there = await everything(source), await everything(target)
    ids = Counter(job.id for job in (*here, *there))
    assert not ids or max(ids.values()) == 1, "a job is there twice"
    left = [one.name for one in await planning(source).schedules()]
    came = [one.name for one in await planning(target).schedules()]
    assert not set(left) & set(came), "a schedule is at both places"
    mine, theirs = await chain(source), await chain(target)
    assert not (mine and theirs), "a workflow is at both places"
    for one, flow in ((source, mine), (target, theirs)):
        first = flow.jobs[0][0] if flow else None
        assert await runnable(one) == ([] if first is None else [first]), "it runs on the way"
    if whole:
        assert theirs is not None, "a workflow was left behind"
        jobs = [id_ for id_, *_ in theirs.jobs]
        assert len(jobs) == FLOW
        assert list(theirs.edges) == list(pairwise(jobs))
        assert theirs.kept.counts.left == FLOW
        assert not here, "something was left behind"
        assert not left, "a schedule was left behind"
        assert came == [f"s{n}" for n in range(SCHEDULES)], came
        assert await source.parcel() is None, "a parcel was left behind"
        assert sorted(job.data for job in there) == sorted(f'{{"n":{n}}}' for n in range(JOBS))


async def chain(house: House) -> FlowView | None:
    """The one that is not empty."""
    for flow in await flowing(house).flows(1000, None):
        view = await flowing(house).flow(flow.record.id, house.clock.now(), 100)
        if view is not None and view.jobs:
            return view
    return None


async def runnable(house: House) -> list[str]:
    """The jobs of workflows that a worker gets."""
    worker = (await house.enlist(WorkerSpec("looks", 30.0))).worker
    want = Want(("flow",), (), (100, 100, 100, 100))
    claims = (await house.claim(worker, want, house.clock.now())).claims
    await house.retire(worker)
    return [claim.id for claim in claims]


async def everything(house: House) -> list[Baggage]:
    jobs, after = list[Baggage](), None
    while True:
        some, after = await house.copies(after, 1000, True)
        jobs += some
        if after is None:
            return jobs


def in_child(work: Coroutine[Any, Any, None], kill_after: float | None = None) -> int:
    """Its signal or exit code, as `Popen.returncode`."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            asyncio.run(work)
            code = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    work.close()
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def must(work: Coroutine[Any, Any, None]) -> None:
    if in_child(work):
        sys.exit("a child failed; what it said is above")


async def killed_at(source: str, target: str, last: int, *, filled: bool = False) -> None:
    """A move that kills itself at its step of this number; of jobs that it makes itself, if they
    are not there."""
    steps = iter(range(1_000_000))

    def step() -> None:
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    async def work(one: House, other: House) -> None:
        if not filled:
            await fill(one, other)
        step()
        await Move(counting(one, step), counting(other, step)).run()

    await at(source, target, work)


def round_of(source: str, target: str, killed: Callable[[], int]) -> int:
    """One move that is killed, and then ended by another one; how the first one ended."""
    code = killed()

    async def end(one: House, other: House) -> None:
        await check(one, other, whole=code == 0)
        if code:
            await Move(one, other).run()
            await check(one, other, whole=True)

    must(at(source, target, end))
    return code


def killed_at_step(source: str, target: str, step: int) -> int:
    return in_child(killed_at(source, target, step))


def killed_after(source: str, target: str, seconds: float) -> int:
    must(at(source, target, fill))
    return in_child(killed_at(source, target, -1, filled=True), seconds)


def main(source: str, target: str, how: str) -> None:
    moving.PARCEL = PARCEL  # type: ignore[misc]
    moving.EDGES = EDGES  # type: ignore[misc]
    if how == "steps":
        for step in range(100):
            code = round_of(source, target, partial(killed_at_step, source, target, step))
            print(f"step {step}: {code}", flush=True)
            if code == 0:
                return
            assert code == -signal.SIGKILL, code
    began = time.monotonic()
    must(killed_at(source, target, -1))
    longest = time.monotonic() - began
    for n in range(int(how)):
        after = random.uniform(0, 1.5 * longest)
        code = round_of(source, target, partial(killed_after, source, target, after))
        print(f"round {n}: {code} after {after:.3f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
