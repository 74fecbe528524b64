"""Observe a run through hooks in its UNets, which are removed at its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Self

import torch
from numpy.typing import NDArray


class HookedRecorder(ABC):
    """A recorder that sees what happens inside of the UNets, and records no latents."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    @abstractmethod
    def hooks(self) -> Iterator[AbstractContextManager[Any]]:
        """Return the hooks of the run, which are entered with the recorder."""

    def __enter__(self) -> Self:
        # The UNets are cached: if one hook fails, none may stay.
        with ExitStack() as entered:
            for hook in self.hooks():
                entered.enter_context(hook)
            self._stack = entered.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def on_step(self, step: int, latents: torch.Tensor) -> None:  # noqa: B027
        """Do nothing: the hooks have seen the step."""

    def results(self, image: int) -> dict[str, NDArray[Any]]:
        """Return nothing: what was recorded is no latents."""
        return {}
