"""One request, checked: who asks, where, and for what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backroom.service import JobService
from backroom.web.access import Identity, Role
from backroom.web.bounds import Bounds
from backroom.web.bulk import Bulk
from backroom.web.feed import Feed
from backroom.web.gate import Gate
from backroom.web.looking import Looking
from backroom.web.operations import Operations
from backroom.web.redaction import Redaction

__all__ = ["Call", "House"]


class House:
    """What all requests share."""

    def __init__(
        self,
        service: JobService,
        gate: Gate,
        redaction: Redaction,
        bounds: Bounds,
        title: str,
    ) -> None:
        self.service = service
        self.gate = gate
        self.redaction = redaction
        self.bounds = bounds
        self.title = title
        self.feed = Feed(bounds.streams, bounds.streams_each)
        self.bulk = Bulk()


class Call:
    """What a handler gets.

    `params` are those of the path; `query` and `body` the Structs that the route names, or None.
    """

    __slots__ = ("body", "house", "operations", "params", "query", "request", "who")

    def __init__(
        self,
        house: House,
        request: Request,
        who: Identity,
        params: Mapping[str, str],
        query: Any,
        body: Any,
    ) -> None:
        self.house = house
        self.request = request
        self.who = who
        self.params = params
        self.query = query
        self.body = body
        self.operations = Operations(house.service, house.redaction, who)
        """Changes, in this one's name."""

    @property
    def service(self) -> JobService:
        """For what neither looks at jobs nor changes anything; else `looking`, `operations`."""
        return self.house.service

    @property
    def looking(self) -> Looking:
        """Look-ups, as this one may see them."""
        return Looking(self.house.service, self.house.redaction, self.who)

    def may(self, role: Role) -> bool:
        """Whether this one may what that role may: which buttons a page shows."""
        return self.who.role >= role

    def url(self, path: str, /, **query: Any) -> str:
        """The address of a path of ours, wherever we are mounted; None in `query` is left out."""
        root = str(self.request.scope.get("root_path", "")).rstrip("/")
        said = {name: value for name, value in query.items() if value is not None}
        return quote(root + path, safe="/:@!$&'()*+,;=-._~%") + (
            f"?{urlencode(said, doseq=True)}" if said else ""
        )

    def redirect(self, path: str, /, **query: Any) -> Response:
        """After a form: look there (303)."""
        return RedirectResponse(self.url(path, **query), status_code=303)
