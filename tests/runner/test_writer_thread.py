"""The writer's thread: order, errors, and a full queue."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from sdcli.errors import OutputError
from sdcli.runner.writer_thread import WriterThread


def fail() -> None:
    raise OutputError("full", code="output.full")


def test_work_is_done_in_order_in_another_thread() -> None:
    done: list[tuple[int, int]] = []
    writer = WriterThread(max_pending=3)
    for number in range(50):
        writer.submit(lambda number=number: done.append((number, threading.get_ident())))
    writer.close()
    assert [number for number, _ in done] == list(range(50))
    assert {thread for _, thread in done}.isdisjoint({threading.get_ident()})


def submit_and_close(writer: WriterThread, count: int) -> list[int]:
    """The numbers that the thread got to, of so many."""
    done: list[int] = []
    for number in range(count):
        writer.submit(partial(done.append, number))
    writer.close()
    return done


def test_an_error_is_raised_once_and_later_work_is_dropped() -> None:
    writer = WriterThread(max_pending=100)
    writer.submit(fail)
    with pytest.raises(OutputError):
        submit_and_close(writer, 50)
    assert submit_and_close(writer, 1) == []


def test_a_failed_thread_still_empties_its_queue() -> None:
    writer = WriterThread(max_pending=1)
    writer.submit(fail)
    with pytest.raises(OutputError):
        submit_and_close(writer, 50)
