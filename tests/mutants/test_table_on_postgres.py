"""A statement without its guard is one that a server understands: else any test would notice."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import asyncpg

from tests.mutants.mutant import SOURCE
from tests.mutants.table import MUTANTS
from tests.servers.fixtures import PostgresPlace

FOLDER = Path(__file__).parents[2] / SOURCE / "storage" / "postgres"
STATEMENTS = FOLDER / "statements.py"
PART = "some"
"""A partition, for what is said of one."""


async def test_a_server_understands_every_statement_that_lost_its_guard(
    postgres_url: PostgresPlace,
) -> None:
    usual = _statements(postgres_url.schema)
    connection = await asyncpg.connect(postgres_url.url)
    await connection.execute(usual.making(usual.tables))
    await connection.execute(usual.part("make", PART))
    tried = 0
    for mutant in MUTANTS:
        file = FOLDER.parents[1] / mutant.file
        if file != STATEMENTS and not (file.parent == FOLDER and file.suffix == ".sql"):
            continue
        text = mutant.mutate(file.read_text())
        mutated = _statements(postgres_url.schema, file, text)
        changed = [name for name in usual if mutated[name] != usual[name]]
        for name in changed:
            await connection.prepare(mutated.part(name, PART))
        if mutated.tables != usual.tables:
            changed.append("tables")
            others = _statements(postgres_url.schema, file, text, table=f"other{tried}")
            await connection.execute(others.making(others.tables))
        assert changed, f"{mutant.name} changes no statement"
        tried += 1
    await connection.close()
    assert tried > 15


def _statements(schema: str, file: Path = STATEMENTS, text: str = "", table: str = "jobs") -> Any:
    """As they are where this text stands in place of one of their files."""
    module = ModuleType("statements")
    own = text if file == STATEMENTS and text else STATEMENTS.read_text()
    exec(compile(own, STATEMENTS, "exec"), vars(module))
    read = vars(module)["read"]
    vars(module)["read"] = lambda name: text if file.name == f"{name}.sql" else read(name)
    statements = vars(module)["Statements"](table, schema)
    later = sorted(one.stem for one in (FOLDER / "migrations").iterdir())
    texts = ["schema", *(f"migrations/{name}" for name in later)]
    statements.tables = "\n".join(map(vars(module)["read"], texts))
    return statements
