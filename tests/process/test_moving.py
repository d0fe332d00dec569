"""A mover that is killed: no job is lost, none is doubled, and none is ever at both places."""

from __future__ import annotations

import pytest

from tests.process.parts import Child, Family
from tests.servers.fixtures import PostgresPlace

WAYS = ["file-postgres", "postgres-file", "file-file"]


def mover(family: Family, place: PostgresPlace, way: str, how: str) -> Child:
    urls = {
        "postgres": f"{place.url}?search_path={place.schema}",
        "file": f"file:{family.folder / 'one'}",
    }
    source, target = way.split("-")
    there = f"file:{family.folder / 'other'}" if source == target else urls[target]
    return family.start("-m", "tests.process.mover", urls[source], there, how)


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("way", WAYS)
def test_killed_before_and_after_every_step(
    family: Family, postgres_url: PostgresPlace, way: str
) -> None:
    child = mover(family, postgres_url, way, "steps")
    assert child.ends(within=120) == 0, child.text
    steps = child.text.splitlines()
    # Two parcels, each packed, unpacked and unloaded, and the look that finds no more.
    assert len(steps) >= 2 * 3 * 2, child.text
    assert steps[-1].endswith(": 0")


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("way", WAYS[:2])
def test_killed_at_any_moment(family: Family, postgres_url: PostgresPlace, way: str) -> None:
    child = mover(family, postgres_url, way, "8")
    assert child.ends(within=120) == 0, child.text
    assert child.text.count("round") == 8
