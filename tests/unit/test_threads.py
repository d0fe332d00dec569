"""Threads for plain handlers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Queue

import pytest

from backroom.threads import Threads


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads("test")
    yield threads
    threads.close()


def names(threads: Threads, calls: int) -> set[str]:
    """The threads that carry out so many calls one after the other."""
    done: Queue[str] = Queue()
    seen = set()
    for _ in range(calls):
        threads.submit(lambda: done.put(threading.current_thread().name))
        seen.add(done.get(timeout=5))
    return seen


def test_there_are_as_many_threads_as_run_at_once(threads: Threads) -> None:
    together = threading.Barrier(5)
    done: Queue[str] = Queue()

    def call() -> None:
        together.wait(5)
        done.put(threading.current_thread().name)

    for _ in range(5):
        threads.submit(call)
    assert len({done.get(timeout=5) for _ in range(5)}) == 5


def test_an_idle_thread_is_used_again(threads: Threads) -> None:
    # A thread is idle a moment after its call's last line, so now and then a second one starts.
    assert len(names(threads, 100)) <= 3


def test_a_thread_keeps_no_process_alive(threads: Threads) -> None:
    done: Queue[bool] = Queue()
    threads.submit(lambda: done.put(threading.current_thread().daemon))
    assert done.get(timeout=5)


def test_idle_threads_end_when_they_are_closed_and_busy_ones_after_their_call() -> None:
    threads = Threads("ending")
    go, done = threading.Event(), Queue[threading.Thread]()

    def busy() -> None:
        done.put(threading.current_thread())
        go.wait(5)

    threads.submit(busy)
    threads.submit(lambda: done.put(threading.current_thread()))
    first, second = done.get(timeout=5), done.get(timeout=5)
    threads.close()
    threads.close()
    go.set()
    for thread in (first, second):
        thread.join(5)
        assert not thread.is_alive()
