"""What a shell offers after Tab."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.parts import backroom
from tests.process.parts import scheduling


def offered(folder: Path, line: str, **env: str) -> set[str]:
    """What is offered at the end of a line."""
    words = line.split(" ")
    shown = backroom(
        cwd=folder, _BACKROOM_COMPLETE="bash_complete", COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1), **env,
    )  # fmt: skip
    return {text.partition(",")[2] for text in shown.out.split()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(shell: str) -> None:
    shown = backroom("completion", shell)
    assert (shown.code, shown.err) == (0, "")
    assert f"_BACKROOM_COMPLETE={shell}_complete" in shown.out


def test_an_unknown_shell_is_wrong_usage() -> None:
    assert backroom("completion", "tcsh").code == 2


async def test_names_of_the_store_are_offered(tmp_path: Path) -> None:
    async with scheduling(tmp_path / "storage" / "jobs") as service:
        await service.schedule("QUICK", queue="mail")
        await service.schedule("ECHO", queue="other")
    assert offered(tmp_path, "backroom jobs list --type ") == {"QUICK", "ECHO"}
    assert offered(tmp_path, "backroom jobs schedule Q") == {"QUICK"}
    assert offered(tmp_path, "backroom queues pause m") == {"mail"}
    (tmp_path / "storage").rename(tmp_path / "moved")
    assert offered(tmp_path, "backroom queues pause ") == set()
    line = "backroom jobs list --storage file:moved/jobs --queue "
    assert offered(tmp_path, line) == {"mail", "other"}
    where = {"BACKROOM_STORAGE": "file:moved/jobs"}
    assert offered(tmp_path, "backroom queues pause ", **where) == {"mail", "other"}
    (tmp_path / "backroom.toml").write_text('storage = "file:moved/jobs"')
    assert offered(tmp_path, "backroom queues pause ") == {"mail", "other"}


def test_commands_and_statuses_are_offered(tmp_path: Path) -> None:
    assert {"jobs", "worker", "doctor"} <= offered(tmp_path, "backroom ")
    assert offered(tmp_path, "backroom jobs retry --status ") == {
        "completed", "failed", "cancelled",
    }  # fmt: skip
