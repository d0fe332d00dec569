"""The log of a worker on standard error: lines for people, or for programs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from backroom.cli.plain import plain

__all__ = ["JsonFormatter", "PlainFormatter", "log_to_stderr"]


def log_to_stderr(*, as_json: bool, verbose: bool) -> None:
    """Sets up the log of this process, where nobody has done so."""
    handler = logging.StreamHandler()
    text = PlainFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if as_json else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if verbose:  # Us, not all that the application uses.
        logging.getLogger("backroom").setLevel(logging.DEBUG)


class PlainFormatter(logging.Formatter):
    """For the log of a worker, which holds what handlers say of their data."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


class JsonFormatter(logging.Formatter):
    """The same for programs: one JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said)
