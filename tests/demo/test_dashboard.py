"""`dev.py dashboard`: the pages over the example, with jobs that go well and jobs that do not."""

from __future__ import annotations

import re
import signal
from urllib.parse import urljoin

import httpx
import pytest

from tests.process.parts import Family, eventually


@pytest.mark.slow
@pytest.mark.crash
def test_the_dashboard_shows_the_example_while_it_runs(family: Family) -> None:
    folder = family.folder / "dashboard"
    options = ["--dir", str(folder), "--port", "0", "--no-browser"]
    child = family.start("-m", "examples.mail.dashboard", *options)
    child.says("the dashboard is at http://")
    found = re.search(r"is at (http://\S+)", child.text)
    assert found is not None
    client = httpx.Client(base_url=urljoin(found[1], "/"), follow_redirects=True)
    assert client.get(found[1]).url.path == "/"

    def counts() -> dict[str, int]:
        told: dict[str, int] = client.get("/api/v1/stats").json()["by_status"]
        return told

    eventually(lambda: counts()["completed"] > 20, "mails leave", 60)
    eventually(lambda: counts()["failed"] > 2, "some never will", 60)
    groups = {(one["type"], one["kind"]) for one in client.get("/api/v1/failures").json()}
    assert ("SEND_EMAIL", "FailJob") in groups
    names = {one["name"] for one in client.get("/api/v1/schedules").json()}
    assert names == {"weather-report", "heartbeat"}
    [flow] = client.get("/api/v1/workflows").json()["workflows"]
    assert (flow["name"], flow["total"]) == ("yearly weather", 5)
    client.close()
    child.signal(signal.SIGINT)
    assert child.ends(60) == 0, child.text
