"""What lies under deploy/ is of this version: what it calls and names is there."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from backroom import JobService
from backroom.metrics import exposition

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
NAME = re.compile(r"\bbackroom_[a-z_]+\b")


@pytest.fixture
async def told() -> set[str]:
    """The names of all samples that a scraper may see."""
    service = JobService("memory:")
    try:
        text, _ = await exposition(service)
    finally:
        await service.stop()
    names: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text.decode(), re.MULTILINE):
        names.add(name)
        if kind == "histogram":
            names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    return names


def expressions(path: Path) -> list[str]:
    """All that is asked of Prometheus there."""
    if path.suffix == ".json":
        panels = json.loads(path.read_text())["panels"]
        return [target["expr"] for panel in panels for target in panel["targets"]]
    groups = yaml.safe_load(path.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("file", ["grafana/backroom.json", "prometheus/alerts.yaml"])
async def test_every_figure_that_is_asked_for_is_told(file: str, told: set[str]) -> None:
    asked = expressions(DEPLOY / file)
    assert len(asked) >= 6
    for one in asked:
        assert one.count("(") == one.count(")"), one
        names = set(NAME.findall(one))
        assert names, one
        assert names <= told, f"{one}: {names - told}"


async def test_every_figure_that_is_told_stands_in_the_table_and_no_other(told: set[str]) -> None:
    text = (ROOT / "docs" / "operate.md").read_text()
    table = text.partition("## Figures")[2].partition("\n## ")[0]
    documented = {name for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
                  for name in NAME.findall(row)}  # fmt: skip
    families = {name for name in told if not name.endswith(("_bucket", "_sum", "_count"))}
    assert documented == families


def test_every_alert_has_its_place_in_the_walk_through() -> None:
    text = (ROOT / "docs" / "operate.md").read_text()
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in groups[0]["rules"]:
        assert f"`{rule['alert']}`" in text
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_the_panels_of_the_dashboard_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    panels = json.loads((DEPLOY / "grafana" / "backroom.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


def test_the_image_runs_as_nobody_special_and_takes_signals_itself() -> None:
    said = instructions()
    kinds = [kind for kind, _ in said]
    last = said[len(kinds) - 1 - kinds[::-1].index("FROM") :]
    assert kinds.count("FROM") == 2  # What builds is not in the image.
    assert dict(last)["USER"] == "backroom"
    assert dict(last)["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(dict(last)["ENTRYPOINT"]) == ["backroom"]
    assert json.loads(dict(last)["HEALTHCHECK"].partition("CMD ")[2]) == ["backroom", "health"]
    assert kinds[::-1].index("USER") < kinds[::-1].index("COPY")


def test_the_image_is_made_of_files_that_are_there_and_not_ignored() -> None:
    allowed = [line.removeprefix("!") for line in
               (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
               if line.startswith("!")]  # fmt: skip
    for kind, what in instructions():
        if kind == "COPY" and not what.startswith("--from"):
            for source in what.split()[:-1]:
                assert (ROOT / source.removeprefix("./")).exists(), source
                assert source.removeprefix("./") in allowed


def test_the_worker_of_the_image_would_run(tmp_path: Path) -> None:
    command = json.loads(dict(instructions())["CMD"])
    said = dict(pair.split("=", 1) for kind, what in instructions() if kind == "ENV"
                for pair in what.split() if pair.startswith("BACKROOM_"))  # fmt: skip
    env = {**os.environ, **said, "BACKROOM_STORAGE": f"file:{tmp_path / 'jobs'}"}
    done = subprocess.run(
        [sys.executable, "-m", "backroom", *command, "--dry-run"],
        cwd=DEPLOY / "app", env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HELLO" in done.stdout


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return document


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def grace_of(command: list[str]) -> int:
    return int(command[command.index("--grace") + 1])


def test_who_stops_a_worker_waits_for_longer_than_it_gives_its_jobs() -> None:
    worker = compose()["services"]["worker"]
    assert seconds(worker["stop_grace_period"]) >= grace_of(worker["command"]) + 10
    unit = systemd_unit()
    assert int(unit["TimeoutStopSec"]) >= grace_of(shlex.split(unit["ExecStart"])) + 10


def test_the_dashboard_of_the_compose_file_is_open_to_this_machine_alone_and_wants_a_token() -> (
    None
):
    web = compose()["services"]["web"]
    assert all(port.startswith("127.0.0.1:") for port in web["ports"])
    assert ":?" in web["environment"]["BACKROOM_WEB_TOKENS"]
    assert ":?" in web["environment"]["BACKROOM_STORAGE"]
    for name in ("worker", "web"):
        assert compose()["services"][name]["cap_drop"] == ["ALL"]


def systemd_unit() -> dict[str, str]:
    parser = configparser.ConfigParser(strict=True, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(DEPLOY / "backroom-worker.service")
    return dict(parser["Service"])


def test_the_unit_is_told_by_the_worker_how_it_stands() -> None:
    unit = systemd_unit()
    assert (unit["Type"], unit["KillMode"], unit["Restart"]) == ("notify", "mixed", "always")
    assert int(unit["WatchdogSec"]) > 0
    assert unit["RestartPreventExitStatus"] == "2"


def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    text = (DEPLOY / "backroom-worker.service").read_text()
    text = text.replace("/srv/shop/venv/bin/backroom", "/bin/true")  # It has to be there.
    text = text.replace("User=backroom", "User=root").replace("/srv/shop", "/")
    unit = tmp_path / "backroom-worker.service"
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    about = [line for line in done.stderr.splitlines() if "backroom-worker" in line]
    assert about == [], done.stderr


@pytest.mark.parametrize("file", ["keda.yaml", "prometheus/prometheus.yaml"])
def test_the_other_files_are_yaml_and_ask_for_paths_that_are_there(file: str) -> None:
    from backroom.web import dashboard

    service = JobService("memory:")
    paths = {route.path for route in dashboard(service).table}
    document = yaml.safe_load((DEPLOY / file).read_text())
    if file == "keda.yaml":
        asked = document["spec"]["triggers"][0]["metadata"]
        assert re.search(r":8000(/[^?]*)", asked["url"])[1] in paths  # type: ignore[index]
        assert asked["valueLocation"] == "wanted_workers"
    else:
        assert document["scrape_configs"][0]["metrics_path"] in paths
