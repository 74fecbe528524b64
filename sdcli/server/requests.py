"""Ask the worker that is running about itself, and stop it."""

from __future__ import annotations

from typing import Any

from sdcli.errors import SdcliError
from sdcli.server.protocol import Receiver, send
from sdcli.server.runtime_folder import RuntimeFolder
from sdcli.server.worker_key import worker_key


def read_status() -> dict[str, Any] | None:
    """Return what the worker says of itself, None if none is running. Raises SdcliError."""
    return _ask({"do": "status", "key": worker_key()})


def stop_worker(*, now: bool) -> int | None:
    """Stop the worker and wait for its end. Returns the id of its process, None without one.

    With `now` the command that it is running is killed. Raises SdcliError.
    """
    answer = _ask({"do": "stop", "now": now})
    return answer["pid"] if answer else None


def _ask(question: dict[str, object]) -> dict[str, Any] | None:
    try:
        connection = RuntimeFolder.open().connect()
        if connection is None:
            return None
        with connection:
            send(connection, question)
            answer: dict[str, Any] | None = Receiver(connection).wait()
            # After a request to stop, the end of the connection is that of the worker.
            while connection.recv(1):
                pass
            return answer
    except (FileNotFoundError, ConnectionResetError, BrokenPipeError):
        # There is no folder for one, or it ended just now.
        return None
    except (OSError, ValueError) as error:
        raise SdcliError(
            f"the warm worker does not answer: {error}", code="worker.silent"
        ) from error
