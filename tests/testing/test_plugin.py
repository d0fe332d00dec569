"""The pytest plugin in users' projects: with it, beside other plugins, and where nobody asks."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest

from tests.testing.projects import run, run_pytest

ROOT = Path(__file__).parents[2]
APP = """
from backroom import JobService

service = JobService("file:./never-opened")
done = []


@service.handler("NOTE")
async def note(job):
    done.append(job.data)
"""
CONFTEST = """
import pytest, app


@pytest.fixture
def backroom_service():
    return app.service
"""
BODY = """
    await app.service.schedule("NOTE", {"n": 1}, delay=60)
    jobs.assert_scheduled("NOTE", n=1, delay=60)
    await jobs.advance(60)
    assert app.done.pop() == {"n": 1} and not app.done
"""
PLAIN = f"""
import asyncio
import app
from backroom import testing
from backroom.testing import *


async def body(jobs):
{BODY}

def test_plain(jobs):
    asyncio.run(body(jobs))


@testing.virtual_time
async def test_virtual(jobs):
    await body(jobs)


def test_each_test_has_a_fresh_storage(jobs, backroom_storage):
    assert jobs.scheduled() == []
    assert jobs.storage is backroom_storage is app.service.storage


def test_the_service_has_its_own_back():
    assert "never-opened" in app.service.storage.url
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return tmp_path


def test_it_needs_no_plugin_for_async_tests(project: Path) -> None:
    (project / "test_it.py").write_text(PLAIN)
    ran = run_pytest(project, "-p", "no:asyncio", "-p", "no:anyio")
    assert "4 passed" in ran.stdout, ran.stdout + ran.stderr


def test_it_works_with_pytest_asyncio(project: Path) -> None:
    test = f"import app, pytest\n\n@pytest.mark.asyncio\nasync def test_async(jobs):\n{BODY}"
    (project / "test_it.py").write_text(PLAIN)
    (project / "test_async.py").write_text(test)
    for mode in ("strict", "auto"):
        ran = run_pytest(project, "-o", f"asyncio_mode={mode}")
        assert "5 passed" in ran.stdout, ran.stdout + ran.stderr


def test_the_service_may_come_from_an_async_fixture(project: Path) -> None:
    (project / "test_async.py").write_text(
        "import app, pytest_asyncio\n\n@pytest_asyncio.fixture\nasync def backroom_service():\n"
        f"    yield app.service\n\n\nasync def test_async(jobs):\n{BODY}"
    )
    ran = run_pytest(project, "-o", "asyncio_mode=auto")
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.skipif(importlib.util.find_spec("anyio") is None, reason="anyio is not installed")
def test_it_works_with_anyio(project: Path) -> None:
    test = (
        "import app, pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n\n\n"
        f"@pytest.mark.anyio\nasync def test_async(jobs):\n{BODY}"
    )
    (project / "test_it.py").write_text(PLAIN)
    (project / "test_async.py").write_text(test)
    ran = run_pytest(project, "-p", "no:asyncio")
    assert "5 passed" in ran.stdout, ran.stdout + ran.stderr


def test_a_failed_assertion_shows_the_test_and_not_the_kit(project: Path) -> None:
    (project / "test_it.py").write_text(
        "def test_wrong(jobs):\n    jobs.assert_scheduled('NOTE', n=1)\n"
    )
    ran = run_pytest(project)
    assert "E       AssertionError: no job is NOTE with n=1" in ran.stdout, ran.stdout
    assert "scheduled.py" not in ran.stdout


def test_without_a_service_it_says_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(jobs):\n    pass\n")
    ran = run_pytest(tmp_path)
    assert "def backroom_service():" in ran.stdout, ran.stdout


def test_who_has_fixtures_of_these_names_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef jobs():\n    return 42\n\n\n"
        "def test_it(jobs):\n    assert jobs == 42\n"
    )
    assert "1 passed" in run_pytest(tmp_path).stdout


def test_it_imports_no_kit_and_no_other_plugin_before_a_test_asks(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n"
        "    assert not {'backroom.testing.jobs', 'backroom.testing.storage', 'pytest_asyncio',\n"
        "                'anyio'} & set(sys.modules)\n"
    )
    others = [f"no:{name}" for name in ("asyncio", "anyio", "hypothesispytest", "schemathesis")]
    ran = run_pytest(tmp_path, *(word for name in others for word in ("-p", name)))
    assert "1 passed" in ran.stdout, ran.stdout


def test_the_kit_needs_no_pytest(project: Path) -> None:
    ran = run(project, "-c", "import sys, backroom.testing; print('pytest' in sys.modules)")
    assert ran.stdout == "False\n", ran.stderr


def test_the_plugin_is_where_its_entry_point_says() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [(name, module)] = settings["project"]["entry-points"]["pytest11"].items()
    assert name == "backroom"
    assert importlib.util.find_spec(module) is not None
