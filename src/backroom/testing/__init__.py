"""What users test with: jobs in memory that run when the test says so, and time that obeys it.

The engine is the real one. Nothing here needs pytest but `backroom.testing.plugin`, and as pytest
imports that in every project, the names below are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from backroom.testing.jobs import Jobs, inline, kit
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

_ROOMS: Final = {
    "InjectedError": "stage",
    "Jobs": "jobs",
    "Scheduled": "scheduled",
    "TestStorage": "storage",
    "inline": "jobs",
    "kit": "jobs",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS.get(name, 'virtual')}"), name)
