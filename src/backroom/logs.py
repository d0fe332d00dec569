"""Which job a line of the log belongs to, and how lines are written.

While a handler runs, in a coroutine, a thread or a child process, each record that passes a
`JobLogFilter` has the attributes `job_id`, `job_type`, `job_attempt` and `job_queue`; elsewhere
they are None. So a formatter of the application's may use them everywhere.
"""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from backroom.plain import plain_lines

__all__ = [
    "JobLogFilter",
    "JsonFormatter",
    "TextFormatter",
    "log_to_stderr",
    "of_job",
    "underway",
    "writes_json",
]

TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
ATTRIBUTES: Final = ("job_id", "job_type", "job_attempt", "job_queue")


class Work(Protocol):
    """An attempt, or a call of a bulk handler: then `id` and `attempt` are None."""

    @property
    def id(self) -> Any: ...
    @property
    def type(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def attempt(self) -> int | None: ...


underway: Final[ContextVar[Work | None]] = ContextVar("backroom-underway", default=None)
"""What runs in this context."""


def of_job(id_: str | None, type_: str, attempt: int | None, queue: str) -> dict[str, Any]:
    """What a record that tells of a job has as its `extra`."""
    return {"job_id": id_, "job_type": type_, "job_attempt": attempt, "job_queue": queue}


class JobLogFilter(logging.Filter):
    """Lets everything pass, and marks it with the job that is being run. For a handler of
    `logging`, whose formatter then writes `%(job_id)s`, or all that a record has."""

    def filter(self, record: logging.LogRecord) -> bool:
        if "job_id" not in record.__dict__:  # Else it was said with the record.
            work = underway.get()
            if work is None:
                record.__dict__.update(dict.fromkeys(ATTRIBUTES))
            else:
                id_ = None if work.id is None else str(work.id)
                record.__dict__.update(of_job(id_, work.type, work.attempt, work.queue))
        return True


class TextFormatter(logging.Formatter):
    """Lines for people. Text of a handler, or of a job's data, can neither steer a terminal nor
    pass for another entry: a record of several lines goes on behind a bar."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(super().format(record))


class JsonFormatter(logging.Formatter):
    """The same for programs: one JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ATTRIBUTES:
            value = record.__dict__.get(name)
            if value is not None:
                said[name] = value
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said)


def writes_json() -> bool:
    """Whether the log of this process is one of JSON."""
    return any(isinstance(one.formatter, JsonFormatter) for one in logging.getLogger().handlers)


def log_to_stderr(level: int, *, as_json: bool) -> None:
    """Sets up the log of this process, where nobody has done so."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    handler.addFilter(JobLogFilter())
    logging.basicConfig(level=level, handlers=[handler])
