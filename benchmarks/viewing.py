"""Those who look at a dashboard: one who times each page, and many who keep a page open."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

__all__ = ["timed", "viewing"]

LEAST: Final = 1.0
"""Seconds between two looks of one page, as its script does it."""
SHARE: Final = 10
"""And so many times as long as the last look took."""


ROUND: Final = 1.1
"""Seconds at least between two looks of whoever is timed: a page is kept for one second."""


def timed(url: str, paths: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each answer, by path; one after the other over one connection, each path in
    turn, and each made anew."""
    host = urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=60)
    took: dict[str, list[float]] = {path: [] for path in paths}
    for path in paths:  # Templates are read once, statements prepared.
        _get(connection, path)
    for _ in range(rounds):
        next_round = time.perf_counter() + ROUND
        for path in paths:
            began = time.perf_counter()
            _get(connection, path)
            took[path].append((time.perf_counter() - began) * 1000)
        time.sleep(max(0.0, next_round - time.perf_counter()))
    connection.close()
    return took


def _get(
    connection: http.client.HTTPConnection, path: str, headers: dict[str, str] | None = None
) -> str | None:
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    answer.read()
    if answer.status not in (200, 304):
        raise RuntimeError(f"{path} is answered with {answer.status}")
    return answer.headers["ETag"]


@contextmanager
def viewing(url: str, paths: Sequence[str], viewers: int) -> Iterator[None]:
    """So many have one of these pages open, within the block, each as a browser does: it listens to
    events, and asks for the page again when one came."""
    ended = threading.Event()
    threads = [
        threading.Thread(target=_view, args=(url, paths[number % len(paths)], ended))
        for number in range(viewers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _view(url: str, path: str, ended: threading.Event) -> None:
    host = urlsplit(url).netloc
    heard = threading.Event()
    events = http.client.HTTPConnection(host, timeout=60)
    events.request("GET", "/api/v1/events", headers={"Accept": "text/event-stream"})
    stream = events.getresponse()

    def listen() -> None:
        while not ended.is_set():
            if stream.readline().startswith(b"data:"):
                heard.set()

    listening = threading.Thread(target=listen)
    listening.start()
    pages = http.client.HTTPConnection(host, timeout=60)
    tag: str | None = None
    while not ended.is_set():
        if heard.wait(0.2):
            heard.clear()
            began = time.perf_counter()
            headers = {"Backroom-Live": "1"} | ({"If-None-Match": tag} if tag else {})
            tag = _get(pages, path, headers)
            took = time.perf_counter() - began
            ended.wait(max(LEAST, SHARE * took))
    pages.close()
    listening.join()
    events.close()
