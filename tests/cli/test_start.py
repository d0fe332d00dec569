"""Starting is quick, since nothing is imported that is not used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import backroom
from backroom.cli import statuses
from backroom.job import PRIORITIES, JobStatus
from tests.cli.parts import clean_environment
from tests.process.parts import ROOT, scheduling

HEAVY = (
    "logging",
    "rich",
    "apsw",
    "asyncio",
    "msgspec",
    "tomllib",
    "backroom.service",
    "backroom.job",
)


def imported(code: str) -> set[str]:
    """What a process that runs this code has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", "import atexit, json, sys\n"
         "atexit.register(lambda: print(json.dumps(list(sys.modules)), file=sys.stderr))\n" + code],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["worker"],
        ["jobs"],
        ["jobs", "list"],
        ["schedules"],
        ["schedules", "list"],
        ["stats"],
        ["doctor"],
        ["migrate"],
        ["backup"],
    ],
)
def test_help_imports_nothing_that_it_does_not_need(arguments: list[str]) -> None:
    modules = imported(f"from backroom.cli import main\nmain({[*arguments, '--help']})")
    assert "click" in modules
    assert not modules & set(HEAVY)


def test_the_package_imports_none_of_its_rooms() -> None:
    modules = imported("import backroom")
    assert not modules & set(HEAVY)
    assert {name for name in modules if name.startswith("backroom.")} == set()


async def test_json_is_printed_without_the_library_for_tables(tmp_path: Path) -> None:
    async with scheduling(tmp_path / "jobs") as service:
        await service.schedule("QUICK")
    for command in (
        ["stats"],
        ["jobs", "list"],
        ["queues", "list"],
        ["schedules", "list"],
        ["doctor"],
    ):
        arguments = [*command, "--json", "--storage", f"file:{tmp_path / 'jobs'}"]
        assert "rich" not in imported(f"from backroom.cli import main\nmain({arguments})")


def test_every_public_name_is_found_in_its_room() -> None:
    rooms = {name for names in backroom._ROOMS.values() for name in names}
    assert rooms | {"__version__"} == set(backroom.__all__)
    for name in backroom.__all__:
        assert getattr(backroom, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'JobServise'"):
        backroom.JobServise  # noqa: B018


def test_names_that_are_written_twice_agree() -> None:
    assert set(statuses.STATUSES) == {str(status) for status in JobStatus}
    assert {JobStatus(name) for name in statuses.ENDED} == {s for s in JobStatus if s.terminal}
    assert statuses.PRIORITIES == PRIORITIES
