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
    except Exception as error:
        component = _component_of(error.__traceback__)
        is_memory = isinstance(error, RuntimeError) and memory.is_out_of_memory(error)
        if component is None or is_memory:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptError(
            f"{component}: {folder}: cannot run with its configuration: {reason}",
            code="model.corrupt",
            hint="download the model again",
        ) from error


def _component_of(traceback: TracebackType | None) -> str | None:
    """Return the first component in whose code the error was raised, None if it was elsewhere."""
    while traceback:
        module = str(traceback.tb_frame.f_globals.get("__name__"))
        for package, component in _COMPONENTS.items():
            if module.startswith(package):
                return component
        traceback = traceback.tb_next
    return None
