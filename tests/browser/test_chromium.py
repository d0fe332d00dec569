"""Which Chromium the tests take, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import chromium


def test_the_one_that_is_named_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "my-chromium"
    named.touch(mode=0o755)
    monkeypatch.setenv("BACKROOM_TEST_CHROMIUM", str(named))
    assert chromium.find() == str(named)


def test_one_that_is_named_and_is_not_there_is_not_replaced_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BACKROOM_TEST_CHROMIUM", "/nowhere/chromium")
    assert chromium.find() is None


def test_one_on_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "google-chrome").touch(mode=0o755)
    monkeypatch.delenv("BACKROOM_TEST_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium.find() == str(tmp_path / "google-chrome")


def test_where_there_is_none_and_none_can_be_installed_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BACKROOM_TEST_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium.find() is None
    for word in ("BACKROOM_TEST_CHROMIUM", "PATH", "apt-get"):
        assert word in chromium.NONE_FOUND
