"""Where connections come from: a URL, or what the application already has."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

import asyncpg

from backroom.errors import ConfigurationError, StorageError
from backroom.storage.masks import masked

__all__ = ["Engine", "Source", "source_of"]

_WRITE: Final = "write postgresql://user:password@host:port/database"
_ENCODE: Final = (
    "has a character where it does not belong: in user and password write @ : / ? # [ ] % as"
    " urllib.parse.quote(password, safe='') does"
)
_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(\d*))?\Z")
_THEIRS: Final = ("prepared_statement_cache_size", "prepared_statement_name_func", "async_fallback")
"""What SQLAlchemy takes from the query of its URL for itself."""


class Engine(Protocol):
    """One of SQLAlchemy, as far as it is needed."""

    @property
    def url(self) -> Any: ...


class Source:
    """A database, and how to connect to it."""

    def __init__(self, url: str, pool: asyncpg.Pool | None = None) -> None:
        self.url = url
        self._pool = pool

    def __repr__(self) -> str:
        return f"Source({masked(self.url)!r})"

    def pool_here(self) -> asyncpg.Pool | None:
        """The application's pool, on the loop that it belongs to."""
        pool = self._pool
        return pool if pool is not None and pool._loop is asyncio.get_running_loop() else None

    async def connect(self, timeout: float, options: dict[str, Any]) -> asyncpg.Connection:
        """One of one's own. A pool lends none for long, and none to another loop, as the lease's
        thread has: what it makes its connections from, we do."""
        if self._pool is None:
            return await asyncpg.connect(self.url, timeout=timeout, **options)
        given = {**self._pool._connect_kwargs, **options, "timeout": timeout}
        theirs = self._pool._connect_kwargs.get("server_settings") or {}
        given["server_settings"] = {**theirs, **options["server_settings"]}
        return await self._pool._connect(*self._pool._connect_args, **given)

    async def borrow(self, pool: asyncpg.Pool, timeout: float) -> asyncpg.Connection:
        """One of the pool's, to be given back to it.

        Raises:
            StorageError: none is free, or the pool is not open.
        """
        name = masked(self.url)
        try:
            return await asyncio.wait_for(pool.acquire(), timeout)
        except TimeoutError:
            raise StorageError(
                f"no connection of the pool to {name} was free for {timeout:g} s; nothing was"
                f" changed: give it more (max_size, now {pool.get_max_size()})"
            ) from None
        except asyncpg.InterfaceError as error:
            raise StorageError(
                f"the pool to {name} lends no connection: {error}; it has to be open from before"
                " the first use until the service has stopped"
            ) from None


def source_of(given: object) -> Source:
    """From the URL of a database, an asyncpg pool, or an engine of SQLAlchemy.

    Raises:
        ConfigurationError: it is none of these, or a URL that makes no sense.
    """
    if isinstance(given, str):
        return Source(_checked(given))
    if isinstance(given, asyncpg.Pool):
        return Source(_url_of_pool(given), given)
    url = getattr(given, "url", None)
    if type(url).__module__.startswith("sqlalchemy."):
        return Source(_checked(_url_of_engine(url)))
    raise ConfigurationError(
        f"jobs in PostgreSQL need a URL, an asyncpg pool or an engine of SQLAlchemy, got a"
        f" {type(given).__name__}; {_WRITE}"
    )


def _checked(url: str) -> str:
    name = masked(url)
    scheme, there, rest = url.partition("://")
    if there and scheme.startswith(("postgresql+", "postgres+")):
        raise ConfigurationError(
            f"{name!r} names a driver, as SQLAlchemy wants it; write"
            f" {masked('postgresql://' + rest)}"
        )
    if not there or scheme not in ("postgresql", "postgres"):
        raise ConfigurationError(f"{name!r} is no URL of PostgreSQL; {_WRITE}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigurationError(f"{name!r} {_ENCODE}") from None
    user, at, hosts = parts.netloc.rpartition("@")
    lost = "@" in parts.path or (not at and ":" in hosts and "@" in parts.query)
    if "@" in user or "#" in url or lost:
        raise ConfigurationError(f"{name!r} {_ENCODE}")
    for host in hosts.split(","):
        found = _PORT.match(host)
        if found is None or (found[2] and not 0 < int(found[2]) < 65536):
            raise ConfigurationError(
                f"{name!r} has no port from 1 to 65535 after its host, or {_ENCODE}"
            )
    try:
        parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigurationError(
            f"{name!r}: what stands after the ? must be of the form name=value&name=value"
        ) from None
    return url


def _url_of_pool(pool: asyncpg.Pool) -> str:
    """What to call it; it connects by what it was made from."""
    said = pool._connect_kwargs
    dsn = next(iter(pool._connect_args), None) or said.get("dsn")
    if dsn is not None:
        return str(dsn)
    host = said.get("host") or "localhost"
    host = ",".join(map(str, host)) if isinstance(host, (list, tuple)) else str(host)
    where = f"{quote(host, safe=',:[]')}:{said.get('port') or 5432}"
    who = f"{quote(str(said['user']), safe='')}@" if said.get("user") else ""
    return f"postgresql://{who}{where}/{quote(str(said.get('database') or ''), safe='')}"


def _url_of_engine(url: Any) -> str:
    """The same for us: without the driver, and with our names for what is asked of it."""
    if url.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"the engine is one of {url.get_backend_name()}, not of PostgreSQL: {url!r}"
        )
    text = url.set(drivername="postgresql").render_as_string(hide_password=False)
    head, mark, query = text.partition("?")
    kept = [
        ("sslmode" if name == "ssl" else name, value)
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name not in _THEIRS
    ]
    return f"{head}?{urlencode(kept)}" if mark and kept else head
