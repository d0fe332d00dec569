"""What holds for a whole run: how many tests run at once, and which first."""

from __future__ import annotations

import os
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Hundreds of processes are started here: what they import is compiled once, not by each.
    Who wants no compiled code beside the sources has it in a folder that goes with the run."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        compiled = tempfile.TemporaryDirectory(
            prefix="backroom-compiled-", ignore_cleanup_errors=True
        )
        config.add_cleanup(compiled.cleanup)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled.name


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for each core, since many tests wait, for a process or for time; none beside this one
    for a few files, which have run before the others have begun."""
    if config.args and all(".py" in argument for argument in config.args):
        return 0
    return min(2 * (os.cpu_count() or 1), 8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take long come first: nobody waits for one that began last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
