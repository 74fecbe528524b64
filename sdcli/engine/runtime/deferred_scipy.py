"""Keep the slow parts of SciPy out of the imports of Diffusers and Transformers.

Both import them wherever SciPy is installed. Only LMS, Beta sigmas and object detectors ever call
them, and then they are imported.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_SLOW_MODULES = ("scipy.integrate", "scipy.optimize", "scipy.stats")


class _Placeholder(ModuleType):
    """A module whose members import the real module when they are used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # `importlib.util.find_spec` fails for a module without one.
        self.__spec__ = ModuleSpec(name, loader=None)

    def __getattr__(self, name: str) -> _Member:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Member(self, name)

    def load(self) -> ModuleType:
        """Import the real module."""
        _remove_placeholders()  # all of them, as the real modules import each other
        return importlib.import_module(self.__name__)


class _Member:
    """A function or object of a placeholder's module."""

    def __init__(self, module: _Placeholder, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(self._module.load(), self._name)(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self._module.load(), self._name), name)


@contextmanager
def scipy_deferred() -> Iterator[None]:
    """Let imports of the slow modules find placeholders, which are gone afterwards.

    `scipy.stats` is then imported as soon as that attribute of `scipy` is used. Nothing is done in
    a process with threads of others, which could import a placeholder for their own use.
    """
    names = [] if _has_threads_of_others() else _SLOW_MODULES
    placeholders = {name: _Placeholder(name) for name in names if name not in sys.modules}
    sys.modules.update(placeholders)
    try:
        yield
    finally:
        if placeholders:
            _remove_placeholders()


def _remove_placeholders() -> None:
    for name in _SLOW_MODULES:
        if isinstance(sys.modules.get(name), _Placeholder):
            del sys.modules[name]


def _has_threads_of_others() -> bool:
    return any(
        thread is not threading.main_thread() and not thread.name.startswith("sdcli-")
        for thread in threading.enumerate()
    )
