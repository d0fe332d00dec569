"""How a connection is made: of what it is asked to be, and how long that may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from backroom.errors import BackroomError
from backroom.storage.postgres.sources import Source

__all__ = [
    "ANSWER",
    "CONNECT",
    "LOCK",
    "LONGEST",
    "READING",
    "SESSION",
    "connect",
    "without_pooled",
]

CONNECT: Final = 5.0
"""Seconds that a connection may take to be made."""
ANSWER: Final = 10.0
"""Seconds that the server may take for what is on the way of a job: far less than a lease."""
LOCK: Final = 5.0
"""Seconds that the server lets a statement wait for a lock."""
LONGEST: Final = 60.0
"""Seconds that the server lets a statement take, and that people wait for what they ask."""

SESSION: Final = {
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    # A plan is made once, when a partition may still be empty: not for that it reads all of it.
    "enable_seqscan": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
    "lock_timeout": f"{LOCK * 1000:.0f}",
    "statement_timeout": f"{LONGEST * 1000:.0f}",
    # Who was stopped in the middle of a change lets go of the rows it has locked.
    "idle_in_transaction_session_timeout": f"{ANSWER * 1000:.0f}",
}
"""What statements that have been given up by their caller must not outlive for long."""
READING: Final = {"default_transaction_read_only": "on"}
"""What of a session that changes nothing."""
_LISTENING: Final = {"idle_session_timeout": "0"}


async def connect(
    source: Source,
    told: Callable[[Exception], BackroomError],
    *,
    settings: Mapping[str, str],
    pooled: bool = False,
    listening: bool = False,
    within: float = CONNECT,
    arrive: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
    attributes: str = "read-write",
) -> asyncpg.Connection:
    """A connection with these settings. `pooled`: by way of a proxy that gives each transaction
    another session: it is asked for nothing that a session keeps. `listening`: it idles for long,
    and whatever is said on it is answered within `within` seconds, or not at all. `arrive`: what is
    done first on it, within as many. `attributes`: of several servers, which one is meant
    (`target_session_attrs`).

    Raises:
        BackroomError: what `told` says of what went wrong.
    """
    session = {} if pooled else dict(settings) | (_LISTENING if listening else {})
    options: dict[str, Any] = {"server_settings": {"application_name": "backroom"} | session}
    if pooled:
        options["statement_cache_size"] = 0
    if listening:
        options["command_timeout"] = within
    if _has_choice(source.url):
        options["target_session_attrs"] = attributes
    connection = None
    try:
        connection = await source.connect(within, options)
        if arrive is not None:  # Also a new one may be forgotten on the way.
            await asyncio.wait_for(arrive(connection), within)
    except BaseException as error:
        if connection is not None:
            connection.terminate()
        if isinstance(error, (OSError, ValueError, asyncpg.PostgresError)):
            raise told(error) from error
        if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError)):
            raise told(error) from error
        raise
    return connection


def without_pooled(url: str) -> tuple[str, bool]:
    """A URL as the server knows it, and whether it said `pooled=true`."""
    if "pooled=" not in url:
        return url, False
    parts = urlsplit(url)
    said = parse_qsl(parts.query, keep_blank_values=True)
    others = [(name, value) for name, value in said if name != "pooled"]
    pooled = any(name == "pooled" and value.lower() in ("true", "1", "on") for name, value in said)
    return urlunsplit(parts._replace(query=urlencode(others))), pooled


def _has_choice(url: str) -> bool:
    """Several servers are named, and not which one of them is meant."""
    parts = urlsplit(url)
    return "," in parts.netloc and "target_session_attrs" not in parse_qs(parts.query)
