"""Notice the first effect of a command: from then on, it cannot be run again instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sdcli.inputs.paths import cache_folder, hub_cache

_PUBLISHING = frozenset({"os.rename", "os.link", "os.symlink"})


class EffectWatcher:
    """Calls a function at the first effect after each `watch`."""

    def __init__(self) -> None:
        self._on_effect: Callable[[], None] | None = None
        # There is no way to remove an audit hook: one, for all calls of the process.
        sys.addaudithook(self._on_event)

    def watch(self, arguments: Sequence[str], on_effect: Callable[[], None]) -> None:
        """Begin with a command; one that reads stdin takes it from whoever is next."""
        self._on_effect = on_effect
        if "-" in arguments or "/dev/stdin" in arguments:
            self.notice()

    def stop(self) -> None:
        """Notice nothing until the next call."""
        self._on_effect = None

    def notice(self) -> None:
        """Tell of an effect, once."""
        if on_effect := self._on_effect:
            self._on_effect = None
            on_effect()

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        # Files are renamed when they are complete. A journal is appended to, but then the same
        # command goes on where it ended.
        if event in _PUBLISHING and self._on_effect and not _is_for_a_cache(arguments[1]):
            self.notice()


def _is_for_a_cache(target: Any) -> bool:
    """Whether a path is one that every run may write again."""
    if not isinstance(target, str | bytes | os.PathLike):
        return False
    path = Path(os.path.abspath(os.fsdecode(target)))
    folders = (os.path.abspath(folder) for folder in (cache_folder(), hub_cache()))
    return "__pycache__" in path.parts or any(path.is_relative_to(folder) for folder in folders)
