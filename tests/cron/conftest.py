"""The zones here are those of the package tzdata, whatever the machine has."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="package")
def _zones_of_tzdata() -> Iterator[None]:
    usual = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath(to=usual)
    zoneinfo.ZoneInfo.clear_cache()
