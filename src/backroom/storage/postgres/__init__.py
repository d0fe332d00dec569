"""Jobs in PostgreSQL: for many machines."""

from __future__ import annotations

from backroom.storage.postgres.storage import DatabaseJobStorage

__all__ = ["DatabaseJobStorage"]
