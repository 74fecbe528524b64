"""Ctrl-C: deferred once within a block, and immediate anywhere else."""

from __future__ import annotations

import signal
from contextlib import suppress
from threading import Thread

import pytest

from sdcli import signals
from sdcli.runner.interrupts import InterruptHandler


def test_a_first_ctrl_c_waits_for_the_end_of_the_block() -> None:
    messages: list[str] = []
    interrupts = InterruptHandler(lambda: messages.append("waiting"))
    with interrupts.handling():
        with interrupts.deferred():
            signal.raise_signal(signal.SIGINT)
            interrupted = interrupts.interrupted
        with pytest.raises(KeyboardInterrupt):
            interrupts.raise_if_interrupted()
    assert interrupted
    assert messages == ["waiting"]


def test_a_second_ctrl_c_does_not_wait() -> None:
    interrupts = InterruptHandler()
    with interrupts.handling(), interrupts.deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_that_was_handled_does_not_end_what_the_caller_does_next() -> None:
    interrupts = InterruptHandler()
    with suppress(KeyboardInterrupt), interrupts.handling():
        signal.raise_signal(signal.SIGINT)
    assert not signals.was_interrupted()


def test_the_signals_of_a_command_stay_counted_until_it_ends() -> None:
    signals.install()
    try:
        signals.start()
        with suppress(KeyboardInterrupt), InterruptHandler().handling():
            signal.raise_signal(signal.SIGINT)
        assert signals.was_interrupted()
    finally:
        signals.restore()


def test_outside_a_block_ctrl_c_is_immediate() -> None:
    interrupts = InterruptHandler()
    with interrupts.handling(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_the_previous_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with InterruptHandler().handling():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_other_threads_install_no_handler() -> None:
    handlers = [signal.getsignal(signal.SIGINT)]

    def run() -> None:
        with InterruptHandler().handling():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = Thread(target=run)
    thread.start()
    thread.join()
    assert handlers[0] == handlers[1]


def test_without_an_interrupt_nothing_is_raised() -> None:
    interrupts = InterruptHandler()
    with interrupts.deferred():
        pass
    interrupts.raise_if_interrupted()
