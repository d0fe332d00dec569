"""The zones here are those of the package tzdata, whatever the machine has."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator, Sequence

import pytest

from backroom.cron.zone import Zone


@pytest.fixture(autouse=True, scope="package")
def _zones_of_tzdata() -> Iterator[None]:
    usual = zoneinfo.TZPATH
    _look_in(())
    yield
    _look_in(usual)


def _look_in(folders: Sequence[str]) -> None:
    zoneinfo.reset_tzpath(to=folders)
    zoneinfo.ZoneInfo.clear_cache()
    Zone.named.cache_clear()
