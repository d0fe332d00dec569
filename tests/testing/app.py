"""The application that these tests test."""

from __future__ import annotations

from dataclasses import dataclass

from backroom import JobService, JobType

__all__ = ["MAIL", "Mail", "Shop"]


@dataclass
class Mail:
    template: str
    recipient: str = "ada@example.com"
    queue: str | None = None
    """A field with the name of an option."""


MAIL = JobType("MAIL", Mail, retries=3, retry_delay=60)


class Shop:
    """A service, and what its handlers did."""

    def __init__(self) -> None:
        self.service = JobService("file:/nowhere/that/is/ever/opened")
        self.done: list[object] = []
