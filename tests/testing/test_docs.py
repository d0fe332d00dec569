"""Every block of docs/testing.md, as one project: its tests pass, its script runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.testing.projects import run, run_pytest

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
BLOCK = re.compile(r"```python\n# (?P<file>\w+\.py)\n(?P<code>.*?)```", re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for block in BLOCK.finditer(PAGE.read_text()):
        (tmp_path / block["file"]).write_text(block["code"])
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\nfilterwarnings = error\n")
    return tmp_path


def test_every_block_has_a_file_of_its_own() -> None:
    text = PAGE.read_text()
    files = [block["file"] for block in BLOCK.finditer(text)]
    assert len(files) == len(set(files)) == text.count("```python") == text.count("```") // 2


def test_all_tests_of_the_page_pass(project: Path) -> None:
    ran = run_pytest(project)
    tests = re.findall(r"def (test_\w+)", PAGE.read_text())
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for test in tests:
        assert re.search(rf"::{test} PASSED", ran.stdout), ran.stdout
    assert f"{len(tests)} passed" in ran.stdout
    assert not (project / "storage").exists()  # The service's own storage was never opened.


def test_the_script_of_the_page_runs(project: Path) -> None:
    ran = run(project, "script.py")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "['ada@example.com']\n", "")
