"""The fixture of these tests; not in `parts.py`, which every process that they start loads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.parts import Family

__all__ = ["family"]


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    """The processes of a test; what they wrote is shown when it fails."""
    family = Family(tmp_path)
    try:
        yield family
    finally:
        family.end_all()
        for child in family.children:
            last = child.text.splitlines()[-40:]
            print(f"--- process {child.pid} ended with {child.code}:", *last, sep="\n")
