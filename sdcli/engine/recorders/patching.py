"""Replace a method of one object temporarily."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def patch_method(owner: Any, name: str, wrapper: Callable[..., Any]) -> Iterator[None]:
    """Make `owner.name(...)` call `wrapper(original, ...)` in the `with` block.

    Patches of one method can be nested; each is removed by leaving its block.
    """
    original = getattr(owner, name)
    # A method found on the class is not in the instance's own namespace, and must not stay there.
    instance_attribute = vars(owner).get(name)

    # Pipelines inspect the signature of `step` to see whether it takes eta and a generator.
    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if instance_attribute is None:
            delattr(owner, name)
        else:
            setattr(owner, name, instance_attribute)
