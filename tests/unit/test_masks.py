"""A password is never shown, however its URL was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backroom import JobService
from backroom.errors import ConfigurationError
from backroom.storage.masks import masked


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:s3cret@host:5432/app", "postgresql://ada:***@host:5432/app"),
        ("postgresql://ada:s3cret@host/app?sslmode=require", "?sslmode=require"),
        ("postgresql://ada:s3cret@host/app?options=a@b", "postgresql://ada:***@b"),
        ("postgresql://ada:s3@t?cret@host/app", "postgresql://ada:***@host/app"),
        ("postgresql+asyncpg://ada:s3cret@host/app", "postgresql+asyncpg://ada:***@host/app"),
        ("postgresql://ada:s3/cret@host/app", "postgresql://ada:***@host/app"),
        ("postgresql://ada:s3#cret@host/app", "postgresql://ada:***@host/app"),
        ("postgresql://ada:s3?cret@host/app", "postgresql://ada:***@host/app"),
        ("postgresql://ada:s3@cret@host/app", "postgresql://ada:***@host/app"),
        ("postgresql://ada:s3[cret@host/app", "postgresql://ada:***@host/app"),
        ("postgresql://a/da:s3cret@host/app", "postgresql://a/da:***@host/app"),
        ("postgresql://host/app?user=ada&password=s3cret", "user=ada&password=***"),
        ("host=localhost password='s3 cret' dbname=app", "password=*** dbname=app"),
        ("ada:s3cret@host/app", "ada:***@host/app"),
        ("postgresql://ada@host:5432/app", "postgresql://ada@host:5432/app"),
        ("postgresql://host:5432/app", "postgresql://host:5432/app"),
        ("postgresql:///app?host=/tmp", "postgresql:///app?host=/tmp"),
        ("postgresql://ada:s3cret@[::1]:5432/app", "postgresql://ada:***@[::1]:5432/app"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert shown in masked(url)
    assert "cret" not in masked(url)


@given(st.text(min_size=1), st.sampled_from(["host/app", "host:1/app?a=b", "h1,h2/app"]))
def test_whatever_the_password_is(password: str, rest: str) -> None:
    assert "QxZ" not in masked(f"postgresql://ada:QxZ{password}QxZ@{rest}")


@pytest.mark.parametrize(
    "url",
    ["mysql://ada:s3cret@host/app", "postgresql+asyncpg://ada:s3cret@h/a", "redis://:s3cret@h"],
)
def test_a_service_that_refuses_a_url_does_not_show_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        JobService(url)
    assert "s3cret" not in str(caught.value)
