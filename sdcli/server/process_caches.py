"""Forget between calls what a process keeps in memory about files, which may change."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from typing import Any

_PACKAGE = "sdcli."
# Folders that are deleted at the end of the process, not before.
_KEPT = frozenset({"_temporary_folder"})


def clear_caches() -> None:
    """Clear the caches of sdcli's functions that have arguments.

    Those of `cache_by_files` stay: it compares the files itself, and its results depend on nothing
    else.
    """
    for function in set(_cached_functions()):
        function.cache_clear()


def _cached_functions() -> Iterator[Any]:
    for name, module in list(sys.modules.items()):
        if not name.startswith(_PACKAGE):
            continue
        for value in list(vars(module).values()):
            if isinstance(value, functools._lru_cache_wrapper) and _depends_on_arguments(value):
                yield value


def _depends_on_arguments(function: Any) -> bool:
    wrapped = inspect.unwrap(function)
    return wrapped.__name__ not in _KEPT and wrapped.__code__.co_argcount > 0
