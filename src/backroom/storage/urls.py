"""A storage from its URL."""

from __future__ import annotations

from typing import Final

from backroom.errors import ConfigurationError
from backroom.ports import Store
from backroom.storage.file import FileJobStorage
from backroom.storage.masks import masked
from backroom.storage.memory import MemoryJobStorage

__all__ = ["open_storage"]

_MEND: Final = 'use "memory:", "file:./storage/jobs" or "postgresql://user@host/database"'


def open_storage(storage: Store | str | None) -> Store:
    """A storage from what a service was given; None: `FileJobStorage()`.

    Raises:
        ConfigurationError: a URL of another kind.
    """
    if storage is None:
        return FileJobStorage()
    if not isinstance(storage, str):
        if getattr(storage, "capabilities", None) is None:
            raise ConfigurationError(f"{storage!r} is no storage; {_MEND}")
        return storage
    scheme, colon, rest = storage.partition(":")
    if colon and scheme == "memory":
        return MemoryJobStorage()
    if colon and scheme == "file" and rest:
        return FileJobStorage(rest.removeprefix("//"))
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        return _database(storage)
    if scheme in ("redis", "rediss"):
        raise ConfigurationError(
            f"this version of Backroom has no storage for {scheme} yet; use file:, postgresql: or"
            " memory:"
        )
    raise ConfigurationError(f"{masked(storage)!r} is no storage; {_MEND}")


def _database(url: str) -> Store:
    try:
        from backroom.storage.postgres import DatabaseJobStorage
    except ImportError as error:
        raise ConfigurationError(str(error)) from None
    return DatabaseJobStorage(url)
