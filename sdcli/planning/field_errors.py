"""Name the field in the errors of the files that it names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sdcli.errors import SdcliError


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Make the messages of errors begin with the field."""
    try:
        yield
    except SdcliError as error:
        if error.message.startswith(f"{field}: "):
            raise
        raise type(error)(f"{field}: {error.message}", code=error.code, hint=error.hint) from error
