"""Every scenario of the chaos, for some seconds and with a fixed seed. `dev.py chaos` goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.scenarios import chosen
from tests.crash.stage import Scenario, play

pytestmark = [pytest.mark.crash, pytest.mark.slow]


ON_A_SERVER = ("kill storm", "restart storm")
"""The others are played there by the soak alone: what they show of the engine is shown here."""
PLAYS = [*chosen(storages=["file"]), *chosen(ON_A_SERVER, ["postgres"])]


@pytest.mark.parametrize(
    ("scenario", "storage"),
    [pytest.param(*one, id=f"{one[0].name}-{one[1]}") for one in PLAYS],
)
def test_chaos_breaks_no_promise(scenario: Scenario, storage: str, tmp_path: Path) -> None:
    story = play(scenario, tmp_path, scenario.seconds, seed=1_618_033, storage=storage)
    print(story.figures, story.log, sep="\n")
    assert not story.violations, "\n".join(story.violations[:20])
