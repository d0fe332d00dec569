"""`backroom top`, on a terminal."""

from __future__ import annotations

from pathlib import Path

from tests.cli.parts import Terminal, backroom
from tests.process.parts import scheduling


async def test_it_leaves_the_terminal_as_it_was_however_it_ends(tmp_path: Path) -> None:
    async with scheduling(tmp_path / "jobs") as service:
        await service.schedule("QUICK")
    terminal = Terminal("top", "--storage", f"file:{tmp_path / 'jobs'}")
    terminal.shows("no worker is running")
    terminal.interrupt()
    assert terminal.ends() == 0, terminal.text
    assert "\x1b[?1049l" in terminal.raw
    assert "\x1b[?25h" in terminal.raw


def test_in_a_pipe_it_says_what_to_use_there(tmp_path: Path) -> None:
    shown = backroom("top", "--storage", f"file:{tmp_path}")
    assert shown.code == 2
    assert "stats --watch --json" in shown.err
