"""The power is cut at every instant of a store's life: what was promised is there afterwards.

See `README.md` beside this file, and `python -m tests.crash.power_cuts` for longer runs.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backroom.storage import folder
from backroom.storage.folder import Folder
from backroom.storage.sqlite import connect
from tests.crash.power_cuts.disk import KEPT, LOST, Disk, Link, Torn, Tree, Truncate, Write
from tests.crash.power_cuts.lives import (
    LIVES,
    NEXT_LIVES,
    Life,
    first_days,
    long_log,
    next_day,
    settled,
    steps,
)
from tests.crash.power_cuts.recording import Recording, Sync
from tests.crash.power_cuts.reopening import workshop
from tests.crash.power_cuts.trial import Figures, Trial

SOAK = os.environ.get("BACKROOM_SOAK") == "1"
STATES = 10_200 if SOAK else 5_100
"""Different states of a disk that a run of these tests opens at least."""
SEEDS = (1, 2) if SOAK else (1,)
THERE: Tree = {"storage": None, "storage/jobs": None}
"""A folder that somebody had made for the store, and synced."""


@pytest.fixture
def place() -> Iterator[Path]:
    with workshop() as folder:
        yield folder


def _none(figures: Figures) -> str:
    return "\n".join(str(violation) for violation in figures.violations[:2])


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("life", LIVES)
def test_what_was_promised_survives_a_power_cut_at_any_instant(
    place: Path, life: str, seed: int, record_property: Callable[[str, object], None]
) -> None:
    enough = STATES // len(SEEDS) // len(LIVES)
    trial = Trial(place, seed, most=2, enough=enough, work_every=4)
    rng = random.Random(seed)
    while trial.figures.states < enough:
        trial.run(LIVES[life], rng.choice(NEXT_LIVES), there=THERE if seed % 2 else {})
    record_property("power cuts", trial.figures.counts())
    print(trial.figures)
    assert not trial.figures.violations, _none(trial.figures)


# -- durability="os" -----------------------------------------------------------------------------


def test_durability_os_loses_whole_commits_from_the_end_and_nothing_else(place: Path) -> None:
    figures = Trial(place, 3, most=1, durable=False, durability="os").run(steps, next_day)
    assert not figures.violations, _none(figures)


def test_durability_os_does_lose_its_last_moments(place: Path) -> None:
    assert _finds(LOSS, place, steps, durability="os")


# -- each guard is missed where it is taken away -------------------------------------------------


def _finds(fault: str, place: Path, *lives: Life, **settings: Any) -> bool:
    """Whether a few lives, cut short everywhere, show this fault."""
    kill = settings.pop("kill", None)
    trial = Trial(place, 1, most=2, sought=fault, **settings)
    trial.run(*lives, kill=kill)
    return trial.found


def _but(*names: str) -> Callable[[Recording, Sync], bool]:
    """A disk that obeys no sync of what is called so."""
    return lambda recording, sync: not recording.name(sync.node).endswith(names)


LOSS = "was acknowledged and is lost"


@pytest.mark.parametrize(
    ("disobeyed", "fault"),
    [
        pytest.param(("",), LOSS, id="everything"),
        pytest.param(("-wal",), LOSS, id="the log"),
        pytest.param(("jobs", "storage", "root"), LOSS, id="all folders"),
        pytest.param(("storage/jobs",), LOSS, id="the folder"),
        pytest.param(("storage",), LOSS, id="the folder above"),
        pytest.param(("root",), LOSS, id="the topmost folder"),
        pytest.param(
            ("store.json",), "the folder does not say any more that it holds jobs", id="the mark"
        ),
    ],
)
def test_a_disk_that_does_not_sync_is_found_out(
    place: Path, disobeyed: tuple[str, ...], fault: str
) -> None:
    assert _finds(fault, place, first_days, counted=_but(*disobeyed))


def test_a_database_that_is_not_synced_before_its_log_goes_is_found_out(place: Path) -> None:
    assert _finds(LOSS, place, long_log, counted=_but("jobs.db"))


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_commits_that_are_not_synced_are_found_out(place: Path, synchronous: str) -> None:
    with settled(synchronous=synchronous):
        assert _finds(LOSS, place, first_days)


def test_folders_that_are_not_synced_are_found_out(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_sync_names", lambda path: None)
    assert _finds(LOSS, place, first_days)


def test_believing_what_a_dead_process_did_not_sync_is_found_out(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Folder, "sync_log", lambda self: None)
    assert _finds(LOSS, place, first_days, next_day, kill=True)


def test_a_first_write_that_is_not_taken_back_is_found_out(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "_undo_first_write", lambda folder: None)
    assert _finds("the store is refused", place, first_days)


# -- the model of a disk -------------------------------------------------------------------------


def test_what_was_synced_is_there_whatever_the_rest_does() -> None:
    disk = Disk(pending=[Link(0, "file", 1), Write(1, 0, b"first")])
    disk.sync(1)
    assert disk.after([LOST]).tree() == {}
    disk.sync(0)
    disk.pending += [Write(1, 0, b"other"), Truncate(1, 2)]
    assert disk.after([LOST, LOST]).tree() == {"file": b"first"}
    assert disk.after([LOST, KEPT]).tree() == {"file": b"fi"}


def test_a_folder_whose_name_was_not_synced_goes_with_all_that_is_in_it() -> None:
    disk = Disk(
        pending=[Link(0, "folder", 1, is_folder=True), Link(1, "file", 2), Write(2, 0, b"x")]
    )
    disk.sync(2)
    disk.sync(1)
    assert disk.after([LOST]).tree() == {}
    assert disk.after([KEPT]).tree() == {"folder": None, "folder/file": b"x"}


def test_a_write_is_torn_at_the_sectors_of_the_disk() -> None:
    disk = Disk({1: b"-" * 600}, {0: {"file": 1}}, [Write(1, 500, b"+" * 1000)])
    first, second = (
        disk.after([Torn(frozenset({part}), grown=False)]).tree()["file"] for part in (0, 1)
    )
    assert first == b"-" * 500 + b"+" * 12 + b"-" * 88
    assert second == b"-" * 512 + b"+" * 512
    grown = disk.after([Torn(frozenset(), grown=True)]).tree()["file"]
    assert grown == b"-" * 600 + bytes(900)
