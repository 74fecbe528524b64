"""The process of a worker, run in this one."""

from __future__ import annotations

import os
import signal
from multiprocessing import Pipe
from threading import Thread

import pytest

from sdcli import signals
from sdcli.distributed.worker_process import main
from sdcli.errors import ExitCode
from tests.processes import wait_until


def test_a_signal_that_no_run_handles_is_an_exit_code() -> None:
    def interrupt() -> None:
        wait_until(lambda: signal.getsignal(signal.SIGTERM) is signals.on_signal)
        os.kill(os.getpid(), signal.SIGTERM)

    ours, theirs = Pipe()
    thread = Thread(target=interrupt)
    thread.start()
    try:
        with ours, theirs, pytest.raises(SystemExit) as ended:
            # It waits for its settings, which never come.
            main(os.dup(theirs.fileno()))
    finally:
        thread.join()
        signals.restore()
    assert ended.value.code == ExitCode.INTERRUPTED
