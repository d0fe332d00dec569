"""How statements are said to drivers of other kinds, and how their connections are known."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from uuid import UUID

import pytest

from backroom.storage.postgres.line import placed
from backroom.storage.postgres.statements import Statements
from backroom.transactions import at_once
from tests.process.parts import ROOT

ID = UUID("019c0000-0000-7000-8000-000000000000")


def test_places_become_names_and_keep_their_types() -> None:
    text = "SELECT $1::uuid[], cardinality($1), $2, $10::double precision[], 7 % 3, $3::text"
    said, values = placed(text, [[ID], 5, "100%", *range(6), [0.5]])
    assert said == (
        "SELECT %(p1)s::uuid[], cardinality(%(p1)s::uuid[]), %(p2)s,"
        " %(p10)s::double precision[], 7 %% 3, %(p3)s::text"
    )
    assert values is not None
    assert values["p1"] == [str(ID)]
    assert (values["p2"], values["p3"], values["p10"]) == (5, "100%", [0.5])
    assert placed("SELECT 7 % 3", ()) == ("SELECT 7 % 3", None)


ALONG = (
    "here", "add", "admit", "present", "twins", "hurry", "complete", "take_out", "settle",
    "add_logs", "trim_logs", "add_flow", "weave", "add_edges", "more_jobs", "say", "lock_flows",
    "held_now", "role_of", "members_by_id", "graft", "account", "causes", "doom", "callbacks",
    "free", "to_undo", "what_to_undo", "undone", "finished", "again_turns", "lock_gates_of",
    "drop_permits",
)  # fmt: skip


@pytest.mark.parametrize("name", ALONG)
def test_every_statement_can_be_said_with_names(name: str) -> None:
    text = Statements("background_jobs", None)[name]
    numbers = {int(number) for number in re.findall(r"\$(\d+)", text)}
    assert numbers == set(range(1, len(numbers) + 1))
    said, values = placed(text, [None] * len(numbers))
    assert values is not None
    assert said % values == re.sub(
        r"\$(\d+)(::(?:double precision|\w+)(?:\[\])?)?",
        lambda place: f"None{_type(text, place[1])}",
        text,
    )
    # What is a list anywhere is told to be one.
    for number in re.findall(r"(?:unnest|cardinality|ANY)\(\$(\d+)", text):
        assert _type(text, number).endswith("[]"), number


def _type(text: str, number: str) -> str:
    found = re.search(rf"\${number}(::(?:double precision|\w+)(?:\[\])?)", text)
    return found[1] if found else ""


def test_no_driver_is_imported_that_the_application_does_not_use() -> None:
    look = (
        "import sys; from backroom.storage.postgres.drivers import line_of\n"
        "try: line_of(object())\n"
        "except ValueError: pass\n"
        "print(sorted({'psycopg', 'psycopg2', 'sqlalchemy', 'django'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, check=True)
    assert said.stdout == b"[]\n"


def test_what_would_wait_is_not_run_without_a_loop() -> None:
    async def waits() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="would wait"):
        at_once(waits())
