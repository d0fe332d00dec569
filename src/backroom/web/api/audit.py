"""What operators have done."""

from __future__ import annotations

from typing import Annotated

import msgspec

from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.filters import ListPage
from backroom.web.looking import ActionList
from backroom.web.route import Route

__all__ = ["routes"]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class ListActions(ListPage, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose, of which kind, and which page of them."""

    actor: Name | None = None
    verb: Name | None = None


async def list_actions(call: Call) -> ActionList:
    """What was done to jobs, queues and the rest, by whom, and what came of it: newest first."""
    query: ListActions = call.query
    return await call.looking.actions(
        limit=query.limit, cursor=query.cursor, actor=query.actor, verb=query.verb
    )


def routes() -> list[Route]:
    return [
        Route("GET", "/api/v1/audit", Role.READ, list_actions, query=ListActions,
              returns=ActionList, tag="audit"),
    ]  # fmt: skip
