"""One job: what happened to it, why, and what can be done about it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from starlette.responses import Response

from backroom.errors import OptionError, WorkflowNotFoundError
from backroom.flow import WorkflowInfo
from backroom.job import PRIORITIES, JobInfo, JobStatus, Priority
from backroom.web.call import Call
from backroom.web.pages import graph, timeline, tracebacks
from backroom.web.pages.asking import ask_to_delete
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, refusal_of, said_of
from backroom.web.problem import Problem
from backroom.web.reading import read_fields, read_value

__all__ = [
    "PriorityForm", "RescheduleForm", "RetryForm", "SignalForm", "cancel", "copy",
    "delete", "job", "reprioritize", "reschedule", "retry", "signal", "signals_of",
]  # fmt: skip


class RetryForm(msgspec.Struct, forbid_unknown_fields=True):
    from_step: int | None = None


class RescheduleForm(msgspec.Struct, forbid_unknown_fields=True):
    delay: str = ""
    """Seconds from now; text until it is read, so that it can be shown again."""


class PriorityForm(msgspec.Struct, forbid_unknown_fields=True):
    priority: Priority


class SignalForm(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    value: str = ""
    """JSON; empty: null."""


class _Delay(msgspec.Struct):
    delay: float


class Typed(msgspec.Struct, frozen=True):
    """What was typed into the form of a verb, and not taken."""

    verb: str
    form: Any


class Extra(msgspec.Struct, frozen=True):
    """What is done by a form of its own."""

    verb: str
    label: str


LOG_LINES: Final = 200
"""Of the log, the last ones that are shown; the API has all of them."""
LOG_CHARACTERS: Final = 1000
"""Of each of them."""
_REFUSED: Final = (OptionError, Problem)
WAITING: Final = (JobStatus.SCHEDULED, JobStatus.PENDING, JobStatus.BLOCKED)
EXTRAS: Final = (Extra("reschedule", "Reschedule"), Extra("priority", "Priority"))
SIGNAL: Final = Extra("signal", "Send a signal")


async def job(call: Call) -> Response:
    """The page of one job."""
    query: Asked = call.query
    return await _shown(call, said=said_of(query))


async def _again(call: Call, verb: str, error: OptionError | Problem) -> Response:
    """The page with the form as it was typed, and with what was wrong in it."""
    return await _shown(call, Typed(verb, call.body), said=refusal_of(error), status=422, events="")


async def _shown(call: Call, typed: Typed | None = None, **said: Any) -> Response:
    info = await call.looking.job(call.params["id"])
    stats = await call.looking.stats()
    flow = await _flow(call, info)
    failure = info.errors[-1] if info.errors and info.status is not JobStatus.COMPLETED else None
    trace = tracebacks.frames(failure.traceback) if failure and failure.traceback else []
    signals = signals_of(info)
    lanes = timeline.lanes(info, datetime.now(UTC), await _running_since(call, info))
    # A page of much text takes a while to make; others are answered meanwhile.
    return await asyncio.to_thread(
        page,
        call,
        "job.html",
        "jobs",
        stats=stats,
        **{"events": f"/api/v1/jobs/{info.id}/events", **said},
        job=info,
        typed=typed,
        failure=failure,
        trace=trace,
        lanes=lanes,
        axis=timeline.ends(lanes),
        drawn={span.kind for lane in lanes for span in lane.spans},
        flow=flow,
        graph=graph.draw(flow.jobs) if flow and 1 < len(flow.jobs) <= graph.MOST else None,
        extras=_extras(info, signals, typed),
        signals=signals,
        priorities=PRIORITIES,
        can_copy=True,
        log_lines=LOG_LINES,
        log_characters=LOG_CHARACTERS,
    )


def _extras(info: JobInfo, signals: Sequence[str], typed: Typed | None) -> list[Extra]:
    """Those that make sense with it, and the one of which the form is to be mended."""
    found = [*(EXTRAS if info.status in WAITING else ()), *([SIGNAL] if signals else ())]
    if typed is not None and typed.verb == SIGNAL.verb and SIGNAL not in found:
        found.append(SIGNAL)
    return found


def signals_of(info: JobInfo) -> list[str]:
    """The names of signals that it is known to take, first that for which it waits; none of a job
    that has ended."""
    if info.status.terminal:
        return []
    waits = info.waits_for
    steps = (step for step in (*([waits] if waits else []), *info.steps) if step.kind == "signal")
    return list(dict.fromkeys([*(one.name for one in steps), *(one.name for one in info.signals)]))


async def _running_since(call: Call, info: JobInfo) -> datetime | None:
    """When the attempt that runs now began, as its worker has told; None: it has not."""
    if info.status is not JobStatus.ACTIVE:
        return None
    for worker in await call.service.get_workers():
        for one in worker.report.running if worker.report else ():
            if one.id == info.id and one.attempt == info.attempt:
                return one.since
    return None


async def _flow(call: Call, info: JobInfo) -> WorkflowInfo | None:
    if info.workflow is None:
        return None
    try:
        return await call.looking.workflow(info.workflow)
    except WorkflowNotFoundError:
        return None  # Removed since, or on its way to another store: the job is shown without.


async def retry(call: Call) -> Response:
    """Runs it again, or now."""
    id_ = call.params["id"]
    await call.operations.retry_job(id_, from_step=call.body.from_step)
    return call.redirect(f"/jobs/{id_}", did="retried")


async def cancel(call: Call) -> Response:
    """Cancels it, or asks its handler to stop."""
    id_ = call.params["id"]
    status = await call.operations.cancel_job(id_)
    did = {
        JobStatus.ACTIVE: "asked-to-cancel",
        JobStatus.CANCELLED: "cancelled",
    }.get(status, "ended-before")
    return call.redirect(f"/jobs/{id_}", did=did)


async def reschedule(call: Call) -> Response:
    """Gives it another moment."""
    id_ = call.params["id"]
    try:
        delay = read_fields({"delay": call.body.delay or None}, _Delay).delay
        await call.operations.reschedule_job(id_, delay=delay)
    except _REFUSED as error:
        return await _again(call, "reschedule", error)
    return call.redirect(f"/jobs/{id_}", did="rescheduled")


async def reprioritize(call: Call) -> Response:
    """Gives it another priority."""
    id_ = call.params["id"]
    await call.operations.reprioritize_job(id_, call.body.priority)
    return call.redirect(f"/jobs/{id_}", did="reprioritized")


async def signal(call: Call) -> Response:
    """Sends it a value that its handler waits for."""
    id_, form = call.params["id"], call.body
    try:
        value = read_value(form.value, call.house.bounds.depth, "body.value")
        await call.operations.signal_job(id_, form.name, value)
    except _REFUSED as error:
        return await _again(call, "signal", error)
    return call.redirect(f"/jobs/{id_}", did="signalled")


async def copy(call: Call) -> Response:
    """Makes a new job with the same data and options."""
    made = await call.operations.copy_job(call.params["id"])
    return call.redirect(f"/jobs/{made}", did="copied")


async def delete(call: Call) -> Response:
    """Forgets it, once that was asked."""
    id_ = call.params["id"]
    if not call.body.confirmed:
        info = await call.looking.job(id_)
        return ask_to_delete(
            call, "jobs", f"Delete this job of the type {info.type}?",
            f"{id_}, with all that is kept of it.", f"/jobs/{id_}",
        )  # fmt: skip
    await call.operations.delete_job(call.params["id"])
    return call.redirect("/jobs", did="deleted")
