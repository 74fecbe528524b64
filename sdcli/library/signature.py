"""Read the arguments that Python's functions share, and list them in their signatures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ParamSpec, TypeVar

from sdcli.errors import UsageError
from sdcli.request import REQUEST_FIELDS, SIZE_INFO

_P = ParamSpec("_P")
_R = TypeVar("_R")


def with_settings(*groups: type) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorate a function: its signature lists the settings, for `help` and for completion.

    `groups` are dataclasses of further arguments, which the function `take`s from its settings.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind != p.VAR_KEYWORD]
        names = [*setting_names(), *(f.name for group in groups for f in fields(group))]
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
            for name in dict.fromkeys(names)
            if name not in signature.parameters
        ]
        whole = signature.replace(parameters=[*own, *more])
        function.__signature__ = whole  # type: ignore[attr-defined]  # what `inspect` looks for
        return function

    return decorate


def setting_names() -> list[str]:
    """Return the settings of a request by the names of the command line."""
    names = dict.fromkeys(info.option_name for info in REQUEST_FIELDS.values())
    return list({**names, SIZE_INFO.option_name: None})


def take(settings: dict[str, Any], group: type) -> dict[str, Any]:
    """Remove the fields of a dataclass from the settings, and return those that there are."""
    return {f.name: settings.pop(f.name) for f in fields(group) if f.name in settings}


def parse_batch_size(size: object) -> int | None:
    """Return the size of a batch, None for "auto". Raises UsageError."""
    if size is None or size == "auto":
        return None
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UsageError(
            f"batch_size: {size!r} is not 'auto' or a whole number above 0",
            code="usage.batch_size",
        )
    return size
