"""Schedules, their next runs and what became of their ticks."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from backroom.schedule import Missed, Overlap, ScheduleInfo
from backroom.web.access import Role
from backroom.web.answering import Answer
from backroom.web.call import Call
from backroom.web.filters import ListPage
from backroom.web.looking import TickList
from backroom.web.route import Route

__all__ = ["routes"]


class ChangeSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes; what is not said stays as it is."""

    cron: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    every: Annotated[float, msgspec.Meta(ge=1, description="Seconds.")] | None = None
    tz: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    missed: Missed | None = None
    overlap: Overlap | None = None
    jitter: Annotated[float, msgspec.Meta(ge=0, description="Seconds.")] | None = None


class Ran(msgspec.Struct, frozen=True):
    """The job that was made."""

    id: str


async def list_schedules(call: Call) -> tuple[ScheduleInfo, ...]:
    """All schedules, by name."""
    return await call.looking.schedules()


async def get_schedule(call: Call) -> ScheduleInfo:
    """One schedule, with its next runs."""
    return await call.looking.schedule(call.params["name"])


async def list_ticks(call: Call) -> TickList:
    """What became of its ticks, newest first."""
    query: ListPage = call.query
    return await call.looking.ticks(call.params["name"], limit=query.limit, cursor=query.cursor)


async def pause_schedule(call: Call) -> ScheduleInfo:
    """None of its ticks fires until it is resumed."""
    await call.operations.pause_schedule(call.params["name"])
    return await call.looking.schedule(call.params["name"])


async def resume_schedule(call: Call) -> ScheduleInfo:
    """Ends a pause. The ticks that came meanwhile do not fire."""
    await call.operations.resume_schedule(call.params["name"])
    return await call.looking.schedule(call.params["name"])


async def run_schedule(call: Call) -> Answer:
    """Makes a job of it now, beside its ticks."""
    job_id = await call.operations.run_schedule(call.params["name"])
    return Answer(Ran(job_id), 201, {"Location": call.url(f"/api/v1/jobs/{job_id}")})


async def change_schedule(call: Call) -> ScheduleInfo:
    """Changes when it ticks."""
    body: ChangeSchedule = call.body
    changes: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(body).items() if value is not None
    }
    await call.operations.change_schedule(call.params["name"], **changes)
    return await call.looking.schedule(call.params["name"])


async def delete_schedule(call: Call) -> None:
    """Forgets a schedule and its ticks; its jobs stay."""
    await call.operations.delete_schedule(call.params["name"])


def routes() -> list[Route]:
    one = "/api/v1/schedules/{name:path}"
    return [
        Route("GET", "/api/v1/schedules", Role.READ, list_schedules,
              returns=tuple[ScheduleInfo, ...], tag="schedules"),
        Route("GET", f"{one}/ticks", Role.READ, list_ticks, query=ListPage, returns=TickList,
              tag="schedules"),
        Route("GET", one, Role.READ, get_schedule, returns=ScheduleInfo, tag="schedules"),
        Route("POST", f"{one}/pause", Role.OPERATE, pause_schedule, returns=ScheduleInfo,
              tag="schedules"),
        Route("POST", f"{one}/resume", Role.OPERATE, resume_schedule, returns=ScheduleInfo,
              tag="schedules"),
        Route("POST", f"{one}/run", Role.OPERATE, run_schedule, returns=Ran, statuses=(201,),
              tag="schedules"),
        Route("POST", f"{one}/change", Role.ADMIN, change_schedule, body=ChangeSchedule,
              returns=ScheduleInfo, tag="schedules"),
        Route("DELETE", one, Role.ADMIN, delete_schedule, tag="schedules"),
    ]  # fmt: skip
