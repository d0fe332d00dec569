"""What holds for a whole run: how many tests run at once, and which first."""

from __future__ import annotations

import os
import tempfile
from collections import Counter

import pytest

from tests.servers.fixtures import close_shared, postgres_database, postgres_server, postgres_url

__all__ = ["postgres_database", "postgres_server", "postgres_url"]


def pytest_configure(config: pytest.Config) -> None:
    """Hundreds of processes are started here: what they import is compiled once, not by each.
    Who wants no compiled code beside the sources has it in a folder that goes with the run."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        compiled = tempfile.TemporaryDirectory(
            prefix="backroom-compiled-", ignore_cleanup_errors=True
        )
        config.add_cleanup(compiled.cleanup)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled.name


def pytest_unconfigure() -> None:
    close_shared()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than cores, since many tests wait, for a process or for time, and some measure it;
    none beside this one for a few files, which have run before the others have begun."""
    if config.args and all(".py" in argument for argument in config.args):
        return 0
    return min((os.cpu_count() or 1) + 1, 8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take long come first: nobody waits for one that began last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts that tests have recorded under one name are summed up, whichever process ran them."""
    sums: dict[str, Counter[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, counts in getattr(report, "user_properties", ()):
                if isinstance(counts, dict) and report.when == "call":
                    sums.setdefault(name, Counter()).update(counts)
    for name, counts in sums.items():
        figures = ", ".join(f"{count} {what}" for what, count in counts.items())
        terminalreporter.write_line(f"{name}: {figures}")
