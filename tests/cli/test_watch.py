"""`backroom stats --watch`."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.cli.parts import Terminal, backroom
from tests.process.parts import Family, eventually, scheduling


async def test_a_terminal_shows_what_changes_until_it_is_interrupted(tmp_path: Path) -> None:
    async with scheduling(tmp_path / "jobs") as service:
        await service.schedule("QUICK", queue="first")
        terminal = Terminal("stats", "--watch", "0.1", "--storage", f"file:{tmp_path / 'jobs'}")
        terminal.shows("first")
        await service.schedule("QUICK", queue="second")
        terminal.shows("second")
        terminal.interrupt()
        assert terminal.ends() == 0, terminal.text


async def test_ctrl_c_ends_a_watch(tmp_path: Path) -> None:
    async with scheduling(tmp_path / "jobs") as service:
        await service.schedule("QUICK")
    terminal = Terminal("stats", "--watch", "--storage", f"file:{tmp_path / 'jobs'}")
    terminal.shows("default")
    terminal.interrupt()
    assert terminal.ends() == 0, terminal.text


async def test_a_pipe_gets_a_line_of_json_each_time_or_nothing(family: Family) -> None:
    async with scheduling(family.jobs) as service:
        await service.schedule("QUICK")
    on = ("--storage", f"file:{family.jobs}")
    shown = backroom("stats", "--watch", *on)
    assert (shown.code, "needs a terminal" in shown.err) == (2, True)
    child = family.start("-m", "backroom", "stats", "--watch", "0.1", "--json", *on)
    eventually(lambda: child.text.count("\n") >= 3, "three lines")
    child.signal(signal.SIGTERM)
    assert child.ends() == 0
    for line in child.text.splitlines():
        assert json.loads(line)["by_status"]["pending"] == 1
