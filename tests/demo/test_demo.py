"""The demo, run as people run it, and its books checked by hand."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from contextlib import closing
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from tests.process.parts import Family

MAILS = 200
REPORTS = 5


@pytest.mark.slow
@pytest.mark.crash
def test_the_demo_kills_a_worker_and_every_number_adds_up(family: Family) -> None:
    folder, report = family.folder / "demo", family.folder / "numbers.json"
    options = ["--mails", str(MAILS), "--dir", str(folder), "--json", str(report)]
    demo = family.start("-m", "examples.mail.demo", *options)
    assert demo.ends(60) == 0, demo.text
    told = json.loads(report.read_text())
    assert told["ok"]
    assert told["problems"] == []
    assert (told["scheduled"], told["completed"]) == (MAILS + REPORTS, MAILS + REPORTS)
    assert (told["failed"], told["lost"]) == (0, 0)

    # The mails, opened without a line of the demo's.
    mails = [_read(file) for file in (folder / "Maildir" / "new").iterdir()]
    recipients = Counter(str(mail["To"]) for mail in mails)
    assert len(mails) == told["mails"]
    assert len(recipients) == told["recipients"] == MAILS
    sent_twice = sorted(to for to, count in recipients.items() if count > 1)
    assert sent_twice == told["duplicates"]
    assert len(list((folder / "reports").glob("*.html"))) == REPORTS

    # The jobs, read with the standard library.
    with closing(sqlite3.connect(f"file:{folder}/jobs/jobs.db?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = database.execute(
            "SELECT id, type, state, attempt, crashes, data->>'recipient' FROM job"
        ).fetchall()
        assert database.execute("SELECT count(*) FROM worker").fetchone() == (0,)
    assert Counter(row[1] for row in rows) == {"SEND_EMAIL": MAILS, "GENERATE_REPORT": REPORTS}
    assert {row[2] for row in rows} == {2}, "a job has not completed"
    assert {row[5] for row in rows if row[5]} == set(recipients)
    by_id = {row[0]: row for row in rows}
    crashed = {id_ for id_, row in by_id.items() if row[4]}
    assert len(crashed) == told["crashed"]
    for mail in mails:
        assert by_id[str(mail["X-Job-Id"])][5] == mail["To"]
    twice = {str(mail["X-Job-Id"]) for mail in mails if str(mail["To"]) in sent_twice}
    assert twice <= crashed, "a mail left twice although no worker died while it was sent"
    refused = {row[0] for row in rows if row[3] - row[4] > 1}
    assert len(refused) == told["retried"] > 0

    assert _processes_about(folder) == []


def _read(file: Path) -> Message:
    return message_from_bytes(file.read_bytes())


def _processes_about(folder: Path) -> list[str]:
    """The commands of all processes that name this folder, or have it in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                command = (process / "cmdline").read_bytes()
                told = command + (process / "environ").read_bytes()
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
            if bytes(folder) in told:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found
