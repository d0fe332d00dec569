"""The table of mutants does not rot: each fits the sources, and names tests that are there."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import apsw
import pytest

from tests.mutants.mutant import SOURCE, GuardMoved, Mutant
from tests.mutants.table import MUTANTS

ROOT = Path(__file__).parents[2]
PROMISES = set(range(1, 18))
"""Of docs/design.md."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_sources(mutant: Mutant) -> None:
    text = (ROOT / SOURCE / mutant.file).read_text()
    mutated = mutant.mutate(text)
    assert mutated != text
    if mutant.file.startswith("storage/postgres/") and mutant.file.endswith(".sql"):
        return  # See test_table_on_postgres.py.
    if mutant.file.endswith(".sql"):
        apsw.Connection(":memory:").execute(mutated)
    else:
        compile(mutated, mutant.file, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_of_a_mutant_are_there(mutant: Mutant) -> None:
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        path = ROOT / "tests" / file
        assert path.exists(), f"{test} is gone"
        if name:
            assert name.partition("[")[0] in _functions(path), f"{test} is gone"


def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_promise_has_a_mutant_and_every_mutant_a_promise_and_a_name_of_its_own() -> None:
    assert {promise for mutant in MUTANTS for promise in mutant.promises} == PROMISES
    assert all(mutant.promises for mutant in MUTANTS)
    names = Counter(mutant.name for mutant in MUTANTS)
    assert [name for name, count in names.items() if count > 1] == []


SAMPLE = "def f(x):\n    if x:\n        raise ValueError\n    if x > 1:\n        return 2\n"


def _changed(old: str, new: str, *also: tuple[str, str]) -> str:
    mutant = Mutant(
        name="example", promises=(1,), guard="-", file="a.py", old=old, new=new, also=also, tests=()
    )
    return mutant.mutate(SAMPLE)


def test_a_fragment_is_replaced_wherever_it_stands() -> None:
    assert _changed("x > 1", "x > 2") == SAMPLE.replace("x > 1", "x > 2")


def test_lines_are_replaced_at_any_depth() -> None:
    mended = "def f(x):\n    if x > 1:\n        return 2\n"
    assert _changed("if x:\n    raise ValueError", "") == mended
    assert _changed("\n        if x:\n            raise ValueError\n        ", "") == mended


def test_several_edits_are_made_one_after_the_other() -> None:
    assert _changed("x > 1", "y > 1", ("y > 1", "z > 1")) == SAMPLE.replace("x > 1", "z > 1")


@pytest.mark.parametrize("old", ["if x", "if y:", "if x:\n    return 2", "raise ValueError\nif x:"])
def test_a_guard_that_has_moved_is_told(old: str) -> None:
    with pytest.raises(GuardMoved, match=r"the guard has moved: example .*a\.py"):
        _changed(old, "pass")
