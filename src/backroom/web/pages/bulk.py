"""All jobs that match: what would be done, doing it, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from starlette.responses import Response

from backroom.errors import OptionError
from backroom.job import PRIORITIES, Priority
from backroom.secret import HIDDEN
from backroom.web.api.bulk import ChangeJobs, begin, shown
from backroom.web.bulk import BulkVerb
from backroom.web.call import Call
from backroom.web.filters import JobFilter
from backroom.web.pages.jobs import query_of
from backroom.web.pages.numbers import iso
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, Said, refusal_of, said_of
from backroom.web.pages.verbs import VERBS
from backroom.web.problem import Problem
from backroom.web.reading import read_fields

__all__ = ["ChangeForm", "Preview", "change", "operation", "preview", "stop"]

COUNTED: Final = 0.05
"""Seconds for which it is counted what would be changed."""


class Preview(JobFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    verb: BulkVerb


class ChangeForm(JobFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `ChangeJobs`; what is typed is text until it is read, so that it can be shown again."""

    verb: BulkVerb
    run_at: str | None = None
    delay: str | None = None
    to_priority: Priority | None = None


async def preview(call: Call) -> Response:
    """How many jobs it would be; nothing is changed yet."""
    query: Preview = call.query
    which = query.said()
    if not which:
        raise Problem(400, "no-filter", "say which jobs, for example by status", at="query.status")
    return await _asked(call, query.verb, which)


async def _asked(
    call: Call, verb: BulkVerb, which: Mapping[str, Any], typed: ChangeForm | None = None,
    refused: Said | None = None,
) -> Response:  # fmt: skip
    """The form, empty, or as it was typed and with what was wrong in it."""
    again: dict[str, Any] = (
        {} if refused is None else {"said": refused, "status": 422, "events": ""}
    )
    return page(
        call,
        "bulk.html",
        "jobs",
        stats=await call.looking.stats(),
        verb=VERBS[verb],
        typed=typed,
        priorities=PRIORITIES,
        count=await call.looking.count(within=COUNTED, **which),
        counted=COUNTED,
        filter_query=query_of(which),
        which=which,
        **again,
    )


async def change(call: Call) -> Response:
    """Begins it; the page of the operation tells how far it is."""
    form: ChangeForm = call.body
    said = {
        name: iso(value) if isinstance(value, datetime) else value
        for name, value in msgspec.structs.asdict(form).items()
    }
    try:
        begun = await begin(call, read_fields(said, ChangeJobs))
    except (OptionError, Problem) as error:
        if not form.said() or (isinstance(error, Problem) and error.status not in (400, 422)):
            raise
        return await _asked(call, form.verb, form.said(), form, refusal_of(error))
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
    one = await call.house.bulk.stop(call.params["id"], call.who.name)
    return call.redirect(f"/operations/{one.id}", did="stopped")
