"""Many jobs by a filter: count them, change them behind the answer, and watch that."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from backroom.errors import OptionError
from backroom.job import JobStatus, Priority
from backroom.stats import Count
from backroom.web.access import Role
from backroom.web.answering import Answer
from backroom.web.bulk import Operation
from backroom.web.call import Call
from backroom.web.filters import JobFilter, JobKey, Moment
from backroom.web.operations import BulkVerb
from backroom.web.problem import Problem
from backroom.web.route import Route

__all__ = ["begin", "routes", "shown"]


class ChangeJobs(JobFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be done, with which jobs."""

    verb: BulkVerb
    ids: list[JobKey] | None = None
    """In the place of a filter: up to 1,000 jobs, one by one."""
    run_at: Moment | None = None
    """To reschedule: when they are to run."""
    delay: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """To reschedule: so many seconds from now."""
    to_priority: Priority | None = None
    """To reprioritize: in which one they are to wait."""


async def preview(call: Call) -> Count:
    """How many jobs it would be."""
    query: JobFilter = call.query
    return await call.looking.count(**query.said())


async def change_jobs(call: Call) -> Answer:
    """Retries, cancels, deletes, reschedules or reprioritizes all jobs that match, or those with
    these ids, behind this answer: ask for the operation
    to see how far it is. Jobs that are made after this moment are left alone."""
    operation = await begin(call, call.body)
    return Answer(operation, 202, {"Location": call.url(f"/api/v1/operations/{operation.id}")})


async def begin(call: Call, form: ChangeJobs) -> Operation:
    """The same, for the pages too.

    Raises:
        Problem: 403, this one may not; 503, too many run. OptionError: no filter, or one that makes
            no sense with this verb.
    """
    said = {"run_at": form.run_at, "delay": form.delay, "priority": form.to_priority}
    said = {name: value for name, value in said.items() if value is not None}
    odd = [_NAMES.get(name, name) for name in said if name not in _SAID.get(form.verb, ())]
    if odd:
        raise OptionError(f"{form.verb} takes no {' and no '.join(odd)}", odd[0])
    if form.verb == "reprioritize" and not said:
        raise OptionError(
            "reprioritize needs to_priority: in which one they are to wait", "to_priority"
        )
    if form.verb == "delete" and not call.may(Role.ADMIN):
        raise Problem(403, "role", "deleting jobs needs the role admin", at="body.verb")
    which = form.said()
    if form.ids is not None:
        if which:
            raise OptionError(f"{form.verb} takes ids or a filter, not both", "ids")
        if not form.ids:
            raise OptionError(f"{form.verb} needs ids of at least one job", "ids")
        which, count = {"ids": form.ids}, Count(len(form.ids), True)
    elif not which:
        raise OptionError(f"{form.verb} needs a filter: say which jobs, for example by status")
    else:
        if form.verb == "retry":
            which = {"status": JobStatus.FAILED, **which}
        count = await call.looking.count(**which)
    return await call.house.bulk.begin(
        call.operations, call.who.name, form.verb, which, count, **said
    )


_SAID: Final = {
    "reschedule": frozenset({"run_at", "delay"}), "reprioritize": frozenset({"priority"}),
}  # fmt: skip
_NAMES: Final = {"priority": "to_priority"}


async def list_operations(call: Call) -> tuple[Operation, ...]:
    """Those that this process runs, or ran, newest first."""
    return tuple(shown(call, one) for one in call.house.bulk.all())


async def get_operation(call: Call) -> Operation:
    """How far one of them is."""
    return shown(call, call.house.bulk.find(call.params["id"]))


async def stop_operation(call: Call) -> Operation:
    """Ends one of them; what was done stands."""
    return shown(call, await call.house.bulk.stop(call.params["id"], call.who.name))


def shown(call: Call, one: Operation) -> Operation:
    """As this one may see it."""
    return msgspec.structs.replace(one, which=call.house.redaction.said(one.which, call.who))


def routes() -> list[Route]:
    one = "/api/v1/operations/{id}"
    return [
        Route("GET", "/api/v1/jobs/count", Role.READ, preview, query=JobFilter, returns=Count,
              tag="jobs"),
        Route("POST", "/api/v1/operations", Role.OPERATE, change_jobs, body=ChangeJobs,
              returns=Operation, statuses=(202,), tag="operations"),
        Route("GET", "/api/v1/operations", Role.READ, list_operations,
              returns=tuple[Operation, ...], tag="operations"),
        Route("GET", one, Role.READ, get_operation, returns=Operation, tag="operations"),
        Route("POST", f"{one}/stop", Role.OPERATE, stop_operation, returns=Operation,
              tag="operations"),
    ]  # fmt: skip
