"""What a worker and its child processes say to each other: frames of JSON over a socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from backroom.transition import Claim

__all__ = ["Ended", "Frame", "Frames", "Ready", "Run", "Said", "Setup", "Stop", "pack"]


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """To a new child: how it shall be."""

    main: str | None
    """The file that is `__main__` in the parent, whose handlers have it as their module."""
    max_memory: int | None
    max_jobs: int | None
    max_payload: int
    log_level: int
    json_log: bool


class Run(msgspec.Struct, frozen=True, tag="run"):
    """To a child: an attempt."""

    module: str
    qualname: str
    typed: bool
    """The handler's data has a type, which importing its module declares."""
    claim: Claim
    retries: int
    timeout: float
    started_at: int


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """To a child: `job.cancelled` is true from now on, a coroutine is cancelled."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """From a child: it takes attempts."""


class Said(msgspec.Struct, frozen=True, tag="said"):
    """From a child: progress and log lines since the last."""

    progress: float | None
    message: str | None
    lines: list[tuple[int, str, str]]


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """From a child: the outcome of an attempt, and whether the child is to be replaced."""

    kind: str
    """"completed", "snoozed", "cancelled", "interrupted", or of an error its class."""
    result: str | None = None
    message: str = ""
    traceback: str | None = None
    retry: bool = True
    delay: float | None = None
    failed: bool = False
    saw_stop: bool = False
    worn: str | None = None
    """Why this child is to be replaced: too many jobs, too much memory."""


Frame = Setup | Run | Stop | Ready | Said | Ended

_LENGTH: Final = 4
_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[Frame]] = msgspec.json.Decoder(Frame)


def pack(frame: Frame) -> bytes:
    """A frame as it travels: its length, then JSON."""
    text = _encoder.encode(frame)
    return len(text).to_bytes(_LENGTH, "big") + text


class Frames:
    """Puts what arrives together again."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH:
            end = _LENGTH + int.from_bytes(buffer[:_LENGTH], "big")
            if len(buffer) < end:
                return
            frame = _decoder.decode(buffer[_LENGTH:end])
            del buffer[:end]
            yield frame
