"""How much of everything the web application takes, as numbers in one place."""

from __future__ import annotations

from typing import Final

import msgspec

from backroom.errors import ConfigurationError

__all__ = ["Bounds"]

MEBIBYTE: Final = 1 << 20


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What is over one of these is refused with a message that names the number.

    Raises:
        ConfigurationError: a number that is not more than 0.
    """

    body: int = 2 * MEBIBYTE
    """Bytes of a request's body: the data of a job (1 MiB by default) and what is said beside."""
    depth: int = 100
    """How deep a JSON body may be nested."""
    query: int = 8_192
    """Bytes of a query string."""
    header: int = 16_384
    """Bytes of all headers together."""
    seconds: float = 30.0
    """How long one request may take; streams of events are not counted."""
    requests: int = 64
    """Requests that are answered at once; more are told to come again."""
    unknown_bodies: int = 10
    """Bodies that are on their way at once from one address that has not said who it is."""
    unknown_seconds: float = 5.0
    """How long such a body may take to come."""
    streams: int = 100
    """Viewers that listen to events at once."""
    streams_each: int = 20
    """The same, of one identity from one address: one person, or a small office."""
    stream_seconds: float = 900.0
    """After so long a viewer listens anew, and shows anew who it is."""
    mutations: int = 120
    """Changes that one client may ask for in a minute."""
    failures: int = 10
    """Wrong credentials that one client may show in a minute."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise ConfigurationError(f"Bounds: {name} must be a number over 0, got {value!r}")
