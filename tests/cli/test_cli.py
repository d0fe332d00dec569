"""The command line from outside: what it prints, its exit codes, and what it never prints."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backroom import Cancel, FileJobStorage, Job, JobFailedError, JobService
from tests.cli.parts import backroom
from tests.process.parts import ROOT, Family, eventually, eventually_async, scheduling

EVIL = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x9b31m\x00\r\x7f\u202egnp"
"""What text of a job may hold to steer a terminal: an escape, a C1 control, a reversal."""


RICH = ":smile: [red]ü€\U0001f604[/red] \\[b] [/]"
"""What other programs take for pictures and colours, and what few encodings can write."""


class Store(NamedTuple):
    """A folder with a few jobs, and their ids."""

    url: str
    ids: dict[str, str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("cli") / "jobs"
    service = JobService(FileJobStorage(folder))

    @service.handler("FINE")
    async def fine(job: Job[Any]) -> Any:
        return {"said": job.data}

    @service.handler("EVIL", retries=0)
    async def evil(job: Job[Any]) -> Any:
        job.progress(0.5, EVIL)
        job.log.info(EVIL)
        raise RuntimeError(EVIL)

    @service.handler("UNWILLING")
    async def unwilling(job: Job[Any]) -> Any:
        return Cancel(EVIL)

    async def fill() -> dict[str, str]:
        async with service:
            ids = {
                "plain": await service.schedule("FINE", {"to": "ada@example.com"}, tags=["a"]),
                "evil": await service.schedule(
                    "FINE", {EVIL: [EVIL]}, metadata={EVIL: EVIL}, tags=["[red]"]
                ),
                "failed": await service.schedule("EVIL", priority="high"),
                "cancelled": await service.schedule("UNWILLING"),
                "later": await service.schedule("FINE", delay=3600),
            }

            async def all_but_one_have_ended() -> bool:
                by_status = (await service.get_stats()).by_status
                waiting = [by_status[name] for name in ("scheduled", "pending", "active")]
                return waiting == [1, 0, 0]

            await eventually_async(all_but_one_have_ended, "all jobs but the later one have ended")
        return {name: str(job_id) for name, job_id in ids.items()}

    return Store(f"file:{folder}", asyncio.run(fill()))


# -- looking -------------------------------------------------------------------------------------


def test_a_list_is_a_table_for_people_and_json_for_programs(store: Store) -> None:
    shown = backroom("jobs", "list", "--storage", store.url)
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert len(lines) == 1 + len(store.ids), "a line was folded"
    for name, job_id in store.ids.items():
        [line] = [line for line in lines if job_id in line]
        status = {"failed": "failed", "cancelled": "cancelled", "later": "scheduled"}.get(name)
        assert (status or "completed") in line

    shown = backroom("jobs", "list", "--storage", store.url, "--json", "--limit", "2")
    first = json.loads(shown.out)
    assert [job["id"] for job in first["jobs"]] == [store.ids["later"], store.ids["cancelled"]]
    shown = backroom("jobs", "list", "--storage", store.url, "--json", "--cursor", first["cursor"])
    rest = json.loads(shown.out)
    others = ("failed", "evil", "plain")
    assert [job["id"] for job in rest["jobs"]] == [store.ids[name] for name in others]
    assert rest["cursor"] is None


def test_a_list_can_be_narrowed_and_the_storage_can_be_named_by_the_environment(
    store: Store,
) -> None:
    shown = backroom("jobs", "list", "--json", "--status", "failed", BACKROOM_STORAGE=store.url)
    assert [job["id"] for job in json.loads(shown.out)["jobs"]] == [store.ids["failed"]]
    shown = backroom("jobs", "list", "--type", "NONE", BACKROOM_STORAGE=store.url)
    assert shown.out == "no jobs match\n"
    shown = backroom("jobs", "list", "--json", "--tag", "a", BACKROOM_STORAGE=store.url)
    assert [job["id"] for job in json.loads(shown.out)["jobs"]] == [store.ids["plain"]]


def test_one_job_is_shown_with_all_that_is_known_of_it(store: Store) -> None:
    shown = backroom("jobs", "show", store.ids["plain"], "--storage", store.url)
    assert shown.code == 0
    assert '{"to":"ada@example.com"}' in shown.out
    assert '{"said":{"to":"ada@example.com"}}' in shown.out
    shown = backroom("jobs", "show", store.ids["failed"], "--storage", store.url)
    assert re.search(r"attempt 1 .*, 0\.\d{3} s after its begin, ", shown.out)
    shown = backroom("jobs", "show", store.ids["failed"], "--storage", store.url, "--json")
    info = json.loads(shown.out)
    assert info["status"] == "failed"
    assert info["errors"][0]["message"] == EVIL
    assert info["log"][0]["message"] == EVIL


def test_stats_count_by_status_and_queue(store: Store) -> None:
    shown = backroom("stats", "--storage", store.url)
    assert shown.code == 0
    assert "no worker is running" in shown.out
    shown = backroom("stats", "--storage", store.url, "--json")
    stats = json.loads(shown.out)
    assert stats["by_status"]["completed"] == 2
    assert stats["queues"][0]["name"] == "default"


# -- text as it is -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A folder with a job whose every text is `RICH`, in a queue of that name."""
    folder = tmp_path_factory.mktemp("rich") / "jobs"
    service = JobService(FileJobStorage(folder))
    word = RICH.replace(" ", "_")

    @service.handler(word, retries=0)
    async def handler(job: Job[Any]) -> Any:
        job.progress(0.5, RICH)
        job.log.info(RICH)
        raise RuntimeError(RICH)

    async def fill() -> str:
        async with service:
            job_id = await service.schedule(word, {RICH: RICH}, queue=RICH, tags=[RICH])
            with pytest.raises(JobFailedError):
                await service.result(job_id, timeout=30)
            return job_id

    return Store(f"file:{folder}", {"rich": asyncio.run(fill())})


def test_text_of_a_job_is_shown_as_it_is(rich: Store) -> None:
    """No pictures are made of it, no colours, and nothing of it is left out."""
    url = ["--storage", rich.url]
    listed = backroom("jobs", "list", *url).out
    assert listed.count(RICH) == 2  # queue, error
    assert RICH.replace(" ", "_") in listed
    shown = backroom("jobs", "show", rich.ids["rich"], *url).out
    for line in (f"queue       {RICH}, normal", f"tags        {RICH}", f"error       {RICH}"):
        assert line in shown
    assert f"RuntimeError: {RICH}" in shown
    assert f"[1] {RICH}" in shown
    assert RICH in backroom("stats", *url).out
    seen = _on_a_terminal("jobs", "show", rich.ids["rich"], *url)
    assert f"RuntimeError: {RICH}" in re.sub(r"\x1b\[[0-9;]*m", "", seen)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_cannot_write_is_shown_escaped(rich: Store, encoding: str) -> None:
    said = RICH.encode(encoding, "backslashreplace").decode(encoding)
    job_id = rich.ids["rich"]
    for command in (["jobs", "list"], ["jobs", "show", job_id], ["stats"]):
        out = _encoded(encoding, *command, "--storage", rich.url)
        assert said in out, command
    for command in (["jobs", "list"], ["jobs", "show", job_id], ["stats"]):
        out = _encoded(encoding, *command, "--storage", rich.url, "--json")
        assert RICH in str(json.loads(out)).replace("\\\\", "\\"), command


def _encoded(encoding: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "backroom", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode(encoding)


# -- steering ------------------------------------------------------------------------------------


async def test_retry_and_cancel_say_what_became_of_each_job(tmp_path: Path) -> None:
    url = f"file:{tmp_path / 'jobs'}"
    async with scheduling(tmp_path / "jobs") as service:
        ids = [str(await service.schedule("QUICK")) for _ in range(2)]
        shown = backroom("jobs", "cancel", *ids, "--storage", url)
        assert shown == (0, f"{ids[0]}  cancelled\n{ids[1]}  cancelled\n", "")
        assert await service.get_job_status(ids[0]) == "cancelled"
        shown = backroom("jobs", "retry", ids[0], "unknown", "--storage", url)
        assert shown.code == 1
        assert shown.out.splitlines()[0] == f"{ids[0]}  retried"
        assert "no job has the id 'unknown'" in shown.out
        assert await service.get_job_status(ids[0]) == "pending"
        shown = backroom("jobs", "cancel", ids[0], "--storage", url, "--json")
        assert json.loads(shown.out) == {ids[0]: "cancelled"}


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["worker", "tests.process.app:servise"], 2, "did you mean 'service'?"),
        (["worker", "tests.process.apq:service"], 2, "there is no module 'tests.process.apq'"),
        (["worker", "tests.process.app"], 2, "not of the form module:attribute"),
        (["worker", "tests.process.app:FOLDER"], 2, "not a JobService"),
        (["stats", "--storage", "file:/nowhere/at/all"], 2, "no job store in /nowhere/at/all"),
        (["stats", "--storage", "ftp://me:secret@host"], 2, "is no storage"),
        (["jobs", "show", "unknown"], 1, "no job has the id 'unknown'"),
        (["jobs", "list", "--status", "odd"], 2, "'odd' is not one of"),
        (["jobs", "list", "--limit", "0"], 2, "--limit"),
        (["jobs", "list", "--cursor", "odd"], 1, "'odd' is no cursor"),
        (["jobs", "show"], 2, "JOB_ID"),
        (["jobs", "show", EVIL.replace("\0", "")], 1, "no job has the id"),
        (["jobs", "show", "\udcff"], 1, r"no job has the id '\udcff'"),
        (["jobs", "list", "--type", "\udcff"], 1, r"a job type needs a name"),
        (["jobs", "list", "--queue", "\udcff"], 1, r"a queue needs a name"),
        (["jobs", "list", "--tag", "\udcff"], 1, "a tag is 1 to 100 printable characters"),
        (["jobs", "list", "--cursor", "\udcff"], 1, "is no cursor"),
        (["stats", "--storage", "file:/nowhere/\udcff\x1b[2J"], 2, "no job store in /nowhere/"),
        (["worker", ".x:y"], 2, "not of the form module:attribute"),
        (["worker", "..:x"], 2, "not of the form module:attribute"),
        (["worker", "os.:x"], 2, "not of the form module:attribute"),
        (["worker", "os:path."], 2, "not of the form module:attribute"),
        (["worker", "os:environ.x"], 2, "os has no attribute 'environ.x'"),
        (["worker", "sys:path.x"], 2, "sys has no attribute 'path.x'"),
    ],
)
def test_a_mistake_is_one_clear_sentence(
    store: Store, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    shown = backroom(*arguments, BACKROOM_STORAGE=store.url, PROCESS_TEST_FOLDER=str(tmp_path))
    assert shown.code == code
    assert says in " ".join(shown.err.split())
    assert "secret" not in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["stats", "--storage", "{url}"], ["jobs", "list", "--storage", "{url}"],
        ["jobs", "cancel", "some", "--storage", "{url}"], ["doctor", "--storage", "{url}"],
        ["migrate", "{url}"], ["move", "{url}", "{store}"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_server_that_is_away_is_told_of_once(store: Store, arguments: list[str]) -> None:
    url = "postgresql://ada@127.0.0.1:1/app"
    shown = backroom(*(one.format(url=url, store=store.url) for one in arguments))
    assert shown.code == 1
    assert (shown.out + shown.err).count("no connection to postgresql://ada@") == 1
    _only_text(shown.err)


def test_a_damaged_store_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "jobs.db").write_bytes(b"rubbish" * 1000)
    shown = backroom("stats", "--storage", f"file:{tmp_path / 'jobs'}")
    assert shown.code == 1
    assert "is damaged" in shown.err


def test_a_full_disk_behind_the_output_is_one_clear_sentence(store: Store) -> None:
    known = store.ids["failed"]
    for command in (
        ["jobs", "list"], ["jobs", "list", "--json"], ["stats"], ["stats", "--json"],
        ["jobs", "show", known], ["jobs", "show", known, "--json"], ["jobs", "cancel", known],
    ):  # fmt: skip
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "backroom", *command, "--storage", store.url],
                cwd=ROOT,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=30,
                check=False,
            )
        said = "Error: the output cannot be written: No space left on device\n"
        assert (done.returncode, done.stderr) == (1, said), command


AS_NOBODY = """
import os, sys
import backroom.cli.asking, backroom.cli.output, backroom.cli.show, backroom.cli.target
from backroom.cli.main import main
if os.geteuid() == 0:  # Whom no folder is closed to.
    os.seteuid(65534)
main(["stats", "--storage", sys.argv[1]])
"""


def test_the_folder_of_another_user_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs").chmod(0)
    try:
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, f"file:{tmp_path}/jobs"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        (tmp_path / "jobs").chmod(0o700)
    said = f"Error: cannot look for a job store in {tmp_path}/jobs: Permission denied\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_who_closes_the_pipe_early_sees_no_traceback(store: Store) -> None:
    for command in (["jobs", "list"], ["stats"], ["jobs", "show", store.ids["failed"]]):
        process = subprocess.Popen(
            [sys.executable, "-m", "backroom", *command, "--storage", store.url],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        with process.stderr:
            assert process.stderr.read() == "", command
        process.wait(30)


# -- terminals -----------------------------------------------------------------------------------


def _everything(store: Store) -> Iterator[list[str]]:
    for as_json in ([], ["--json"]):
        yield ["stats", *as_json]
        yield ["jobs", "list", *as_json]
        for name in ("evil", "failed", "cancelled"):
            yield ["jobs", "show", store.ids[name], *as_json]


def test_what_a_job_says_never_steers_a_terminal(store: Store) -> None:
    def show(command: list[str]) -> tuple[str, str]:
        url = ["--storage", store.url]
        return backroom(*command, *url).out, _on_a_terminal(*command, *url)

    commands = list(_everything(store))
    with ThreadPoolExecutor(2) as pool:
        for command, (piped, seen) in zip(commands, pool.map(show, commands), strict=True):
            assert piped, command
            _only_text(piped)
            colours = re.compile(r"\x1b\[[0-9;]*m")
            _only_text(colours.sub("", seen).replace("\r\n", "\n"))
            if "--json" in command:
                assert json.loads(piped) is not None
                assert not colours.search(seen)


async def test_what_a_job_logs_never_steers_the_terminal_of_its_worker(family: Family) -> None:
    worker = family.ready()
    async with scheduling(family.jobs) as service:
        await service.schedule("SAY", {"text": EVIL})
        worker.says("red")
    eventually(lambda: "red" in worker.text, "the line is there")
    _only_text(worker.text)


def _only_text(shown: str) -> None:
    """No control characters, nothing that turns the direction of writing."""
    strange = {sign for sign in shown if sign != "\n" and not sign.isprintable()}
    assert not strange, (strange, shown)


def _on_a_terminal(*arguments: str) -> str:
    """The output of a command that believes it speaks to a person."""
    ours, its = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "backroom", *arguments],
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"},
            stdin=its,
            stdout=its,
            stderr=its,
        )
        os.close(its)
        its = -1
        seen = b""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                read = os.read(ours, 65_536)
            except OSError:  # The last one on the other side has gone.
                break
            if not read:
                break
            seen += read
        assert process.wait(30) == 0
    finally:
        os.close(ours)
        if its >= 0:
            os.close(its)
    return seen.decode()
