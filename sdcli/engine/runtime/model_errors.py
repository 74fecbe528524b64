"""Recognise errors that a model itself causes when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final

from sdcli.engine.runtime import memory
from sdcli.errors import CorruptError, SdcliError

_COMPONENTS: Final = {
    "diffusers.models.unets": "unet",
    "diffusers.models.autoencoders": "vae",
    "transformers.models": "text_encoder",
    "transformers.tokenization": "tokenizer",
}
"""Package -> component whose code is in it."""


@contextmanager
def model_errors_as_corrupt_errors(folder: object) -> Iterator[None]:
    """Translate what a component of the model in `folder` raises while it runs.

    A configuration can fit the weights and still describe no network that runs: the layers of
    another padding have the same shapes. Other errors are passed on.
    """
    try:
        yield
    except SdcliError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        component = _component_of(error.__traceback__)
        is_memory = isinstance(error, RuntimeError) and memory.is_out_of_memory(error)
        if component is None or is_memory:
            raise
        raise CorruptError(
            f"{component}: {folder}: cannot run with its configuration: {first_line(error)}",
            code="model.corrupt",
            hint="download the model again",
        ) from error


def is_panic(error: BaseException) -> bool:
    """Whether a library in Rust ended in a panic, which is no Exception in Python."""
    # Each of these libraries has a class of its own, of one name, in a module that has no file.
    return type(error).__name__ == "PanicException"


def first_line(error: BaseException) -> str:
    """Return the first line of the message, with the key of a KeyError, or the error's class."""
    line = (str(error).splitlines() or [""])[0]
    if isinstance(error, KeyError):
        return f"it names {line}, which the library does not have"
    return line or type(error).__name__


def _component_of(traceback: TracebackType | None) -> str | None:
    """Return the first component in whose code the error was raised, None if it was elsewhere."""
    while traceback:
        module = str(traceback.tb_frame.f_globals.get("__name__"))
        for package, component in _COMPONENTS.items():
            if module.startswith(package):
                return component
        traceback = traceback.tb_next
    return None
