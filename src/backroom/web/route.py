"""One table of routes: what is served, to whom, and what is taken and given.

Routing, access, validation and the OpenAPI document are all read from it, so none of them can
know of a route that the others do not.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from backroom.errors import (
    BackroomError,
    ConfigurationError,
    JobNotFoundError,
    JobStateError,
    ScheduleNotFoundError,
    ServiceError,
    StorageError,
    WorkerNotFoundError,
    WorkflowNotFoundError,
)
from backroom.web.access import Role

__all__ = ["Found", "Handler", "Method", "Route", "Table"]

Method = Literal["GET", "POST", "DELETE"]
Handler = Callable[[Any], Awaitable[Any]]
"""Takes a `Call`. In the API it returns what is encoded, or None; a page returns a `Response`."""

_PARAMETER: Final = re.compile(r"\{([a-z_]+)(:path)?\}")

_OF_TARGET: Final = (
    JobNotFoundError, ScheduleNotFoundError, WorkflowNotFoundError, WorkerNotFoundError,
    JobStateError,
)  # fmt: skip
"""They are about what the path names."""
_NAME: Final = re.compile(r"[.\[]")


class Route:
    """What is served under one method and one path.

    Args:
        path: with its parameters in braces: "/api/v1/jobs/{id}"; "{name:path}" takes slashes.
        role: who may; there is no default, so that no route is open by accident.
        query, body: Structs with `forbid_unknown_fields`; None: none is taken. The body is JSON
            in the API, and a form on a page.
        returns: the type of what the API answers with; None: nothing.
        statuses: with which it answers that; the first, where the handler does not say.
        headers: those that it reads, and what they say.
        api: whether it answers in JSON and stands in the OpenAPI document; else it is a page.
        media_type: of what is answered; a handler whose answer is no JSON makes a `Response`.
        body_bytes: how long a body may be, where it is less than what others may have.
        light: it costs next to nothing, and is answered however many others are being answered.

    Raises:
        ConfigurationError: a path or a method that makes no sense, or a change that all may ask
            for.
    """

    def __init__(
        self,
        method: Method,
        path: str,
        role: Role,
        handler: Handler,
        *,
        query: type[msgspec.Struct] | None = None,
        body: type[msgspec.Struct] | None = None,
        returns: Any = None,
        statuses: tuple[int, ...] = (200,),
        headers: Mapping[str, str] | None = None,
        summary: str = "",
        tag: str = "",
        api: bool = True,
        media_type: str = "application/json",
        body_bytes: int | None = None,
        light: bool = False,
    ) -> None:
        if not isinstance(role, Role):
            raise ConfigurationError(f"{method} {path}: say which role may, got {role!r}")
        if not path.startswith("/"):
            raise ConfigurationError(f"a path begins with a slash, got {path!r}")
        self.method = method
        self.path = path
        self.role = role
        self.handler = handler
        self.query = query
        self.body = body
        self.returns = returns
        self.statuses = statuses
        self.headers = dict(headers or {})
        self.summary = summary or (handler.__doc__ or "").strip().partition("\n")[0]
        self.description = (handler.__doc__ or "").strip()
        self.tag = tag
        self.api = api
        self.media_type = media_type
        self.body_bytes = body_bytes
        self.light = light
        self.parameters = tuple(name for name, _ in _PARAMETER.findall(path))
        parts = _PARAMETER.split(path)
        pattern = re.escape(parts[0])
        for name, takes_slashes, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            pattern += f"(?P<{name}>{'.+' if takes_slashes else '[^/]+'})" + re.escape(literal)
        self.pattern = re.compile(pattern, re.DOTALL)

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.method != "GET"

    def place_of(self, error: BackroomError) -> str | None:
        """Where a request says what was refused: "query.since", "body.data.recipient", "path.id";
        None: it is about nothing that it says."""
        if isinstance(error, (ConfigurationError, StorageError, ServiceError)):
            return None
        target = f"path.{self.parameters[-1]}" if self.parameters else None
        if isinstance(error, _OF_TARGET):
            return target
        option = error.option
        name = _NAME.split(option or "", maxsplit=1)[0]
        shapes = {"query": self.query, "body": self.body}
        for where, shape in shapes.items():
            if shape is not None and name in shape.__struct_encode_fields__:
                return f"{where}.{option}"
        for header in self.headers:
            if header.lower().replace("-", "_") == name:
                return f"header.{header.lower()}"
        whole = next((where for where, shape in shapes.items() if shape is not None), None)
        return (target or whole) if option else (whole or target)

    def __repr__(self) -> str:
        return f"Route({self.method} {self.path}, {self.role.name.lower()})"


class Found(msgspec.Struct, frozen=True):
    """Who answers a request."""

    route: Route
    params: dict[str, str]


class Table:
    """All routes; the first that fits answers.

    Raises:
        ConfigurationError: two have one method and one path.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)
        seen: set[tuple[str, str]] = set()
        for route in self._routes:
            key = (route.method, route.path)
            if key in seen:
                raise ConfigurationError(f"{route.method} {route.path} stands in the table twice")
            seen.add(key)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def find(self, method: str, path: str) -> Found | tuple[Method, ...]:
        """The route; or the methods that the path takes instead, none if it is not there."""
        others: list[Method] = []
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match is None:
                continue
            if route.method == method:
                return Found(route, match.groupdict())
            others.append(route.method)
        return tuple(dict.fromkeys(others))
