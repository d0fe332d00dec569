"""All scenarios of the chaos."""

from __future__ import annotations

from collections.abc import Sequence

from tests.crash.damage import damaged_store
from tests.crash.disks import failing_disk, full_disk
from tests.crash.outages import broken_network, restart_storm
from tests.crash.stage import Scenario
from tests.crash.stalls import blocked_loop, clock_steps, frozen_workers
from tests.crash.storms import fork_storm, kill_storm, stop_storm

__all__ = ["SCENARIOS", "chosen"]

BOTH = ("file", "postgres")

SCENARIOS = (
    Scenario("kill storm", kill_storm, 8, BOTH),
    Scenario("stop storm", stop_storm, 4, BOTH),
    Scenario("frozen workers", frozen_workers, 5, BOTH),
    Scenario("blocked loop", blocked_loop, 5, BOTH),
    Scenario("failing disk", failing_disk, 3),
    Scenario("full disk", full_disk, 3),
    Scenario("damaged store", damaged_store, 4),
    Scenario("fork storm", fork_storm, 3),
    Scenario("clock steps", clock_steps, 3, BOTH),
    Scenario("restart storm", restart_storm, 5, ("postgres",)),
    Scenario("broken network", broken_network, 6, ("postgres",)),
)


def chosen(parts: Sequence[str] = (), storages: Sequence[str] = BOTH) -> list[tuple[Scenario, str]]:
    """Each scenario that has one of these in its name, on each of these storages where it makes
    sense."""
    return [
        (scenario, storage)
        for storage in storages
        for scenario in SCENARIOS
        if storage in scenario.storages
        and (not parts or any(part in scenario.name for part in parts))
    ]
