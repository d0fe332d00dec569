"""Settings from the command line, the environment and a file, in this order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.parts import backroom
from tests.process.parts import scheduling


@pytest.fixture
async def places(tmp_path: Path) -> Path:
    """A folder with two stores: `one` with a job, `two` with two."""
    for name, count in (("one", 1), ("two", 2)):
        async with scheduling(tmp_path / name) as service:
            for _ in range(count):
                await service.schedule("QUICK")
    return tmp_path


def pending(folder: Path, *arguments: str, **env: str) -> int:
    shown = backroom("stats", *arguments, cwd=folder, **env)
    assert shown.code == 0, shown.err
    return int(json.loads(shown.out)["by_status"]["pending"])


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(places: Path) -> None:
    (places / "backroom.toml").write_text('storage = "file:one"\njson = true\n')
    assert pending(places) == 1
    assert pending(places, BACKROOM_STORAGE="file:two") == 2
    assert pending(places, "--storage", "file:one", BACKROOM_STORAGE="file:two") == 1


def test_the_table_of_a_command_speaks_of_it_alone(places: Path) -> None:
    (places / "pyproject.toml").write_text(
        '[tool.backroom]\nstorage = "file:two"\n[tool.backroom.jobs.list]\nlimit = 1\njson = true\n'
    )
    assert len(json.loads(backroom("jobs", "list", cwd=places).out)["jobs"]) == 1
    assert len(json.loads(backroom("jobs", "list", "--limit", "5", cwd=places).out)["jobs"]) == 2
    shown = backroom("jobs", "list", cwd=places, BACKROOM_JOBS_LIST_LIMIT="2")
    assert len(json.loads(shown.out)["jobs"]) == 2
    assert "default" in backroom("queues", "list", cwd=places).out


def test_a_file_can_be_named(places: Path) -> None:
    (places / "other.toml").write_text('storage = "file:two"\njson = true\n')
    (places / "backroom.toml").write_text('storage = "file:one"\njson = true\n')
    named = backroom("--config", "other.toml", "stats", cwd=places)
    assert json.loads(named.out)["by_status"]["pending"] == 2
    assert pending(places, BACKROOM_CONFIG="other.toml") == 2
    shown = backroom("--config", "none.toml", "stats", cwd=places)
    assert (shown.code, "there is no file none.toml" in shown.err) == (2, True)


def test_an_application_and_a_storage_may_both_be_set_but_not_both_be_said(places: Path) -> None:
    (places / "my_app.py").write_text(
        'from backroom import JobService\nservice = JobService("file:two")\n'
    )
    (places / "backroom.toml").write_text('app = "my_app:service"\njson = true\n')
    assert pending(places) == 2
    assert pending(places, "--storage", "file:one") == 1
    assert pending(places, BACKROOM_STORAGE="file:one") == 1
    assert pending(places, BACKROOM_STORAGE="file:one", BACKROOM_APP="my_app:service") == 2
    shown = backroom("stats", "--storage", "file:one", "--app", "my_app:service", cwd=places)
    assert (shown.code, "not both" in shown.err) == (2, True)
    shown = backroom("worker", "--dry-run", cwd=places)
    assert json.loads(shown.out)["service"] == "my_app:service"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('storag = "x"', "unknown key 'storag'; did you mean 'storage'?"),
        ("[worker]\nproceses = 2", "unknown key 'proceses' in [worker]; did you mean 'processes'?"),
        ("[wroker]\nprocesses = 2", "unknown key 'wroker'; did you mean 'worker'?"),
        ("[jobs.lst]\nlimit = 2", "unknown key 'lst' in [jobs]; did you mean 'list'?"),
        ("[worker]\nhelp = true", "unknown key 'help' in [worker]"),
        ("[worker]\nprocesses = 0", "worker.processes: 0 is not in the range"),
        ('[worker]\nprocesses = "many"', "worker.processes: 'many' is not a valid integer"),
        ("[worker]\nprocesses = true", "worker.processes: expected a value, got True"),
        ("[worker]\nprocesses = [2]", "worker.processes: expected one value"),
        ('[worker]\nburst = "yes"', "worker.burst: expected true or false, got 'yes'"),
        ("worker = 3", "worker: expected a table, got 3"),
        ("json = 1", "json: expected true or false, got 1"),
        ("storage = 1", "storage: expected a text, got 1"),
        ("storage = ", "backroom.toml: Invalid value"),
    ],
)
def test_a_mistake_in_the_file_is_one_clear_sentence(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "backroom.toml").write_text(text)
    shown = backroom("stats", cwd=tmp_path)
    assert shown.code == 2
    assert "Error: backroom.toml: " in shown.err
    assert says in shown.err
    assert shown.out == ""


def test_several_queues_may_be_one_text_or_a_list(tmp_path: Path) -> None:
    (tmp_path / "my_app.py").write_text(
        "from backroom import JobService\nservice = JobService()\n"
        "@service.handler('A')\nasync def a(job): ...\n"
    )
    for said, queues in (('"mail"', "mail"), ('["mail", "rest"]', "mail, rest")):
        (tmp_path / "backroom.toml").write_text(f"json = true\n[worker]\nqueue = {said}\n")
        shown = backroom("worker", "my_app:service", "--dry-run", cwd=tmp_path)
        assert json.loads(shown.out)["queues"] == queues


def test_a_help_shows_where_else_a_setting_comes_from(tmp_path: Path) -> None:
    out = " ".join(backroom("worker", "--help", cwd=tmp_path, COLUMNS="200").out.split())
    assert "BACKROOM_WORKER_PROCESSES" in out
    assert "[tool.backroom.worker] in pyproject.toml" in out
    (tmp_path / "backroom.toml").write_text("[worker]\nprocesses = 7\n")
    assert "default: 7" in " ".join(
        backroom("worker", "--help", cwd=tmp_path, COLUMNS="200").out.split()
    )
