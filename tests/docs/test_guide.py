"""The guide's code runs, and prints what it says it prints."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (
    "bulk.md", "limits.md", "schedules.md", "steps.md", "unique.md", "versions.md", "workflows.md",
)  # fmt: skip
GUIDE = [*sorted((DOCS / "guide").glob("*.md")), *(DOCS / page for page in PAGES)]
BLOCK = re.compile(
    r"^```python(?: file=(?P<file>\S+))?\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
SAYS = re.compile(r"print\(.*\)  # (?P<text>.*)$", re.MULTILINE)


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_every_block_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a page one after another, in one module; one that names a file is written
    there, and imported by those that follow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    blocks = list(BLOCK.finditer(page.read_text()))
    module = types.ModuleType(f"guide_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names: dict[str, Any] = vars(module)
    said: list[str] = []
    printed = io.StringIO()

    async def run() -> None:
        for block in blocks:
            code = block["code"]
            if block["file"]:
                (tmp_path / block["file"]).write_text(code)
                continue
            said.extend(found["text"] for found in SAYS.finditer(code))
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            compiled = compile(code, page.name, "exec", flags=flags, dont_inherit=True)
            answer = eval(compiled, names)
            if inspect.iscoroutine(answer):
                await answer
        service = names.get("service")
        if service is not None:
            await service.stop()

    try:
        with contextlib.redirect_stdout(printed):
            asyncio.run(run())
    finally:
        for block in blocks:
            if block["file"]:
                sys.modules.pop(Path(block["file"]).stem, None)
    lines = iter(printed.getvalue().splitlines())
    for text in said:
        wanted = text.partition(", ")[0]  # What follows is an explanation, or said as well.
        assert any(line.startswith(wanted) for line in lines), (
            f"{text!r} was not printed, or not in its turn:\n{printed.getvalue()}"
        )


def test_there_is_a_page_to_test() -> None:
    assert len(GUIDE) >= 5
