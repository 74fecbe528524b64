"""Give a torch module a forward method that a converted copy of its network computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

Outputs = list[torch.Tensor]
Infer = Callable[[Sequence[torch.Tensor]], Outputs]
"""Computes the outputs of the network from its inputs, in their order."""

ReadCall = Callable[..., Sequence[torch.Tensor] | None]
"""Returns the inputs of a call of the module, None for one that the converted network cannot do."""

WriteResult = Callable[[Outputs, bool], Any]
"""Returns what the module returns for outputs; the second argument is its `return_dict`."""


class ConvertedForward:
    """The forward method of a module whose network was converted.

    The module keeps its weights, its hooks and its own method, which computes those calls that the
    converted network cannot.
    """

    def __init__(self, module: Any, read: ReadCall, infer: Infer, write: WriteResult) -> None:
        self._original = module.forward
        self._read = read
        self._infer = infer
        self._write = write

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs of the module."""
        inputs = self._read(*args, **kwargs)
        if inputs is None:
            return self._original(*args, **kwargs)
        return self._write(self._infer(inputs), kwargs.get("return_dict", True))


def is_converted(module: Any) -> bool:
    """Whether the module has a ConvertedForward."""
    return isinstance(vars(module).get("forward"), ConvertedForward)


@contextmanager
def on_torch(module: Any) -> Iterator[None]:
    """Make a module compute with torch in the `with` block, with the hooks inside of it."""
    converted = vars(module).pop("forward") if is_converted(module) else None
    try:
        yield
    finally:
        if converted is not None:
            module.forward = converted
