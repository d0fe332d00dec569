"""Jobs in PostgreSQL: for many machines."""

from __future__ import annotations

try:
    import asyncpg  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "jobs in PostgreSQL need a driver: pip install 'backroom[postgres]'"
    ) from error

from backroom.storage.postgres.storage import DatabaseJobStorage

__all__ = ["DatabaseJobStorage"]
