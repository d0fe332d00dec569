"""What a worker tells of itself while it works: to a service manager, a scraper, a container."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from backroom.cli.managed import keep_telling
from backroom.systemd import Manager
from tests.cli.parts import backroom
from tests.process.parts import Child, Family, eventually, eventually_async

APP = """
import logging
from backroom import JobService
service = JobService("file:jobs", concurrency=7)

@service.handler("HELLO", isolation="process")
async def hello(job):
    logging.getLogger("some.library").warning("hello\\nfrom a child")
"""


class Listener:
    """A service manager, as far as it listens."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def hear(self) -> list[str]:
        """All that was told so far."""
        while True:
            try:
                self.heard += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(str(tmp_path / "notify"))
    yield listener
    listener.close()


# -- the service manager -------------------------------------------------------------------------


def test_a_manager_is_told_by_a_socket_in_a_folder_or_without_one(
    tmp_path: Path, listener: Listener
) -> None:
    assert Manager({"NOTIFY_SOCKET": str(tmp_path / "notify")}).tell("READY=1", "STATUS=well")
    assert listener.hear() == ["READY=1", "STATUS=well"]
    name = f"backroom-test-{os.getpid()}"
    abstract = Listener(f"\0{name}")
    try:
        assert Manager({"NOTIFY_SOCKET": f"@{name}"}).tell("READY=1")
        assert abstract.hear() == ["READY=1"]
    finally:
        abstract.close()


def test_without_a_manager_nothing_is_told_and_nothing_fails(tmp_path: Path) -> None:
    assert Manager({}).tell("READY=1") is False
    assert Manager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell("READY=1") is False
    assert Manager({"NOTIFY_SOCKET": "relative"}).tell("READY=1") is False


def test_the_watchdog_of_another_process_is_not_fed() -> None:
    said = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "3000000"}
    assert Manager(said).watchdog == 3.0
    assert Manager({**said, "WATCHDOG_PID": str(os.getpid())}).watchdog == 3.0
    assert Manager({**said, "WATCHDOG_PID": "1"}).watchdog is None
    assert Manager({"WATCHDOG_USEC": "3000000"}).watchdog is None
    assert Manager({**said, "WATCHDOG_USEC": "x"}).watchdog is None


@pytest.mark.crash
def test_a_worker_tells_that_it_works_that_it_lives_and_that_it_leaves(
    family: Family, tmp_path: Path, listener: Listener
) -> None:
    (family.folder / "my_app.py").write_text(APP)
    worker = family.start(
        *("-m", "backroom", "worker", "my_app:service"),
        cwd=family.folder,
        env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"},
    )  # fmt: skip
    eventually(lambda: listener.hear().count("WATCHDOG=1") > 2, "signs of life")
    assert listener.heard[0] == "READY=1"
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0, worker.text
    assert "STOPPING=1" in listener.hear()


@pytest.mark.crash
def test_several_workers_work_once_all_of_them_do_and_only_their_supervisor_says_so(
    family: Family, tmp_path: Path, listener: Listener
) -> None:
    (family.folder / "my_app.py").write_text(APP)
    worker = family.start(
        *("-m", "backroom", "worker", "my_app:service", "--processes", "2"),
        cwd=family.folder, env={"NOTIFY_SOCKET": str(tmp_path / "notify")},
    )  # fmt: skip
    eventually(lambda: "READY=1" in listener.hear(), "that they work", 30)
    assert worker.text.count("\n  runs ") == 2
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0, worker.text
    assert listener.hear() == ["READY=1", "STOPPING=1"]


# -- a scraper, and a container ------------------------------------------------------------------


@pytest.fixture
def worker(family: Family) -> Child:
    """One that tells its figures at a port that is free."""
    (family.folder / "my_app.py").write_text(APP)
    child = family.start(
        *("-m", "backroom", "worker", "my_app:service", "--metrics-port", "0"),
        *("--log-format", "json"), cwd=family.folder,
    )  # fmt: skip
    child.says("/metrics")
    return child


def port_of(worker: Child) -> int:
    """The one that its banner names."""
    return int(worker.text.partition("http://127.0.0.1:")[2].partition("/")[0])


def ask(port: int, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


@pytest.mark.crash
def test_a_worker_tells_its_figures_and_whether_it_is_well_to_this_machine(
    family: Family, worker: Child
) -> None:
    port = port_of(worker)
    status, text = ask(port, "/metrics")
    assert status == 200
    assert 'backroom_process_slots{queues="all queues"} 7.0' in text
    assert "backroom_workers 1.0" in text
    assert ask(port, "/health/live") == (200, "ok\n")
    assert ask(port, "/health/ready") == (200, "ok\n")
    assert ask(port, "/other")[0] == 404
    # A page of somebody else's, in a browser here, whose name leads to this machine.
    assert ask(port, "/metrics", Host="evil.example")[0] == 403
    with socket.create_connection(("127.0.0.1", port)) as talking:
        talking.sendall(b"POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert talking.recv(100).startswith(b"HTTP/1.1 405 ")
    with socket.create_connection(("127.0.0.1", port)) as talking:
        talking.sendall(b"GET /" + b"x" * 20_000)
        talking.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert talking.recv(100) == b""  # Closed, and nothing kept of it.
    said = backroom("health", "--storage", f"file:{family.folder / 'jobs'}")
    assert (said.code, said.out) == (0, f"well: {socket.gethostname()}:{worker.pid}\n")
    worker.signal(signal.SIGKILL)
    worker.ends()
    said = backroom("health", "--json", "--storage", f"file:{family.folder / 'jobs'}")
    assert said.code == 1
    assert json.loads(said.out) == {
        "healthy": False, "host": socket.gethostname(), "workers": [],
    }  # fmt: skip


@pytest.mark.crash
def test_what_a_child_process_logs_is_a_line_of_json_with_its_job(
    family: Family, worker: Child
) -> None:
    url = f"file:{family.folder / 'jobs'}"
    told = backroom("jobs", "schedule", "HELLO", "--app", "my_app:service", cwd=family.folder)
    assert told.code == 0, told.err
    worker.says("from a child")
    [line] = [line for line in worker.text.splitlines() if "from a child" in line]
    record = json.loads(line)
    assert record["message"] == "hello\nfrom a child"
    assert (record["job_type"], record["job_attempt"], record["job_queue"]) == (
        "HELLO", 1, "default",
    )  # fmt: skip
    assert record["job_id"] in backroom("jobs", "list", "--json", "--storage", url).out


def test_figures_of_several_processes_are_refused_with_the_mend() -> None:
    told = backroom("worker", "my_app:service", "--metrics-port", "0", "--processes", "2")
    assert told.code == 2
    assert "scrape /metrics of `backroom web`" in " ".join(told.err.split())


async def test_a_worker_whose_lease_does_not_stand_gives_no_sign_of_life(
    tmp_path: Path, listener: Listener
) -> None:
    stands, asked = True, 0

    def works() -> bool:
        nonlocal asked
        asked += 1
        return stands

    async def is_asked(times: int) -> None:
        seen = asked
        await eventually_async(lambda: asked >= seen + times, "it is asked whether it works")

    def signs() -> int:
        return listener.hear().count("WATCHDOG=1")

    manager = Manager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000"})
    telling = asyncio.create_task(keep_telling(manager, works))
    try:
        await eventually_async(lambda: signs() >= 2, "signs of life")
        stands = False
        await is_asked(1)  # What it said before has arrived.
        before = signs()
        await is_asked(9)  # Three times as long as the manager waits.
        assert signs() == before
    finally:
        telling.cancel()


async def test_a_busy_event_loop_is_no_reason_to_be_killed(
    tmp_path: Path, listener: Listener
) -> None:
    manager = Manager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000"})
    telling = asyncio.create_task(keep_telling(manager, lambda: True))
    try:
        await eventually_async(lambda: "WATCHDOG=1" in listener.hear(), "a sign of life")
        before = listener.hear().count("WATCHDOG=1")
        eventually(lambda: listener.hear().count("WATCHDOG=1") > before + 2, "signs of life")
    finally:
        telling.cancel()
