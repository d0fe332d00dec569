"""What the mutation gate found, for a terminal and for the documentation."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version

import apsw

from tests.mutants.gate import KILLED, Verdict
from tests.mutants.mutant import SOURCE

__all__ = ["HEAD", "line", "markdown", "summary"]

HEAD = f"{'guard':<34} {'promise':<8} {'verdict':<13} {'seconds':>7}  test that went red"


def line(verdict: Verdict, *, why: bool = False) -> str:
    """One line of the table; with `why`, another one where there is something to say."""
    mutant = verdict.mutant
    text = (
        f"{mutant.name:<34} {_promises(mutant.promises):<8} {verdict.verdict:<13}"
        f" {verdict.seconds:7.1f}  {verdict.red}"
    )
    return f"{text}\n    {verdict.why}" if why and verdict.why else text


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many of how many were killed, and who was not."""
    alive = [verdict for verdict in verdicts if verdict.verdict not in KILLED]
    text = f"{len(verdicts) - len(alive)} of {len(verdicts)} mutants killed"
    return "\n".join([text, *(f"  {one.verdict}: {one.mutant.name}" for one in alive)])


def markdown(verdicts: Sequence[Verdict], command: str) -> str:
    """A page of the documentation."""
    seconds = sum(verdict.seconds for verdict in verdicts)
    lines = [
        "# Mutants",
        "",
        "Each guard of the engine is removed in a copy of the sources, as a careless colleague"
        " would do it; then the tests that should notice are run. The same tests pass on the"
        " sources as they are. The mutants are in `tests/mutants/table`; this page is written by",
        "",
        f"    {command}",
        "",
        f"Last run: {date.today().isoformat()}, Backroom {version('backroom')}, Python"
        f" {platform.python_version()}, SQLite {apsw.sqlite_lib_version()};"
        f" {summary(verdicts).splitlines()[0]}, in {seconds:.0f} s of tests.",
        "",
        "## By promise",
        "",
        "The numbers are those of the promises in [design.md](design.md).",
        "",
        "| promise | mutants |",
        "| --- | --- |",
    ]
    promises = sorted({promise for verdict in verdicts for promise in verdict.mutant.promises})
    for promise in promises:
        names = [v.mutant.name for v in verdicts if promise in v.mutant.promises]
        lines.append(f"| {promise} | {', '.join(f'`{name}`' for name in names)} |")
    lines += [
        "",
        "## By guard",
        "",
        "| mutant | promise | what is removed | file | test that went red | verdict | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in verdicts:
        mutant = one.mutant
        file = (SOURCE / mutant.file).relative_to("src/backroom")
        cells = (
            f"`{mutant.name}`", _promises(mutant.promises), mutant.guard, f"`{file}`",
            f"`{one.red}`" if one.red else "", one.verdict, f"{one.seconds:.1f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _promises(promises: Sequence[int]) -> str:
    return ", ".join(map(str, promises))
