"""Passwords are hashed, which is slow: two at once, few that wait, and none twice."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from typing import Final

from backroom.web.credentials import BasicAuth
from backroom.web.problem import Problem

__all__ = ["Passwords"]

REMEMBERED: Final = 300.0
"""Seconds for which a password that was right is not hashed again."""
MOST_REMEMBERED: Final = 1000
MOST_WAITING: Final = 10
"""Passwords that are hashed, or wait for it: about a second of work."""


class Passwords:
    """Checks them. `name` is what was said; `user` whose hash it is compared with: where there is
    nobody of that name, somebody else's, so that it takes as long."""

    def __init__(self) -> None:
        self._hashing = asyncio.Semaphore(2)
        self._checking: dict[bytes, asyncio.Task[bool]] = {}
        self._right_until: dict[bytes, float] = {}
        self._key = secrets.token_bytes(32)

    def remembers(self, name: str, user: BasicAuth, secret: str) -> bool:
        """Whether it was right lately."""
        until = self._right_until.get(self._of(name, user, secret), 0.0)
        return until > time.monotonic()

    def is_checking(self, name: str, user: BasicAuth, secret: str) -> bool:
        """Whether somebody waits for this very one."""
        return self._of(name, user, secret) in self._checking

    async def fits(self, name: str, user: BasicAuth, secret: str) -> bool:
        """Whether it is that of the user, who has that name.

        Raises:
            Problem: 503, as many wait as may.
        """
        key = self._of(name, user, secret)
        task = self._checking.get(key)
        if task is None:
            if len(self._checking) >= MOST_WAITING:
                raise Problem(503, "busy", "many passwords are being checked; come again",
                              headers={"Retry-After": "1"})  # fmt: skip
            task = self._checking[key] = asyncio.create_task(self._check(key, name, user, secret))
        # Shielded: others may wait for the same one.
        return await asyncio.shield(task)

    async def _check(self, key: bytes, name: str, user: BasicAuth, secret: str) -> bool:
        try:
            async with self._hashing:
                fits = await asyncio.to_thread(user.fits, secret)
        finally:
            del self._checking[key]
        if not fits or name != user.name:
            return False
        if len(self._right_until) >= MOST_REMEMBERED:
            self._right_until.clear()
        self._right_until[key] = time.monotonic() + REMEMBERED
        return True

    def _of(self, name: str, user: BasicAuth, secret: str) -> bytes:
        told = f"{name}\0{user.mark}\0{secret}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, told, hashlib.sha256).digest()
