"""Tell whether the files of a model are still the ones that were read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sdcli.inputs.paths import hub_cache

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_SUFFIXES = (".json", ".txt", ".safetensors")

FilesState = tuple[str | int, ...]
"""An absolute path, then the name, size, modification time and inode of each file."""


def files_state(path: Path) -> FilesState:
    """Return what changes when the file or the model folder at a path does, and when `path` moves.

    The same relative path is another one after the working directory has changed.
    """
    return (os.path.abspath(path), *_find_states(path, depth=1))


def cache_by_files(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Keep the results of a function of paths for as long as the files there stay the same.

    Arguments are positional: only those are parts of the key.
    """

    @lru_cache(maxsize=64)
    def cached(_: tuple[FilesState, ...], args: tuple[Any, ...]) -> _Result:
        return function(*args)  # type: ignore[call-arg]

    @wraps(function)
    def call(*args: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        if named:
            raise TypeError(f"{function.__name__} takes positional arguments only")
        states = tuple(files_state(value) for value in args if isinstance(value, Path))
        return cached(states, args)

    return call


def fetch_once(function: Callable[_Arguments, Path]) -> Callable[_Arguments, Path]:
    """Keep the paths that a function fetches for its arguments, for as long as they exist.

    Thousands of prompts may name what is on a hub.
    """

    @lru_cache(maxsize=64)
    def cached(_: Path, args: tuple[Any, ...]) -> Path:
        return function(*args)  # type: ignore[call-arg]

    @wraps(function)
    def call(*args: _Arguments.args, **named: _Arguments.kwargs) -> Path:
        if named:
            raise TypeError(f"{function.__name__} takes positional arguments only")
        path = cached(hub_cache(), args)
        if not path.exists():
            cached.cache_clear()
            path = cached(hub_cache(), args)
        return path

    return call


def _find_states(path: Path, depth: int) -> Iterator[str | int]:
    try:
        if not path.is_dir():
            stat = path.stat()
            yield from (path.name, stat.st_size, stat.st_mtime_ns, stat.st_ino)
            return
        children = sorted(path.iterdir())
    except OSError:
        return
    for child in children:
        if child.suffix in _SUFFIXES or (depth and child.is_dir()):
            yield from _find_states(child, depth - 1)
