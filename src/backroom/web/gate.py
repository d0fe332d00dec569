"""Who asks: from a request to an identity, or a refusal that explains the mend."""

from __future__ import annotations

import base64
import binascii
import inspect
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from backroom.errors import ConfigurationError
from backroom.web.access import NOBODY, Identity, Role
from backroom.web.credentials import BasicAuth, Credential, Token
from backroom.web.hosts import host_name, is_loopback_name
from backroom.web.pace import Pace
from backroom.web.passwords import Passwords
from backroom.web.problem import Problem
from backroom.web.sessions import COOKIE, Sessions

__all__ = ["Authenticate", "Gate", "client_of"]

log = logging.getLogger("backroom.web")

Authenticate = Callable[[Request], "Identity | Awaitable[Identity | None] | None"]
"""The host application's own: who this is; None: it does not say."""

FORWARDING: Final = (
    "forwarded", "x-forwarded-", "x-original-", "via", "cf-", "true-client-ip", "x-client-ip",
    "x-real-ip",
)  # fmt: skip
"""How names of headers begin that somebody in between puts on. That none of them is there proves
nothing: a proxy need not say that it is one."""
UNKNOWN: Final = "these credentials are not known here"
LOCAL: Final = Identity("local", Role.ADMIN)


class Gate:
    """Asks in this order: the host application's hook, the Authorization header, the cookie. Where
    none of these is set up, only this very machine gets in; as far as headers tell, so `make_link`
    where we serve ourselves.

    Raises:
        ConfigurationError: two credentials have one name.
    """

    def __init__(
        self,
        credentials: Sequence[Credential],
        authenticate: Authenticate | None,
        session_secret: str | None,
        failures: int,
    ) -> None:
        self._credentials: dict[str, Credential] = {}
        for credential in credentials:
            if not isinstance(credential, (Token, BasicAuth)):
                raise ConfigurationError(f"auth takes Tokens and BasicAuths, got {credential!r}")
            if credential.name in self._credentials:
                raise ConfigurationError(f"two credentials have the name {credential.name!r}")
            self._credentials[credential.name] = credential
        self._authenticate = authenticate
        self._link: Token | None = None
        self.sessions = Sessions(self._credentials, session_secret)
        self._failures = Pace(failures, 60.0)
        self._passwords = Passwords()

    @property
    def is_closed(self) -> bool:
        """Whether somebody is asked who they are; else only this machine gets in."""
        return bool(self._credentials) or self._authenticate is not None

    @property
    def takes_sign_in(self) -> bool:
        """Whether people can sign in here, and not only at the host application's."""
        return bool(self._credentials)

    async def identify(self, request: Request) -> Identity:
        """Who asks; `NOBODY`, if they say nothing.

        Raises:
            Problem: 401, what they say is wrong; 403, they are not of this machine; 429, they
                were wrong too often; 503, many wait to be checked.
        """
        if self._authenticate is not None:
            found = self._authenticate(request)
            if inspect.isawaitable(found):
                found = await found
            if found is not None:
                return _checked(found)
        if not self.is_closed:
            return self._local(request)
        header = request.headers.get("authorization")
        if header is not None:
            credential = await self._of_header(request, header)
            return Identity(credential.name, credential.role)
        cookie = request.cookies.get(COOKIE)
        if cookie is not None:
            held = self.sessions.read(cookie, time.time())
            if held is not None:
                return Identity(held.name, held.role, by_cookie=True)
        return NOBODY

    def make_link(self) -> str:
        """A token for an admin, good for as long as this process lives, with which `follow_link`
        signs in. From now on whoever shows none is refused, of this machine or not."""
        secret, self._link = Token.make(LOCAL.name, LOCAL.role)
        self._credentials[self._link.name] = self._link
        return secret

    def follow_link(self, request: Request, secret: str) -> Credential:
        """The credential of somebody who followed the link. No other token is taken this way:
        those are not to stand in addresses.

        Raises:
            Problem: 401, it is not that token.
        """
        if self._link is not None and self._link.fits(secret):
            return self._link
        raise self._unknown(request)

    async def sign_in(self, request: Request, name: str, secret: str) -> Credential:
        """The credential of somebody who typed it: a token alone, or a name and a password.

        Raises:
            Problem: 401, it is wrong; 429, it was too often; 503, many wait to be checked.
        """
        return await self._check(request, name, secret)

    async def _of_header(self, request: Request, header: str) -> Credential:
        scheme, _, rest = header.partition(" ")
        if scheme.lower() == "bearer":
            return await self._check(request, "", rest.strip())
        if scheme.lower() == "basic":
            try:
                text = base64.b64decode(rest.strip(), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise self._unknown(request) from None
            name, _, secret = text.partition(":")
            return await self._check(request, name, secret)
        raise self._unknown(request)

    async def _check(self, request: Request, name: str, secret: str) -> Credential:
        """A token fits whatever the name is; a password only that of its user."""
        found: Credential | None = None
        for credential in self._credentials.values():
            if isinstance(credential, Token) and credential.fits(secret):
                found = credential
        if found is not None:
            return found
        user = self._credentials.get(name)
        if not isinstance(user, BasicAuth):
            # As slow as a wrong password, so that nobody learns which names there are.
            user = next((one for one in self._credentials.values() if isinstance(one, BasicAuth)),
                        None)  # fmt: skip
        if user is not None and self._passwords.remembers(name, user, secret):
            return user
        # Counted before it is known: many at once are not to be tried before the first has failed.
        counted = user is None or not self._passwords.is_checking(name, user, secret)
        if counted:
            self._count(request)
        if user is not None:
            client = client_of(request)
            try:
                fits = await self._passwords.fits(name, user, secret)
            except Problem:  # It was not tried.
                if counted:
                    self._failures.give_back(client)
                raise
            if fits:
                if counted:
                    self._failures.give_back(client)
                return user
        self._tell(request, name)
        raise self.unauthorized(request, UNKNOWN)

    def _count(self, request: Request) -> None:
        """One more that may be wrong.

        Raises:
            Problem: 429, there were too many.
        """
        client, now = client_of(request), time.monotonic()
        wait = self._failures.wait(client, now)
        if wait is not None:
            raise Problem(
                429, "too-many-failures",
                "too many wrong credentials came from this address; wait a minute",
                headers={"Retry-After": str(wait)},
            )  # fmt: skip
        self._failures.count(client, now)

    def _tell(self, request: Request, name: str) -> None:
        """For the log. A name that is none of ours may be a secret in the wrong field."""
        whose = repr(name) if name in self._credentials else "a name that is not known"
        log.warning("a wrong credential came from %s, for %s",
                    client_of(request), whose if name else "a token")  # fmt: skip

    def _unknown(self, request: Request) -> Problem:
        """What they say is no credential at all."""
        self._count(request)
        self._tell(request, "")
        return self.unauthorized(request, UNKNOWN)

    def unauthorized(self, request: Request, detail: str) -> Problem:
        """401, with what may be shown instead."""
        challenge = 'Bearer realm="backroom"'
        # A browser would ask for a password in a window of its own, in the middle of a page.
        from_page = "sec-fetch-mode" in request.headers
        basic = any(isinstance(one, BasicAuth) for one in self._credentials.values())
        if basic and not from_page:
            challenge += ', Basic realm="backroom", charset="UTF-8"'
        return Problem(401, "unauthorized", detail, at="header.authorization",
                       headers={"WWW-Authenticate": challenge})  # fmt: skip

    def _local(self, request: Request) -> Identity:
        client = request.client
        near = client is not None and is_loopback_name(client.host)
        named = is_loopback_name(host_name(request.headers.get("host", "")))
        if near and named and not _passed_on(request):
            return LOCAL
        raise Problem(
            403, "closed",
            "this dashboard has no authentication, so only this very machine may look at it,"
            " asked as http://127.0.0.1 or http://localhost and through no proxy. To open it to"
            " others, give it who may: dashboard(service, auth=[Token(...)]), or"
            " authenticate=..., or `backroom web --token-file FILE` with what"
            " `backroom web token` prints",
        )  # fmt: skip


def _passed_on(request: Request) -> bool:
    """Whether a request shows that it came by way of somebody else, or from a page of theirs.

    Proxies speak HTTP/1.0 to what is behind them, unless they are told otherwise; nobody else does.
    """
    if request.scope.get("http_version", "1.1") == "1.0":
        return True
    if any(name.startswith(FORWARDING) for name in request.headers):
        return True
    said = [request.headers[name] for name in ("origin", "referer") if name in request.headers]
    return not all(_is_of_this_machine(address) for address in said)


def _is_of_this_machine(address: str) -> bool:
    try:
        return is_loopback_name(urlsplit(address).hostname or "")
    except ValueError:
        return False


def client_of(request: Request) -> str:
    """The address that asks, to count it by. Of IPv6, the network: whoever has one address there
    has 2**64 of them."""
    host = request.client.host if request.client is not None else "?"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), 64), strict=False))


def _checked(found: object) -> Identity:
    if isinstance(found, Identity) and isinstance(found.role, Role):
        return found
    raise TypeError(f"authenticate must return an Identity or None, got {type(found).__name__}")
