"""A user's project, tested in a process of its own, with the plugin as users have it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

__all__ = ["plugin", "run", "run_pytest"]


def plugin() -> list[str]:
    """What makes pytest load the plugin; nothing, where Backroom is installed as it is now."""
    names = [point.name for point in entry_points(group="pytest11")]
    return [] if "backroom" in names else ["-p", "backroom.testing.plugin"]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in a folder, with this checkout of Backroom."""
    source = str(Path(__file__).parents[2] / "src")
    env = {**os.environ, "PYTHONPATH": source, "PYTEST_ADDOPTS": ""}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # What pytest-asyncio asks every project to say.
    scope = (
        [] if "no:asyncio" in arguments else ["-o", "asyncio_default_fixture_loop_scope=function"]
    )
    common = ["-m", "pytest", "-v", "-p", "no:cacheprovider", *plugin(), *scope]
    return run(folder, *common, *arguments)
