"""The statuses of jobs by name, for those who only print their help."""

from __future__ import annotations

from typing import Final

__all__ = ["ENDED", "LIVE", "PRIORITIES", "STATUSES"]

LIVE: Final = ("scheduled", "pending", "blocked", "active")
ENDED: Final = ("completed", "failed", "cancelled")
STATUSES: Final = LIVE + ENDED
PRIORITIES: Final = ("critical", "high", "normal", "low")
