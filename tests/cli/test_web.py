"""`backroom web`: served until it is told to stop, closed to others, and who may look."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from backroom.web import Token, read_credentials
from tests.cli.parts import Terminal, backroom
from tests.process.parts import Family, eventually

APP = """
from backroom import JobService
service = JobService("file:jobs")

@service.handler("HELLO")
async def hello(job):
    return "world"
"""


def url_of(text: str) -> str:
    return eventually(lambda: re.search(r"is at (http://\S+)", text), "it says where it is")[1]


@pytest.mark.crash
def test_the_dashboard_of_an_application_is_served_until_it_is_told_to_stop(
    family: Family,
) -> None:
    (family.folder / "my_app.py").write_text(APP)
    command = ("-m", "backroom", "web", "my_app:service", "--port", "0", "--worker")
    child = family.start(*command, cwd=family.folder)
    child.says("is at http://127.0.0.1:")
    link = url_of(child.text)
    browser = httpx.Client(base_url=urljoin(link, "/"), follow_redirects=True)
    assert browser.get("/health/live").text == "ok\n"
    # A proxy in front that says nothing of itself asks as this machine does: that is not enough.
    assert browser.get("/").url.path == "/sign-in"
    assert httpx.post(urljoin(link, "/api/v1/jobs"), json={"type": "HELLO"}).status_code == 401
    assert browser.get(link).url.path == "/"
    made = browser.post("/api/v1/jobs", json={"type": "HELLO"})
    job = f"/api/v1/jobs/{made.json()['id']}"
    eventually(lambda: browser.get(job).json()["result"] == "world", "the worker beside it runs it")
    token = {"Authorization": f"Bearer {link.partition('token=')[2]}"}
    assert httpx.get(urljoin(link, job), headers=token).status_code == 200
    with browser.stream("GET", "/api/v1/events") as stream:  # Whoever listens holds nothing up.
        assert stream.status_code == 200
        child.signal(signal.SIGTERM)
        assert child.ends() == 0, child.text
    browser.close()
    assert "Traceback" not in child.text


@pytest.mark.crash
def test_a_store_without_its_application_is_served_to_those_who_are_known(
    family: Family,
) -> None:
    secret, token = Token.make("reader", "read")
    (family.folder / "tokens").write_text(f"# who may\n{token.line}\n")
    child = family.start(
        "-m", "backroom", "web", "--storage", "file:jobs", "--host", "0.0.0.0", "--port", "0",
        "--token-file", "tokens", cwd=family.folder,
    )  # fmt: skip
    child.says("is at http://0.0.0.0:")
    url = url_of(child.text).replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{url}api/v1/stats").status_code == 401
    known = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(f"{url}api/v1/stats", headers=known).status_code == 200
    child.signal(signal.SIGINT)
    assert child.ends() == 0, child.text
    assert secret not in child.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_an_address_that_others_reach_is_refused_without_credentials(
    host: str, tmp_path: Path
) -> None:
    shown = backroom("web", "--storage", "memory:", "--host", host, cwd=tmp_path)
    assert shown.code == 1
    assert "backroom web token" in shown.err


def test_a_port_that_is_taken_is_said_in_a_line(tmp_path: Path, family: Family) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        shown = backroom("web", "--storage", "memory:", "--port", port, cwd=tmp_path)
    assert (shown.code, f"127.0.0.1:{port} cannot be served on" in shown.err) == (1, True)


def test_a_token_is_printed_with_the_line_by_which_it_is_known(tmp_path: Path) -> None:
    shown = backroom("web", "token", "grafana", "--role", "operate", cwd=tmp_path)
    assert shown.code == 0
    [known] = read_credentials(shown.out.splitlines(), "stdout")
    secret = re.search(r"br_\S+", shown.err)
    assert secret is not None
    assert isinstance(known, Token)
    assert (known.fits(secret[0]), known.role.name) == (True, "OPERATE")
    assert secret[0] not in shown.out


def test_a_password_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    terminal = Terminal("web", "token", "ada", "--password", cwd=tmp_path)
    for question in ("Password:", "Repeat for confirmation:"):
        terminal.shows(question)
        terminal.types("correct horse\r")
    terminal.shows("ada:read:scrypt:")
    assert terminal.ends() == 0
    assert "correct horse" not in terminal.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--storage", "memory:", "--root-path", "jobs"), "begins with a slash"),
        (("no_such:service",), "there is no module 'no_such'"),
        (("--storage", "memory:", "--token-file", "nothing"), "does not exist"),
    ],
)
def test_a_mistake_is_said_in_a_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    shown = backroom("web", *arguments, cwd=tmp_path)
    assert (shown.code, said in shown.err) == (2, True), shown.err


def test_a_token_file_with_a_bad_line_names_it(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("\nada\n")
    shown = backroom("web", "--storage", "memory:", "--token-file", "tokens", cwd=tmp_path)
    assert (shown.code, "tokens, line 2:" in shown.err) == (1, True), shown.err
