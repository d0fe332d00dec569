"""The command line. Commands are lines of glue; what they print is in `show.py`."""

from __future__ import annotations

from backroom.cli.main import main

__all__ = ["main"]
