"""The web application: from a request to the route that answers it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from backroom.errors import BackroomError, ConfigurationError
from backroom.service import JobService
from backroom.web import api, assets, openapi, pages, signing, telemetry
from backroom.web.access import NOBODY, Identity, Role
from backroom.web.answering import Answer, answer, refuse
from backroom.web.bodies import Bodies
from backroom.web.bounds import Bounds
from backroom.web.call import Call, House
from backroom.web.credentials import Credential
from backroom.web.gate import Authenticate, Gate, client_of
from backroom.web.guard import Receive, Scope, Send, check_request, with_headers
from backroom.web.pace import Pace
from backroom.web.problem import Problem, problem_of
from backroom.web.reading import read_query
from backroom.web.redaction import Redact, Redaction
from backroom.web.route import Found, Route, Table

__all__ = ["Dashboard", "dashboard"]

log = logging.getLogger("backroom.web")

SECRET: Final = "BACKROOM_WEB_SECRET"
"""The variable of the environment that signs cookies, where nothing else was said."""

LOCAL: tuple[str, ...] = ("localhost",)
"""Every name of this machine for itself."""


def dashboard(
    service: JobService,
    *,
    auth: Sequence[Credential] = (),
    authenticate: Authenticate | None = None,
    session_secret: str | None = None,
    allowed_hosts: Sequence[str] | None = None,
    redact: Redact | None = None,
    hide_data_from: Role | str | None = None,
    bounds: Bounds | None = None,
    title: str = "Backroom",
) -> Dashboard:
    """The REST API and the dashboard of a service, as an ASGI application to serve by itself, or
    to mount under any path: `app.mount("/jobs", dashboard(service))`.

    Without `auth` and `authenticate`, only this very machine gets in, as an admin.

    Args:
        auth: tokens and users that are known here.
        authenticate: the host application's own: a function, async or not, of the request, that
            returns an `Identity`, or None where it cannot say.
        session_secret: signs the cookies of those who sign in; at least 32 characters, the same
            in every process that answers for one name. None: BACKROOM_WEB_SECRET of the
            environment, or a random one.
        allowed_hosts: names under which this is asked for; None: any, where there is
            authentication, else only those of this machine.
        redact: the application's own word on what is shown of a job.
        hide_data_from: this role sees no data, results, metadata nor logs.
        bounds: how much of everything is taken.
        title: the name that pages have.

    Raises:
        ConfigurationError: an argument that makes no sense.
    """
    if not isinstance(service, JobService):
        raise ConfigurationError(
            f"dashboard takes a JobService, got a {type(service).__name__}; of one without asyncio,"
            " give its .service"
        )
    bounds = bounds or Bounds()
    if session_secret is None:
        session_secret = os.environ.get(SECRET)
    gate = Gate(auth, authenticate, session_secret, bounds.failures)
    redaction = Redaction(service.masks, redact, hide_data_from)
    return Dashboard(House(service, gate, redaction, bounds, title), allowed_hosts)


class Dashboard:
    """The ASGI application. `table` holds all that it serves."""

    def __init__(self, house: House, allowed_hosts: Sequence[str] | None) -> None:
        self.house = house
        served = [
            *telemetry.routes(), *assets.routes(), *signing.routes(), *api.routes(),
            *pages.routes(),
        ]  # fmt: skip
        self.table = Table([openapi.route_of(served), *served])
        pages.compile_templates()
        if allowed_hosts is None:
            self._hosts = None if house.gate.is_closed else LOCAL
        else:
            self._hosts = tuple(name.lower() for name in allowed_hosts)
        self._pace = Pace(house.bounds.mutations, 60.0)
        self._bodies = Bodies(house.bounds)
        self._answering = 0

    def close(self) -> None:
        """Ends the streams of events, so that a server that stops need not wait for them; and
        changes of many jobs, between two pages of them."""
        self.house.feed.close()
        self.house.bulk.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _live(self, receive: Receive, send: Send) -> None:
        """Nothing is begun here: the service opens with the first look, and belongs to others."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = _own_path(scope)
        found: Found | None = None
        who = NOBODY
        try:
            check_request(scope, self._hosts, self.house.bounds)
            looked = self.table.find(_method(scope), path)
            found = looked if isinstance(looked, Found) else None
            if found is None or found.route.role is not Role.PUBLIC:
                # Who may nothing does not learn which paths there are.
                who = await self._identified(request)
                if who.role is Role.PUBLIC:
                    raise self.house.gate.unauthorized(request, "say who you are")
            if found is None:
                raise _not_here(looked, path)
            response = await self._answered(found, request, who, receive)
        except Problem as problem:
            response = await self._refused(request, path, who, problem)
        except ClientDisconnect:
            return
        except Exception:
            log.exception("%s %s failed", scope["method"], found.route.path if found else "?")
            failed = Problem(500, "failed", "this failed; the log of the server says why",
                             unsure=found is not None and found.route.changes)  # fmt: skip
            response = await self._refused(request, path, who, failed)
        await response(scope, receive, send)

    async def _identified(self, request: Request) -> Identity:
        seconds = self.house.bounds.seconds
        try:
            async with asyncio.timeout(seconds):
                return await self.house.gate.identify(request)
        except TimeoutError:
            raise Problem(503, "too-slow", f"who asks was not known after {seconds:g} seconds",
                          headers={"Retry-After": "5"}) from None  # fmt: skip

    async def _answered(
        self, found: Found, request: Request, who: Identity, receive: Receive
    ) -> Response:
        route = found.route
        if who.role < route.role:
            raise Problem(
                403, "role",
                f"this needs the role {route.role.name.lower()}, {who.name} has"
                f" {who.role.name.lower()}",
            )  # fmt: skip
        if request.method == "HEAD" and route.media_type == "text/event-stream":
            raise Problem(405, "method", "this goes on for ever; GET it", headers={"Allow": "GET"})
        if route.changes:
            self._keep_pace(request, who)
        query = read_query(request.scope.get("query_string", b""), route.query)
        body = None
        if route.changes:
            body = await self._bodies.read(route, request, who, receive)
        call = Call(self.house, request, who, found.params, query, body)
        if route.light:
            return await self._handled(route, call)
        if self._answering >= self.house.bounds.requests:
            raise Problem(503, "busy",
                          f"{self.house.bounds.requests} requests are being answered; come again",
                          headers={"Retry-After": "1"})  # fmt: skip
        self._answering += 1
        try:
            return await self._handled(route, call)
        finally:
            self._answering -= 1

    async def _handled(self, route: Route, call: Call) -> Response:
        try:
            async with asyncio.timeout(self.house.bounds.seconds):
                value = await route.handler(call)
        except TimeoutError:
            raise Problem(
                503, "too-slow",
                f"this took more than {self.house.bounds.seconds:g} seconds; ask for less",
                headers={"Retry-After": "5"}, unsure=route.changes,
            ) from None  # fmt: skip
        except BackroomError as error:
            raise _told(error, call, route) from error
        if isinstance(value, Response):
            return value
        if not route.api:
            raise TypeError(f"{route!r} must return a Response, got {type(value).__name__}")
        return answer(
            call.request, value if isinstance(value, Answer) else Answer(value, route.statuses[0])
        )

    def _keep_pace(self, request: Request, who: Identity) -> None:
        key, now = f"{who.name} {client_of(request)}", asyncio.get_running_loop().time()
        wait = self._pace.wait(key, now)
        if wait is not None:
            raise Problem(
                429, "too-many",
                f"at most {self.house.bounds.mutations} changes a minute; for many jobs there"
                " are verbs that take a filter",
                headers={"Retry-After": str(wait)},
            )  # fmt: skip
        self._pace.count(key, now)

    async def _refused(
        self, request: Request, path: str, who: Identity, problem: Problem
    ) -> Response:
        if path.startswith(("/api/", "/health/")) or path == "/metrics":
            return refuse(problem)
        call = Call(self.house, request, who, {}, None, None)
        if problem.status == 401 and request.method == "GET" and self.house.gate.takes_sign_in:
            return call.redirect("/sign-in", then=_wanted(request, path))
        try:
            return await pages.refusal(call, problem)
        except Exception:
            log.exception("the page of a refusal failed")
            return refuse(problem)


def _told(error: BackroomError, call: Call, route: Route) -> Problem:
    """A refusal, and whether anything was changed: as the error knows, and what was done before it
    came."""
    problem = problem_of(error)
    problem.at = route.place_of(error)
    if call.operations.done:
        problem.unsure, problem.told = True, False
        problem.detail = f"it was done, or a part of it; after that: {problem.detail}"
    else:
        problem.unsure = route.changes and problem.status >= 500 and not problem.told
    return problem


def _wanted(request: Request, path: str) -> str:
    query = request.scope.get("query_string", b"").decode("latin-1")
    return f"{path}?{query}" if query else path


def _not_here(looked: object, path: str) -> Problem:
    if isinstance(looked, tuple) and looked:
        methods = ", ".join(looked)
        return Problem(405, "method", f"this takes {methods}", headers={"Allow": methods})
    return Problem(404, "not-found", f"nothing is served at {path[:200]!r}", at="path")


def _method(scope: Scope) -> str:
    method = str(scope["method"])
    return "GET" if method == "HEAD" else method


def _own_path(scope: Scope) -> str:
    """The path behind the prefix under which we are mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        path = path[len(root) :]
    return path or "/"
