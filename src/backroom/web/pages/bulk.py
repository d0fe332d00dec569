"""All jobs that match: what would be done, doing it, and how far it is."""

from __future__ import annotations

from starlette.responses import Response

from backroom.job import PRIORITIES
from backroom.secret import HIDDEN
from backroom.web.api.bulk import ChangeJobs, begin, shown
from backroom.web.bulk import BulkVerb
from backroom.web.call import Call
from backroom.web.filters import JobFilter
from backroom.web.pages.jobs import query_of
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of
from backroom.web.pages.verbs import VERBS
from backroom.web.problem import Problem

__all__ = ["ChangeJobs", "Preview", "change", "operation", "preview", "stop"]


class Preview(JobFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    verb: BulkVerb


async def preview(call: Call) -> Response:
    """How many jobs it would be; nothing is changed yet."""
    query: Preview = call.query
    which = query.said()
    if not which:
        raise Problem(400, "no-filter", "say which jobs, for example by status", at="query.status")
    return page(
        call,
        "bulk.html",
        "jobs",
        stats=await call.looking.stats(),
        verb=VERBS[query.verb],
        priorities=PRIORITIES,
        count=await call.looking.count(**which),
        filter_query=query_of(which),
        which=which,
    )


async def change(call: Call) -> Response:
    """Begins it; the page of the operation tells how far it is."""
    begun = await begin(call, call.body)
    return call.redirect(f"/operations/{begun.id}")


async def operation(call: Call) -> Response:
    """How far it is."""
    query: Asked = call.query
    one = shown(call, call.house.bulk.find(call.params["id"]))
    linked = {name: value for name, value in one.which.items() if name != "ids" and value != HIDDEN}
    return page(
        call,
        "operation.html",
        "jobs",
        stats=await call.looking.stats(),
        said=said_of(query),
        operation=one,
        verb=VERBS[one.verb],
        filter_query=query_of(linked),
    )


async def stop(call: Call) -> Response:
    """Ends it; what was done stands."""
    one = await call.house.bulk.stop(call.params["id"])
    return call.redirect(f"/operations/{one.id}", did="stopped")
