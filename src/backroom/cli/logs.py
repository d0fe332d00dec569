"""The log of a worker on standard error: lines for people, or for programs."""

from __future__ import annotations

import logging

from backroom import logs

__all__ = ["log_to_stderr"]


def log_to_stderr(*, as_json: bool, verbose: bool) -> None:
    """Sets up the log of this process, where nobody has done so."""
    logs.log_to_stderr(logging.INFO, as_json=as_json)
    if verbose:  # Us, not all that the application uses.
        logging.getLogger("backroom").setLevel(logging.DEBUG)
