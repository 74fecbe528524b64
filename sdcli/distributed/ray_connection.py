"""Join a cluster of Ray, or start one, and say in a line why that fails."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from typing import Any, Final

from sdcli.errors import DeviceError, UsageError, quoted

LOCAL, AUTO = "local", "auto"
_ADDRESS: Final = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})")
_LAST_PORT: Final = 65_535
_CONNECT_SECONDS: Final = 10.0
_TOKEN_HINT: Final = "RAY_AUTH_TOKEN, or RAY_AUTH_MODE=token for the token in ~/.ray"
_LOCAL_HINT: Final = "--ray local starts a cluster on this machine"
_TOKENS: Final = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}


def check_address(address: str) -> None:
    """Raise UsageError for what is no address."""
    match = _ADDRESS.fullmatch(address)
    if address not in (LOCAL, AUTO) and not (match and int(match["port"]) <= _LAST_PORT):
        raise UsageError(
            f"--ray: {quoted(address)} is not local, auto or HOST:PORT",
            code="usage.ray",
            hint="ray start prints the address; its port is usually 6379",
        )


def check_package() -> None:
    """Raise UsageError without the package."""
    if find_spec("ray") is None:
        raise UsageError(
            "--ray needs the package ray", code="usage.ray", hint="pip install 'ray[data]'"
        )


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Join a cluster, or start one, which ends with the block. Raises DeviceError."""
    set_environment(address)
    import ray
    import ray.data

    settings: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        _check_reachable(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    except Exception as error:
        raise connection_error(address, error) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Its errors are raised, too, and it logs the stack of each.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        yield ray
    finally:
        # It prints what its threads have collected, in this one.
        with redirect_stdout(sys.stderr):
            ray.shutdown()


def set_environment(address: str) -> None:
    """Set what Ray reads when it is imported, and the user has not set."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL:
        return
    if _TOKENS & os.environ.keys():
        # Without the mode, Ray ignores the token. With it, it joins no cluster without tokens.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    # By default, Ray tries a wrong token 20 times, and a cluster that has ended for 12 minutes.
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    os.environ.setdefault("RAY_py_gcs_connect_timeout_s", str(int(_CONNECT_SECONDS)))


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing listens at the address: Ray would try for minutes."""
    if match := _ADDRESS.fullmatch(address):
        host, port = match["host"].strip("[]"), int(match["port"])
        socket.create_connection((host, port), _CONNECT_SECONDS).close()


def connection_error(address: str, error: Exception) -> DeviceError:
    """The error of a cluster that can't be joined, by what Ray says of the cause."""
    cause = str(error.__cause__)
    if "InvalidAuthToken" in cause:
        reason, hint = "the authentication token is missing or wrong", f"set {_TOKEN_HINT}"
    elif "Timed out" in cause:
        reason = f"no Ray cluster answers at {first_line(error).rpartition(' ')[2]}"
        hint = f"is it running? ray status, on its first machine; {_LOCAL_HINT}"
    else:
        text = error.strerror if isinstance(error, OSError) else None
        # What follows is about the options of Ray's own programs.
        reason = text or first_line(error).partition(". ")[0]
        hint = f"is the address right? A cluster with token authentication needs {_TOKEN_HINT}"
        hint = f"{hint}; {_LOCAL_HINT}"
    return DeviceError(f"--ray {address}: {reason}", code="ray.unreachable", hint=hint)


def first_line(error: Exception) -> str:
    """The first line of the text of an error, or its kind."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
