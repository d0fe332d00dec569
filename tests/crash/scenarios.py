"""All scenarios of the chaos."""

from __future__ import annotations

from tests.crash.damage import damaged_store
from tests.crash.disks import failing_disk, full_disk
from tests.crash.stage import Scenario
from tests.crash.stalls import blocked_loop, clock_steps, frozen_workers
from tests.crash.storms import fork_storm, kill_storm, stop_storm

__all__ = ["SCENARIOS"]

SCENARIOS = (
    Scenario("kill storm", kill_storm, 8),
    Scenario("stop storm", stop_storm, 4),
    Scenario("frozen workers", frozen_workers, 5),
    Scenario("blocked loop", blocked_loop, 5),
    Scenario("failing disk", failing_disk, 3),
    Scenario("full disk", full_disk, 3),
    Scenario("damaged store", damaged_store, 4),
    Scenario("fork storm", fork_storm, 3),
    Scenario("clock steps", clock_steps, 3),
)
