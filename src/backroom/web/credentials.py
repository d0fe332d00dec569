"""Tokens and passwords, of which only hashes are kept.

A credential is written as one line, which `backroom web token` prints and a file holds:

    grafana:read:sha256:5e88...
    ada:admin:scrypt:16384:8:5:<salt>:<hash>
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Final, NamedTuple

from backroom.errors import ConfigurationError
from backroom.web.access import Role, role_of

__all__ = ["BasicAuth", "Credential", "NewToken", "Token", "read_credentials"]

PREFIX: Final = "br_"
"""Of every token, so that one that was published by mistake is found."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_COST: Final = (16_384, 8, 5)
"""n, r, p of scrypt, as OWASP has them: 16 MiB, and about a tenth of a second."""
_MOST_MEMORY: Final = 128 << 20
LEAST_PASSWORD: Final = 8
MOST_PASSWORD: Final = 1024


class NewToken(NamedTuple):
    """A token that was just made."""

    secret: str
    """What its owner shows; it stands nowhere else."""
    token: Token


class Token:
    """A bearer token, known by its hash.

    A token is 32 random bytes, so its hash needs no salt and no slowness.

    Args:
        name: who shows it, for the record of what was done.
        role: "read", "operate" or "admin".
        sha256: the hash of the whole token, as hex digits.

    Raises:
        ConfigurationError: a name, role or hash that is none.
    """

    __slots__ = ("name", "role", "sha256")

    def __init__(self, name: str, role: Role | str, sha256: str) -> None:
        self.name = _checked_name(name)
        self.role = role_of(role)
        if not _HEX.fullmatch(str(sha256)):
            raise ConfigurationError(
                f"the token {name!r} needs a SHA-256 hash as 64 hex digits; make one with"
                " `backroom web token`"
            )
        self.sha256 = sha256

    @classmethod
    def make(cls, name: str, role: Role | str) -> NewToken:
        """A new one, with its secret."""
        secret = PREFIX + secrets.token_urlsafe(32)
        return NewToken(secret, cls(name, role, _sha256(secret)))

    def fits(self, secret: str) -> bool:
        """Whether this is the token, in constant time."""
        return hmac.compare_digest(_sha256(secret), self.sha256)

    @property
    def line(self) -> str:
        return f"{self.name}:{self.role.name.lower()}:sha256:{self.sha256}"

    @property
    def mark(self) -> str:
        """Changes whenever the credential does."""
        return self.line

    def __repr__(self) -> str:
        return f"Token({self.name!r}, {self.role.name.lower()!r}, ...)"


class BasicAuth:
    """A user with a password, known by its scrypt hash.

    Args:
        user: the name.
        role: "read", "operate" or "admin".
        hashed: as `BasicAuth.make` has it: "16384:8:5:<salt>:<hash>".

    Raises:
        ConfigurationError: a name, role or hash that is none.
    """

    __slots__ = ("_cost", "_hash", "_salt", "hashed", "name", "role")

    def __init__(self, user: str, role: Role | str, hashed: str) -> None:
        self.name = _checked_name(user)
        self.role = role_of(role)
        self.hashed = hashed
        try:
            n, r, p, salt, digest = hashed.split(":")
            self._cost = (int(n), int(r), int(p))
            self._salt = base64.b64decode(salt, validate=True)
            self._hash = base64.b64decode(digest, validate=True)
            hashlib.scrypt(
                b"", salt=self._salt, n=self._cost[0], r=self._cost[1], p=self._cost[2],
                maxmem=_MOST_MEMORY, dklen=32,
            )  # fmt: skip
        except (ValueError, AttributeError, MemoryError):
            raise ConfigurationError(
                f"the user {user!r} needs a scrypt hash; make one with"
                " `backroom web token --password`"
            ) from None
        if len(self._salt) < 16 or len(self._hash) != 32 or self._cost < (1024, 1, 1):
            raise ConfigurationError(f"the hash of the user {user!r} is too weak; make a new one")

    @classmethod
    def make(cls, user: str, role: Role | str, password: str) -> BasicAuth:
        """With a new salt.

        Raises:
            ConfigurationError: the password is shorter than 8 characters, or longer than 1,024.
        """
        if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
            raise ConfigurationError(
                f"a password has {LEAST_PASSWORD} to {MOST_PASSWORD:,} characters,"
                f" got {len(password):,}"
            )
        salt = secrets.token_bytes(16)
        n, r, p = _COST
        digest = hashlib.scrypt(
            password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MOST_MEMORY, dklen=32
        )
        hashed = (
            f"{n}:{r}:{p}:{base64.b64encode(salt).decode()}:{base64.b64encode(digest).decode()}"
        )
        return cls(user, role, hashed)

    def fits(self, password: str) -> bool:
        """Whether this is the password, in constant time. Takes about a tenth of a second of a
        processor: for a thread."""
        if len(password) > MOST_PASSWORD:
            return False
        n, r, p = self._cost
        digest = hashlib.scrypt(
            password.encode("utf-8", "surrogatepass"), salt=self._salt, n=n, r=r, p=p,
            maxmem=_MOST_MEMORY, dklen=32,
        )  # fmt: skip
        return hmac.compare_digest(digest, self._hash)

    @property
    def line(self) -> str:
        return f"{self.name}:{self.role.name.lower()}:scrypt:{self.hashed}"

    @property
    def mark(self) -> str:
        """Changes whenever the credential does."""
        return self.line

    def __repr__(self) -> str:
        return f"BasicAuth({self.name!r}, {self.role.name.lower()!r}, ...)"


Credential = Token | BasicAuth


def read_credentials(lines: Iterable[str], source: str) -> list[Credential]:
    """Of the lines of a file; empty ones and those that begin with # say nothing.

    Raises:
        ConfigurationError: which line of `source` is none, or names somebody again.
    """
    found: list[Credential] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, _, rest = text.partition(":")
        role, _, rest = rest.partition(":")
        kind, _, hashed = rest.partition(":")
        try:
            if kind == "sha256":
                found.append(Token(name, role, hashed))
            elif kind == "scrypt":
                found.append(BasicAuth(name, role, hashed))
            else:
                raise ConfigurationError(
                    "it is not of the form name:role:sha256:hash; make one with"
                    " `backroom web token`"
                )
        except ConfigurationError as error:
            raise ConfigurationError(f"{source}, line {number}: {error}") from None
    return found


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"a token or user has a name of 1 to 64 letters, digits and . _ @ -, got {name!r}"
        )
    return name


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
