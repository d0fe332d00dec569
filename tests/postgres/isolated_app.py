"""An application whose handler runs in a child process, and leaves another one behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from backroom import DatabaseJobStorage, Job, JobService
from tests.process.parts import Journal, die_with_parent

FOLDER = Path(os.environ["PROCESS_TEST_FOLDER"])

service = JobService(
    DatabaseJobStorage(**json.loads(os.environ["PROCESS_TEST_DATABASE"])),
    **json.loads(os.environ.get("PROCESS_TEST_SETTINGS", "{}")),
)


@service.handler("ISOLATED", isolation="process")
def isolated(job: Job[Any]) -> None:
    journal = Journal(FOLDER)
    journal.write("started", job.id, job.attempt)
    if job.attempt == 1:
        command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
        child = subprocess.Popen(command, start_new_session=True)
        journal.write("child", job.id, child.pid)
    while not (FOLDER / "gate").exists():
        time.sleep(0.005)


if __name__ != "__mp_main__":
    die_with_parent()
