"""A method of one object, replaced for a while: how recorders and replays get between."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def patch_method(owner: Any, name: str, around: Callable[..., Any]) -> Iterator[None]:
    """Within, `owner.name(...)` calls `around(original, ...)`; after it all is as before.

    The signature stays: pipelines look there whether a scheduler takes eta and a generator.
    """
    original = getattr(owner, name)
    before = vars(owner).get(name)

    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
