"""A browser that has signed in: a signed cookie, and nothing kept on the server.

The cookie names a credential and when it ends; its role is looked up anew with each request, so
that a credential that is taken away, or changed, ends its sessions.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final

import msgspec

from backroom.errors import ConfigurationError
from backroom.web.credentials import Credential

__all__ = ["COOKIE", "Sessions"]

COOKIE: Final = "backroom_session"
LASTS: Final = 12 * 3600
"""Seconds: a night at work."""
LEAST_SECRET: Final = 32


class _Session(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    name: str
    mark: str
    ends: int


class Sessions:
    """Makes and reads them. `secret`: several processes that answer for one name need the same;
    None: a random one, and a restart signs everybody out.

    Raises:
        ConfigurationError: a secret of fewer than 32 characters.
    """

    def __init__(self, credentials: Mapping[str, Credential], secret: str | None) -> None:
        if secret is not None and len(secret) < LEAST_SECRET:
            raise ConfigurationError(
                f"session_secret needs at least {LEAST_SECRET} characters, got {len(secret)}"
            )
        self._credentials = credentials
        key = secrets.token_bytes(32) if secret is None else secret.encode()
        self._key = hashlib.sha256(b"backroom session\0" + key).digest()

    def make(self, credential: Credential, now: float) -> str:
        """The cookie's value; `now` is in seconds since 1970."""
        session = _Session(credential.name, self._mark(credential), int(now) + LASTS)
        body = base64.urlsafe_b64encode(msgspec.json.encode(session)).rstrip(b"=")
        return f"{body.decode()}.{self._sign(body)}"

    def read(self, value: str, now: float) -> Credential | None:
        """Whose it is; None: it is not ours, has ended, or its credential has changed."""
        text, _, signature = value.partition(".")
        try:
            body = text.encode("ascii")
            if not hmac.compare_digest(self._sign(body), signature):
                return None
            padded = body + b"=" * (-len(body) % 4)
            session = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Session)
        except (ValueError, TypeError):  # TypeError: a signature that is not ASCII.
            return None
        credential = self._credentials.get(session.name)
        if credential is None or session.ends <= now:
            return None
        return credential if hmac.compare_digest(session.mark, self._mark(credential)) else None

    def _sign(self, body: bytes) -> str:
        return hmac.new(self._key, body, hashlib.sha256).hexdigest()

    def _mark(self, credential: Credential) -> str:
        return hmac.new(self._key, credential.mark.encode(), hashlib.sha256).hexdigest()[:16]
