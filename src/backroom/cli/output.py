"""Lines and JSON on standard output."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from backroom.cli.plain import plain_json

__all__ = ["printing", "say", "to_json", "to_json_line"]


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Output that cannot be written, as to a full disk, is one line and code 1 too."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # Who reads has seen enough: click leaves without a word.
    except OSError as error:
        # What is left in the buffer would fail once more when Python ends.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise click.ClickException(f"the output cannot be written: {error.strerror}") from None


def say(text: str) -> None:
    """A line on standard output, in its own encoding."""
    click.echo(text, file=sys.stdout)


def to_json(value: Any) -> None:
    """One JSON document on standard output."""
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode()
    say(plain_json(text, sys.stdout.encoding or "ascii"))


def to_json_line(value: Any) -> None:
    """The same in one line: one of many documents."""
    text = msgspec.json.encode(value, enc_hook=str).decode()
    say(plain_json(text, sys.stdout.encoding or "ascii"))
