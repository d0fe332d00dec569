"""Schedules: when they tick, what became of their ticks, and one job of them now."""

from __future__ import annotations

from starlette.responses import Response

from backroom.web.call import Call
from backroom.web.pages.asking import ask_to_delete
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of
from backroom.web.pages.texts import urlpart

__all__ = ["ScheduleQuery", "delete", "pause", "resume", "run", "schedule", "schedules"]

TICKS = 50
"""On one page."""


class ScheduleQuery(Asked, kw_only=True, forbid_unknown_fields=True):
    cursor: str | None = None


async def schedules(call: Call) -> Response:
    """All schedules."""
    query: Asked = call.query
    return page(
        call,
        "schedules.html",
        "schedules",
        stats=await call.looking.stats(),
        said=said_of(query),
        schedules=await call.looking.schedules(),
    )


async def schedule(call: Call) -> Response:
    """One of them, and its ticks."""
    query: ScheduleQuery = call.query
    one = await call.looking.schedule(call.params["name"])
    ticks = await call.looking.ticks(one.name, limit=TICKS, cursor=query.cursor)
    return page(
        call,
        "schedule.html",
        "schedules",
        stats=await call.looking.stats(),
        said=said_of(query),
        one=one,
        ticks=ticks.ticks,
        next=ticks.cursor,
        cursor=query.cursor,
    )


async def run(call: Call) -> Response:
    """Makes a job of it now."""
    job_id = await call.operations.run_schedule(call.params["name"])
    return call.redirect(f"/jobs/{job_id}", did="schedule-run")


async def pause(call: Call) -> Response:
    """None of its ticks fires until it is resumed."""
    await call.operations.pause_schedule(call.params["name"])
    return call.redirect("/schedules", did="schedule-paused")


async def resume(call: Call) -> Response:
    """Ends that."""
    await call.operations.resume_schedule(call.params["name"])
    return call.redirect("/schedules", did="schedule-resumed")


async def delete(call: Call) -> Response:
    """Forgets it, once that was asked; its jobs stay."""
    name = call.params["name"]
    if not call.body.confirmed:
        one = await call.looking.schedule(name)
        return ask_to_delete(
            call, "schedules", f"Delete the schedule {one.name}?",
            "It ticks no more. Its jobs stay.", f"/schedules/{urlpart(name)}",
        )  # fmt: skip
    await call.operations.delete_schedule(name)
    return call.redirect("/schedules", did="schedule-deleted")
