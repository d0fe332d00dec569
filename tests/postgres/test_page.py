"""docs/postgres.md says what works: its statements are carried out, its programs run."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from backroom import DatabaseJobStorage, JobService
from backroom.cli import main
from tests.servers.fixtures import PostgresPlace

PAGE = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text()
URL = "postgresql://jobs:choose-one@db.example.com/app"


async def test_the_way_of_the_page_leads_to_a_service(postgres_url: PostgresPlace) -> None:
    name = f"page_{postgres_url.schema}"
    made = re.findall(r'psql -c "(.*)"', PAGE)
    made = [
        re.sub(r"\bjobs\b", name, one).replace("DATABASE app", f"DATABASE {name}") for one in made
    ]
    parts = urlsplit(postgres_url.url)
    host = parts.netloc.rpartition("@")[2]
    url = parts._replace(netloc=f"{name}:choose-one@{host}", path=f"/{name}").geturl()
    programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert (len(made), len(programs)) == (2, 2)
    with psycopg.connect(postgres_url.url, autocommit=True) as link:
        try:
            for one in made:
                link.execute(one.encode())
            for program in programs:
                assert URL in program
                there = {"JobService": JobService}
                exec(program.replace(URL, url), there)
                service = there["service"]
                assert isinstance(service, JobService)
                assert isinstance(service.storage, DatabaseJobStorage)
                service.declare("MAIL")
                await service.schedule("MAIL", {})
                await service.stop()
        finally:
            link.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            link.execute(f"DROP ROLE IF EXISTS {name}".encode())


def test_the_page_names_commands_and_options_that_there_are() -> None:
    for command, rest in re.findall(r"^\$ backroom (\w+)(.*)$", PAGE, re.MULTILINE):
        options = {name for param in main.commands[command].params for name in param.opts}
        assert {word for word in rest.split() if word.startswith("--")} <= options
