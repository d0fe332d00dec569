"""A project of Django that has nothing but a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult

import django
from django.conf import settings

__all__ = ["django_connection"]


@contextmanager
def django_connection(url: SplitResult) -> Iterator[Any]:
    """`django.db.connection` of this thread, to that database."""
    where = {
        "ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "HOST": url.hostname,
        "PORT": url.port, "USER": url.username, "PASSWORD": url.password,
    }  # fmt: skip
    if not settings.configured:
        settings.configure(DATABASES={"default": where}, USE_TZ=True)
        django.setup()
    from django.db import connection, connections

    connections.databases["default"].update(where)
    connections["default"] = connections.create_connection("default")
    connection.ensure_connection()
    try:
        yield connection
    finally:
        connection.close()
