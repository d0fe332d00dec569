"""The OpenAPI 3.1 document, made from the table of routes: what is served is what is described."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from backroom import __version__
from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.problem import MEDIA_TYPE, ProblemDocument
from backroom.web.route import Route

__all__ = ["described", "route_of"]

REFERENCE: Final = "#/components/schemas/{name}"
REFUSALS: Final = {
    400: "What is asked makes no sense.",
    401: "Nobody says who asks, or it is wrong.",
    403: "This role may not; or another site asks.",
    404: "It is not there.",
    405: "The path takes other methods.",
    409: "Its state does not allow that; nothing was changed.",
    413: "The body is too long.",
    414: "The query is too long.",
    415: "The body is of another kind.",
    422: "What is said does not fit; nothing was changed.",
    431: "The headers are too long.",
    429: "Too often; `Retry-After` says when.",
    503: "The storage does not answer, or too many ask; `Retry-After` says when.",
}
_TAGS: Final = {
    "store": "The store as a whole.",
    "jobs": "Look at jobs, schedule them, and steer them.",
    "queues": "What waits in them; pause and resume.",
    "workers": "Who runs jobs, and which; drain one.",
    "schedules": "What makes jobs by the clock.",
    "workflows": "Jobs that wait for jobs.",
    "operations": "Changes of many jobs, while they go on.",
    "events": "What happens, as it happens: server-sent events.",
    "audit": "What operators have done.",
}


def described(routes: Iterable[Route], root_path: str, title: str) -> dict[str, Any]:
    """The document of those of the routes that belong to the API."""
    served = [route for route in routes if route.api]
    schemas, components = _schemas(served)
    paths: dict[str, dict[str, Any]] = {}
    for route in served:
        path = re.sub(r":path\}", "}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas, components)
    queries = {route.query.__name__ for route in served if route.query is not None}
    used = msgspec.json.encode(paths).decode()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{title}: background jobs",
            "version": __version__,
            "description": "Roles: read < operate < admin; `x-role` says which one may. Moments"
            " are RFC 3339, durations seconds. What is refused is a problem document (RFC 9457)"
            " that says what, where, and the mend.",
        },
        "servers": _servers(root_path),
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [{"token": []}, {"user": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": {
                name: schema
                for name, schema in components.items()
                if name not in queries or REFERENCE.format(name=name) in used
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "user": {"type": "http", "scheme": "basic"},
                "session": {"type": "apiKey", "in": "cookie", "name": "backroom_session"},
            },
            "responses": {f"Problem{status}": _problem(text) for status, text in REFUSALS.items()},
        },
    }


def _servers(root_path: str) -> list[dict[str, str]]:
    """Where the API is; all that differs from one request to another."""
    return [{"url": root_path or "/"}]


def _schemas(routes: Iterable[Route]) -> tuple[dict[int, Any], dict[str, Any]]:
    """The schema of each type that a route names, by the id of the type; and what they share."""
    types: list[Any] = [ProblemDocument]
    for route in routes:
        types += [one for one in (route.query, route.body, route.returns) if one is not None]
    distinct = list({id(one): one for one in types}.values())
    made, components = msgspec.json.schema_components(
        distinct, schema_hook=_text, ref_template=REFERENCE
    )
    return {id(one): schema for one, schema in zip(distinct, made, strict=True)}, components


def _text(type_: type) -> dict[str, Any]:
    """Of a subclass of `str`, such as JobId."""
    plain = getattr(type_, "__origin__", type_)
    if isinstance(plain, type) and issubclass(plain, str):
        return {"type": "string"}
    raise NotImplementedError(f"{type_!r} has no schema")


def _operation(
    route: Route, schemas: Mapping[int, Any], components: Mapping[str, Any]
) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True,
         "schema": {"type": "string", "minLength": 1}}
        for name in route.parameters
    ]  # fmt: skip
    if route.query is not None:
        parameters += _parameters(components[route.query.__name__])
    for name, text in route.headers.items():
        parameters.append({"name": name, "in": "header", "required": False, "description": text,
                           "schema": {"type": "string"}})  # fmt: skip
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "description": " ".join(route.description.split()),
        "tags": [route.tag],
        "x-role": route.role.name.lower(),
        "parameters": parameters,
        "responses": _responses(route, schemas),
    }
    if route.body is not None:
        needed = any(field.required for field in msgspec.structs.fields(route.body))
        operation["requestBody"] = {
            "required": needed,
            "content": {"application/json": {"schema": schemas[id(route.body)]}},
        }
    return operation


def _parameters(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    needed = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": _without_null(one)}
        for name, one in schema["properties"].items()
    ]


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A query says nothing of a field by leaving it out, and has no word for null."""
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    if len(choices) == 1:
        return {**rest, **choices[0]}
    return {**rest, "anyOf": choices} if choices else dict(rest)


def _responses(route: Route, schemas: Mapping[int, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if route.media_type != "application/json":
        responses["200"] = {
            "description": route.summary,
            "content": {route.media_type: {"schema": {"type": "string"}}},
        }
    elif route.returns is None:
        responses["204"] = {"description": "Done."}
    else:
        content = {"application/json": {"schema": schemas[id(route.returns)]}}
        for status in route.statuses:
            responses[str(status)] = {"description": route.summary, "content": content}
        if route.method == "GET":
            responses["304"] = {"description": "As the `If-None-Match` of the request has it."}
    for status in REFUSALS:
        responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    return responses


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(name="ProblemDocument")}
    return {"description": text, "content": {MEDIA_TYPE: {"schema": schema}}}


def route_of(table: Iterable[Route]) -> Route:
    """The route that serves the document of all others, which is made once, when it is asked for;
    the routes are those of one dashboard."""
    routes = list(table)
    made: dict[str, Any] = {}

    async def get_openapi(call: Call) -> dict[str, Any]:
        """This document."""
        if not made:
            made.update(described([*routes, own], "", call.house.title))
        root = str(call.request.scope.get("root_path", "")).rstrip("/")
        return {**made, "servers": _servers(root)}

    own = Route("GET", "/api/v1/openapi.json", Role.READ, get_openapi, returns=dict[str, Any],
                tag="store")  # fmt: skip
    return own
