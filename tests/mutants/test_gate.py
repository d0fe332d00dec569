"""The gate itself, on a small checkout: who notices is named, and nothing counts that was not
tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.mutants.gate import Verdict, judge, verdicts
from tests.mutants.mutant import Mutant
from tests.mutants.scratch import Run, Scratch

FILES = {
    "pyproject.toml": """
        [tool.pytest.ini_options]
        asyncio_default_fixture_loop_scope = "function"
        """,
    "src/backroom/__init__.py": """
        def checked(number):
            if number < 0:
                raise ValueError(number)
            return number
        """,
    "src/backroom/__main__.py": """
        import sys
        from backroom import checked
        if sys.argv[1] == "nothing":
            sys.exit("say a number")
        print(checked(int(sys.argv[1])))
        """,
    "src/backroom/testing/plugin.py": "",  # pytest looks for it where Backroom is installed.
    "tests/test_here.py": """
        import pytest
        from backroom import checked

        @pytest.mark.parametrize("number", [-1, -2])
        def test_negative_numbers_are_refused(number):
            with pytest.raises(ValueError):
                checked(number)
        """,
    "tests/test_child.py": """
        import subprocess, sys

        def test_a_number_is_asked_for():
            command = [sys.executable, "-m", "backroom", "nothing"]
            ended = subprocess.run(command, capture_output=True, text=True)
            assert ended.stderr == "say a number\\n"
        """,
    "tests/test_red.py": "def test_that_is_red_anyhow(): assert False",
}


def mutant(name: str, old: str, new: str, *tests: str, **options: object) -> Mutant:
    file = "__main__.py" if name == "in a child" else "__init__.py"
    said = {"promises": (1,), "guard": name, "file": file, "limit": 20.0, **options}
    return Mutant(name=name, old=old, new=new, tests=tests, **said)  # type: ignore[arg-type]


REFUSAL = "raise ValueError(number)"
MUTANTS = (
    mutant("here", "if number < 0:", "if number < -1:", "test_here.py"),
    mutant("in a child", "sys.exit(", "print(", "test_child.py"),
    mutant("unnoticed", "return number", "return -number", "test_here.py"),
    mutant("noticed elsewhere", "if number < 0:", "if not number:", "test_child.py"),
    mutant("breaks all", "def checked", "def unchecked", "test_here.py"),
    mutant("red anyhow", "if number < 0:", "if number < -1:", "test_red.py"),
    mutant("hangs", REFUSAL, "while True: pass", "test_here.py", limit=2.0),
    mutant("is to hang", REFUSAL, "while True: pass", "test_here.py", limit=2.0, hangs=True),
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    checkout = tmp_path / "checkout"
    for name, text in FILES.items():
        file = checkout / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
    (checkout / ".venv" / "large").mkdir(parents=True)
    return checkout


@pytest.mark.slow
def test_each_mutant_has_its_verdict(checkout: Path) -> None:
    before = {file: file.read_bytes() for file in checkout.rglob("*.py")}

    without, *found = verdicts(checkout, MUTANTS, all_tests=True)

    assert isinstance(without, Run)
    assert (without.code, without.red) == (1, ["test_red.py::test_that_is_red_anyhow"])
    assert without.sound
    told = {one.mutant.name: (one.verdict, one.red) for one in found if isinstance(one, Verdict)}
    refused = "test_here.py::test_negative_numbers_are_refused[-1]"
    assert told == {
        "here": ("killed", refused),
        "in a child": ("killed", "test_child.py::test_a_number_is_asked_for"),
        "unnoticed": ("no verdict", "test_red.py::test_that_is_red_anyhow"),
        "noticed elsewhere": ("killed", refused),
        "breaks all": ("no verdict", "test_here.py"),
        "red anyhow": ("no verdict", "test_red.py::test_that_is_red_anyhow"),
        "hangs": ("timed out", ""),
        "is to hang": ("killed (hung)", ""),
    }
    assert {file: file.read_bytes() for file in checkout.rglob("*.py")} == before


def test_nothing_counts_that_ran_on_another_backroom(checkout: Path, tmp_path: Path) -> None:
    """As where a test gives its processes a path of their own."""
    (checkout / "tests/test_child.py").write_text(
        dedent(f"""
        import os, subprocess, sys

        def test_another_backroom_is_imported():
            paths = [{str(checkout / "src")!r}, os.environ["PYTHONPATH"]]
            env = {{**os.environ, "PYTHONPATH": os.pathsep.join(paths)}}
            subprocess.run([sys.executable, "-m", "backroom", "1"], env=env, check=True)
            assert False
        """)
    )
    scratch = Scratch.of(checkout, tmp_path / "scratch")
    run = scratch.run(["test_child.py"], 20.0)
    assert (run.code, run.sound) == (1, False)
    assert run.strangers == {str(checkout / "src/backroom/__init__.py")}
    verdict = judge(MUTANTS[0], run)
    assert (verdict.verdict, "another Backroom" in verdict.why) == ("no verdict", True)


def test_the_command_shows_its_mutants_and_refuses_unknown_ones() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.mutants", *arguments]
        root = Path(__file__).parents[2]
        paths = os.pathsep.join([str(root / "src"), str(root)])
        return subprocess.run(
            command, cwd=root, env={**os.environ, "PYTHONPATH": paths}, capture_output=True,
            text=True, check=False, timeout=60,
        )  # fmt: skip

    shown = run("--list", "--only", "token-of-*")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "token-of-outcome  (storage/sqlite/outcomes.py)\n    the lease fence" in shown.stdout
    assert "fork" not in shown.stdout
    unknown = run("--only", "nonsense")
    assert unknown.returncode == 2
    assert "no mutant is called nonsense" in unknown.stderr
