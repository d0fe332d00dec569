"""What users test with: jobs in memory that run when the test says so, time that obeys it, and
crashes at every await.

The engine is the real one. Nothing here needs pytest but `backroom.testing.plugin`, and as pytest
imports that in every project, the names below are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from backroom.testing.crashes import CrashTestOptions, assert_safe_to_rerun, crash_test
    from backroom.testing.findings import CrashReport, Finding, Interruption
    from backroom.testing.jobs import Jobs, inline, kit
    from backroom.testing.rerunning import Inconclusive
    from backroom.testing.scheduled import Scheduled
    from backroom.testing.stage import InjectedError
    from backroom.testing.storage import TestStorage
    from backroom.testing.virtual import Stuck, VirtualClock, VirtualLoop, run_virtual, virtual_time

__all__ = [
    "CrashReport",
    "CrashTestOptions",
    "Finding",
    "Inconclusive",
    "InjectedError",
    "Interruption",
    "Jobs",
    "Scheduled",
    "Stuck",
    "TestStorage",
    "VirtualClock",
    "VirtualLoop",
    "assert_safe_to_rerun",
    "crash_test",
    "inline",
    "kit",
    "run_virtual",
    "virtual_time",
]

_ROOMS: Final = {
    "CrashReport": "findings",
    "CrashTestOptions": "crashes",
    "Finding": "findings",
    "Inconclusive": "rerunning",
    "InjectedError": "stage",
    "Interruption": "findings",
    "Jobs": "jobs",
    "Scheduled": "scheduled",
    "TestStorage": "storage",
    "assert_safe_to_rerun": "crashes",
    "crash_test": "crashes",
    "inline": "jobs",
    "kit": "jobs",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS.get(name, 'virtual')}"), name)
