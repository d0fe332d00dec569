"""Workers: who lives, what they run right now, and since when; drain one."""

from __future__ import annotations

from datetime import datetime

import msgspec

from backroom.crew import WorkerInfo
from backroom.errors import WorkerNotFoundError
from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.route import Route

__all__ = ["routes"]


class RunningJob(msgspec.Struct, frozen=True):
    """An attempt that runs now."""

    id: str
    type: str
    queue: str
    attempt: int
    since: datetime


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """One worker that has not ended."""

    id: int
    name: str
    """host:pid."""
    started_at: datetime
    alive: bool
    """False: it is gone, and what it holds is about to be taken back."""
    draining: bool
    """It claims nothing, since it was asked to."""
    claimed: int
    """Jobs it holds, those that have not begun included."""
    told_at: datetime | None = None
    """When it last told of itself; null: not yet, and all that follows is not known."""
    host: str | None = None
    pid: int | None = None
    memory: int | None = None
    """Bytes that its process holds."""
    concurrency: int | None = None
    queues: str | None = None
    """Which it serves, for people."""
    running: tuple[RunningJob, ...] = ()
    """The 100 that have run longest."""
    active: int | None = None
    """How many run."""


async def list_workers(call: Call) -> tuple[Worker, ...]:
    """Every worker that has not ended, and what it last told of itself."""
    return tuple(_told(worker) for worker in await call.service.get_workers())


async def get_worker(call: Call) -> Worker:
    """One worker."""
    wanted = _number(call)
    for worker in await call.service.get_workers():
        if worker.id == wanted:
            return _told(worker)
    raise _nobody(call)


async def drain_worker(call: Call) -> None:
    """It claims nothing any more; what it runs goes on to its end."""
    await call.operations.drain_worker(_number(call), True)


async def resume_worker(call: Call) -> None:
    """It claims again."""
    await call.operations.drain_worker(_number(call), False)


def _number(call: Call) -> int:
    text = call.params["id"]
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) == 0:
        raise _nobody(call)
    return int(text)


def _nobody(call: Call) -> WorkerNotFoundError:
    return WorkerNotFoundError(f"no worker with the id {call.params['id'][:100]!r} lives")


def _told(worker: WorkerInfo) -> Worker:
    report = worker.report
    own = Worker(
        id=worker.id, name=worker.name, started_at=worker.started_at, alive=worker.alive,
        draining=worker.draining, claimed=worker.claimed,
    )  # fmt: skip
    if report is None:
        return own
    return msgspec.structs.replace(
        own,
        told_at=report.at,
        host=report.host,
        pid=report.pid,
        memory=report.memory,
        concurrency=report.concurrency,
        queues=report.queues,
        running=tuple(
            RunningJob(one.id, one.type, one.queue, one.attempt, one.since)
            for one in report.running
        ),
        active=report.active,
    )


def routes() -> list[Route]:
    one = "/api/v1/workers/{id}"
    return [
        Route("GET", "/api/v1/workers", Role.READ, list_workers, returns=tuple[Worker, ...],
              tag="workers"),
        Route("GET", one, Role.READ, get_worker, returns=Worker, tag="workers"),
        Route("POST", f"{one}/drain", Role.OPERATE, drain_worker, tag="workers"),
        Route("POST", f"{one}/resume", Role.OPERATE, resume_worker, tag="workers"),
    ]  # fmt: skip
