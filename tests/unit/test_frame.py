"""Promises about the project's frame: what a fresh clone holds, and what it never holds."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import backroom

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def git_ignores(path: str) -> bool:
    """Whether git would leave this path out; any other trouble with git is an error."""
    command = ["git", "check-ignore", "--quiet", "--no-index", path]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode in (0, 1), answer.stderr
    return answer.returncode == 0


def package_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in requirements}


def test_both_locks_are_there():
    assert [lock.name for lock in LOCKS] == ["dev.txt", "uv.txt"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_names_packages_versions_and_hashes_and_nothing_else(lock: Path):
    pin = re.compile(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[\w.+!-]+( ; [^\\#/]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    comment = re.compile(r" *#[^/]*")
    strange = [
        line
        for line in lock.read_text().splitlines()
        if not any(form.fullmatch(line) for form in (pin, digest, comment))
    ]
    assert strange == []  # such as a download address, a path, --index-url, --find-links


def test_the_lock_covers_what_pyproject_asks_for():
    project, groups = PYPROJECT["project"], PYPROJECT["dependency-groups"]
    asked = package_names(
        [
            *project["dependencies"],
            *(name for extra in project["optional-dependencies"].values() for name in extra),
            *groups["dev"],
        ]
    )
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE)
    assert asked - {"backroom"} <= set(locked), "run: python3 dev.py lock"


def test_pyproject_names_no_index():
    assert "://" not in (ROOT / "pyproject.toml").read_text()


def test_uv_lock_stays_out_of_git():
    assert git_ignores("uv.lock")


def test_the_folder_of_a_demo_stays_out_of_git_but_the_storage_package_does_not():
    assert git_ignores("storage/jobs/backroom.db")
    assert not git_ignores("src/backroom/storage/__init__.py")


def test_the_readme_opens_with_the_two_commands():
    opening = "\n".join((ROOT / "README.md").read_text().splitlines()[:40])
    assert "python3 dev.py demo" in opening
    assert "python3 dev.py test" in opening


def test_dev_py_imports_the_standard_library_only():
    imported = set()
    for node in ast.walk(ast.parse((ROOT / "dev.py").read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).partition(".")[0])
    assert imported - sys.stdlib_module_names == set()


def test_dev_py_tells_its_own_words_from_those_of_the_tool_it_runs():
    import dev

    assert dev.parse(["test", "--python", "3.13", "-x"]) == ("test", "3.13", ["-x"])
    assert dev.parse(["test", "-x", "--", "--python=3"]) == ("test", None, ["-x", "--python=3"])
    for wrong in (["tests"], ["check", "src"], ["lock", "--python", "3.13"], ["test", "--python"]):
        with pytest.raises(dev.DevError):
            dev.parse(wrong)


def test_the_version_stands_in_two_places_and_is_the_same():
    assert PYPROJECT["project"]["version"] == backroom.__version__


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "src/backroom/py.typed").is_file()
