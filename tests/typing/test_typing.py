"""What a type checker says of users' code: mypy in strict mode, once, over both files."""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MARK = re.compile(r"  # (?P<kind>[EMR]): (?P<text>.*)$")
"""`# E: code, code` where errors are expected, `# R: type` where a type is revealed; `# M: code`
where mypy alone finds one."""
LINE = re.compile(r"(?P<file>[^:]+):(?P<line>\d+): (?P<kind>error|note): (?P<text>.*)")

Findings = dict[tuple[str, int], set[str]]


def expected(file: str) -> Findings:
    marks: Findings = {}
    for number, line in enumerate((HERE / file).read_text().splitlines(), 1):
        if mark := MARK.search(line):
            kind = "R" if mark["kind"] == "R" else "E"
            texts = mark["text"].split(", ") if kind == "E" else [mark["text"]]
            marks[file, number] = {f"{kind}: {text}" for text in texts}
    return marks


@pytest.fixture(scope="module")
def found() -> Findings:
    cache = ROOT / ".mypy_cache" / "typing"
    cache.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--show-error-codes"),
        *("--hide-error-context", "--no-pretty", "--no-color-output"),
        *("--cache-dir", str(cache)),
        *("--config-file", str(HERE / "mypy.ini"), "accepted.py", "rejected.py"),
    ]
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Where tests run at once, one fills the cache.
        answer = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert answer.returncode in (0, 1), answer.stdout + answer.stderr
    findings: Findings = defaultdict(set)
    for line in answer.stdout.splitlines():
        said = LINE.match(line)
        assert said is not None, line
        if said["kind"] == "error":
            text = "E: " + said["text"].rpartition("[")[2].rstrip("]")
        elif said["text"].startswith("Revealed type is"):
            text = "R: " + said["text"].partition('"')[2].rstrip('"').replace("builtins.", "")
        else:
            continue
        findings[said["file"], int(said["line"])].add(text)
    return findings


@pytest.mark.parametrize("file", ["accepted.py", "rejected.py"])
def test_a_type_checker_says_what_the_marks_say(found: Findings, file: str) -> None:
    said = {place: texts for place, texts in found.items() if place[0] == file}
    assert said == expected(file)


def test_the_files_hold_what_they_promise() -> None:
    assert all(mark.pop().startswith("R") for mark in expected("accepted.py").values())
    assert len(expected("rejected.py")) > 40


def test_another_type_checker_agrees(tmp_path: Path) -> None:
    """pyright, in its standard mode: nothing wrong where nothing is, and every mistake found on
    its line."""
    settings = {
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
        "extraPaths": [str(ROOT / "src")],
        "include": [str(HERE / "accepted.py"), str(HERE / "rejected.py")],
    }
    project = tmp_path / "pyrightconfig.json"
    project.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "-p", str(project)]
    command += ["--pythonpath", sys.executable]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode in (0, 1), answer.stdout + answer.stderr
    found = {
        (Path(finding["file"]).name, finding["range"]["start"]["line"] + 1)
        for finding in json.loads(answer.stdout)["generalDiagnostics"]
        if finding["severity"] == "error"
    }
    marked = {
        (file, number)
        for file in ("accepted.py", "rejected.py")
        for number, line in enumerate((HERE / file).read_text().splitlines(), 1)
        if "  # E: " in line
    }
    assert found == marked
