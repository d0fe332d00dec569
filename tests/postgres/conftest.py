"""Fixtures: a table of the application's own beside the jobs, and a service that schedules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from backroom import DatabaseJobStorage, JobService
from tests.postgres.clients import CLIENTS, FEW, Client
from tests.process.fixtures import family
from tests.servers.fixtures import PostgresPlace, made_place
from tests.servers.postgres import Postgres

__all__ = ["family"]


@pytest.fixture
def place(postgres_server: Postgres) -> Iterator[PostgresPlace]:
    """Where the application keeps its orders."""
    with made_place() as place:
        create = f"CREATE TABLE {place.schema}.orders (name text PRIMARY KEY)"
        postgres_server.execute(create.encode(), place.database)
        yield place


@pytest.fixture
async def service(place: PostgresPlace) -> AsyncIterator[JobService]:
    """It knows the type MAIL."""
    service = JobService(DatabaseJobStorage(place.url, schema=place.schema), poll_interval=60)
    service.declare("MAIL")
    await service.open()
    yield service
    await service.stop()


@pytest.fixture(params=list(CLIENTS.values()), ids=list(CLIENTS))
async def client(request: pytest.FixtureRequest, place: PostgresPlace) -> AsyncIterator[Client]:
    """Of every kind that is taken."""
    async with request.param(place) as client:
        yield client


@pytest.fixture(params=list(FEW.values()), ids=list(FEW))
async def speaker(request: pytest.FixtureRequest, place: PostgresPlace) -> AsyncIterator[Client]:
    """Of every way that a statement is said."""
    async with request.param(place) as client:
        yield client
