"""Every statement is understood by every PostgreSQL that is here, the oldest and the newest."""

from __future__ import annotations

import re

import asyncpg
import pytest

from backroom import DatabaseJobStorage
from backroom.storage.postgres.statements import Statements
from tests.servers.binaries import Binaries, find_binaries
from tests.servers.fixtures import other_version, shared_place

PLACE = re.compile(r"\{\w+\}")
"""Of the name of a partition: those are tried where there are some."""
SERVERS = [None, *([other] if (other := other_version()) else [])]


def name(binaries: Binaries | None) -> str:
    return f"postgres{(binaries or find_binaries()[0]).version}"


@pytest.mark.parametrize("binaries", SERVERS, ids=name)
async def test_a_server_understands_every_statement(binaries: Binaries | None) -> None:
    with shared_place(binaries) as place:
        storage = DatabaseJobStorage(place.url, schema=place.schema)
        await storage.open()
        await storage.close()
        statements = Statements("background_jobs", place.schema)
        connection = await asyncpg.connect(place.url)
        try:
            for text in map(statements.__getitem__, statements):
                if text.startswith("CREATE TABLE") and not PLACE.search(text):
                    await connection.execute(text)
                elif not PLACE.search(text):
                    await connection.prepare(text)
        finally:
            await connection.close()
