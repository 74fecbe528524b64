"""Compile the blocks of UNets that occur many times, for the runs that ask for it."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sdcli.engine.runtime.diffusers_internals import (
    compiled_call,
    is_compiler_error,
    set_compiled_call,
)
from sdcli.engine.runtime.model_errors import first_line
from sdcli.errors import DeviceError

_COMPILERS: Final = ("c++", "g++", "clang++")

_KEPT: Final = "sdcli_compiled_call"


@contextmanager
def compiled(unets: Sequence[Any], backend: str = "inductor") -> Iterator[None]:
    """Let the UNets run compiled in the `with` block.

    Their repeated blocks are compiled, as `compile_repeated_blocks` of Diffusers does, or all of a
    UNet that has none. Hooks in the blocks are not called. Raises DeviceError without a compiler.
    """
    if not has_compiler():
        raise _compiler_error("no C++ compiler was found, which torch.compile needs")
    for unet in unets:
        _turn_on(unet, backend)
    try:
        with warnings.catch_warnings():
            # The compiler warns of what it does itself.
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        if not is_compiler_error(error):
            raise
        raise _compiler_error(f"torch.compile failed: {first_line(error)}") from error
    finally:
        for unet in unets:
            for module in unet.modules():
                set_compiled_call(module, None)


def has_compiler() -> bool:
    """Return whether there is a C++ compiler."""
    named = os.environ.get("CXX")
    return any(shutil.which(name) for name in ([named] if named else _COMPILERS))


def _turn_on(unet: Any, backend: str) -> None:
    kept = [module for module in unet.modules() if _KEPT in vars(module)]
    for module in kept:
        set_compiled_call(module, vars(module)[_KEPT])
    if kept:
        return
    try:
        unet.compile_repeated_blocks(backend=backend)
    except ValueError:
        unet.compile(backend=backend)
    for module in unet.modules():
        # Compiling takes up to a minute, so that it is kept for the next run.
        if call := compiled_call(module):
            vars(module)[_KEPT] = call


def _compiler_error(problem: str) -> DeviceError:
    return DeviceError(
        f"--compile: {problem}",
        code="device.compiler",
        hint="install g++ or clang, or name one in the variable CXX; or leave --compile out",
    )
