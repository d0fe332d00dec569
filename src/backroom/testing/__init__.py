"""What users test with: jobs in memory that run when the test says so, and time that obeys it.

The engine is the real one. Nothing here needs pytest but `backroom.testing.plugin`.
"""

from __future__ import annotations

from backroom.testing.kit import Jobs, inline, kit
from backroom.testing.scheduled import Scheduled
from backroom.testing.stage import InjectedError
from backroom.testing.storage import TestStorage
from backroom.testing.virtual import Stuck, VirtualClock, VirtualLoop, run_virtual, virtual_time

__all__ = [
    "InjectedError",
    "Jobs",
    "Scheduled",
    "Stuck",
    "TestStorage",
    "VirtualClock",
    "VirtualLoop",
    "inline",
    "kit",
    "run_virtual",
    "virtual_time",
]
