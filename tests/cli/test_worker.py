"""`backroom worker` before it works: rehearsals, restarts for development, mistakes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from backroom import JobService
from backroom.cli.reload import snapshot
from tests.cli.parts import backroom
from tests.process.parts import Child, Family, eventually

APP = """
from backroom import JobService
service = JobService("file:jobs")

@service.handler("VERSION")
async def version(job):
    return {version}
"""


def write(file: Path, text: str) -> None:
    """Written a second later than before, however quick a test is: Python knows compiled code
    by the seconds of its source, and by its size."""
    before = file.stat().st_mtime_ns if file.exists() else 0
    file.write_text(text)
    later = before + 1_000_000_000
    if file.stat().st_mtime_ns < later:
        os.utime(file, ns=(later, later))


# -- reload --------------------------------------------------------------------------------------


@pytest.fixture
def developed(family: Family) -> Child:
    """A worker that is restarted when its code changes."""
    write(family.folder / "my_app.py", APP.format(version=1))
    command = ("-m", "backroom", "worker", "my_app:service", "--reload")
    child = family.start(*command, cwd=family.folder)
    child.says("\n  runs ")
    return child


@pytest.mark.crash
async def test_a_change_of_the_code_restarts_the_worker(family: Family, developed: Child) -> None:
    service = JobService(f"file:{family.folder / 'jobs'}")
    service.declare("VERSION")
    try:
        assert await service.result(await service.schedule("VERSION"), timeout=30) == 1
        write(family.folder / "my_app.py", APP.format(version=2))
        developed.says("my_app.py changed: the worker is restarted")
        eventually(lambda: developed.text.count("\n  runs ") == 2, "it runs again")
        assert await service.result(await service.schedule("VERSION"), timeout=30) == 2
    finally:
        await service.stop()
    developed.signal(signal.SIGTERM)
    assert developed.ends() == 0, developed.text
    assert developed.text.count("stopped") == 2


@pytest.mark.crash
def test_a_mistake_in_the_code_is_waited_out(family: Family, developed: Child) -> None:
    write(family.folder / "my_app.py", "def (")
    developed.says("it is started again when a file changes", 30)
    assert "SyntaxError" in developed.text
    assert "Traceback" not in developed.text
    write(family.folder / "my_app.py", APP.format(version=2))
    eventually(lambda: developed.text.count("\n  runs ") == 2, "it runs again", 30)
    developed.signal(signal.SIGINT)
    assert developed.ends() == 0, developed.text


def test_a_look_at_the_code_passes_over_what_is_not_ours(tmp_path: Path) -> None:
    for name in ("a.py", "b/c.py", ".git/d.py", "venv/lib/e.py", "b/__pycache__/f.py", "g.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    found = {str(file.relative_to(tmp_path)) for file in snapshot([tmp_path])}
    assert found == {"a.py", "b/c.py"}


# -- rehearsals ----------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_run_and_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "my_app.py").write_text(APP.format(version=1))
    arguments = ("worker", "my_app:service", "--dry-run", "--concurrency", "7")
    shown = backroom(*arguments, cwd=tmp_path)
    assert shown.code == 0, shown.err
    assert "job types    VERSION" in shown.out
    assert "concurrency  7" in shown.out
    assert "is not there yet" in shown.out
    assert not (tmp_path / "jobs").exists()
    backroom("jobs", "schedule", "VERSION", "--app", "my_app:service", cwd=tmp_path)
    found = json.loads(backroom(*arguments, "--json", cwd=tmp_path).out)
    assert (found["types"], found["problems"]) == (["VERSION"], [])
    assert "1 job due; workers that run: 0" in found["notes"]
    (tmp_path / "jobs" / "jobs.db").write_bytes(b"rubbish" * 1000)
    shown = backroom(*arguments, cwd=tmp_path)
    assert (shown.code, "is damaged" in shown.err) == (1, True)


def test_a_dry_run_without_handlers_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "my_app.py").write_text("import backroom\nservice = backroom.JobService()\n")
    shown = backroom("worker", "my_app:service", "--dry-run", cwd=tmp_path)
    assert (shown.code, "there is no handler" in shown.err) == (1, True)


# -- logs and mistakes ---------------------------------------------------------------------------


def test_the_log_may_be_lines_of_json(tmp_path: Path) -> None:
    (tmp_path / "my_app.py").write_text(APP.format(version=1))
    shown = backroom("worker", "my_app:service", "--burst", "--json", cwd=tmp_path)
    assert shown.code == 0, shown.err
    lines = [json.loads(line) for line in shown.err.splitlines()]
    assert lines[0]["message"].startswith("backroom ")
    assert lines[-1]["message"] == "stopped"


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("my_ap:service", 2, "there is no module 'my_ap'"),
        ("my_ap:service", 2, "did you mean 'my_app'?"),
        ("my_app:servise", 2, "did you mean 'service'?"),
        ("my_app:NUMBER", 2, "my_app:NUMBER is a int, not a JobService; did you mean 'service'?"),
        ("broken:service", 1, "broken cannot be imported: ZeroDivisionError: division by zero"),
        ("broken:service", 1, "broken.py, line 3)"),
        ("unwritten:service", 1, "unwritten cannot be imported: SyntaxError: "),
        ("needs:service", 1, "ModuleNotFoundError: No module named 'nothing_like_it'"),
    ],
)
def test_an_application_that_cannot_be_loaded_is_one_clear_sentence(
    tmp_path: Path, target: str, code: int, says: str
) -> None:
    (tmp_path / "my_app.py").write_text(APP.format(version=1) + "\nNUMBER = 3\n")
    (tmp_path / "broken.py").write_text("\n\n1 / 0\n")
    (tmp_path / "unwritten.py").write_text("def (\n")
    (tmp_path / "needs.py").write_text("import nothing_like_it\n")
    shown = backroom("worker", target, cwd=tmp_path)
    assert shown.code == code
    assert says in shown.err


def test_options_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    shown = backroom("worker", "my_app:service", "--reload", "--burst", cwd=tmp_path)
    assert (shown.code, "cannot be combined" in shown.err) == (2, True)
    shown = backroom("worker", cwd=tmp_path)
    assert (shown.code, "MODULE:ATTR" in shown.err) == (2, True)
