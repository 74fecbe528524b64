"""Sort the names that a pickle would import by what they could do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sdcli.checkpoints.pickles.inert_values import Global, Names
from sdcli.checkpoints.pickles.reduce import HARMLESS

_SYSTEM_MODULES: Final = """
os posix nt ntpath posixpath subprocess pty shutil sys socket ssl http urllib urllib2 requests httpx
aiohttp ftplib smtplib webbrowser ctypes _ctypes cffi importlib imp runpy pkgutil zipimport code
codeop pickle _pickle cPickle dill cloudpickle joblib marshal multiprocessing threading _thread
asyncio signal tempfile io _io fileinput inspect gc types operator _operator timeit cProfile profile
pdb bdb trace doctest pip setuptools distutils venv ensurepip idlelib lib2to3 commands popen2
""".split()  # noqa: SIM905
_BUILTIN_MODULES: Final = ("builtins", "__builtin__", "__builtins__")
_PLAIN_BUILTINS: Final = """
set frozenset dict list tuple int float bool str bytes bytearray complex object slice range long
unicode
""".split()  # noqa: SIM905
_LOADERS: Final = ("torch.hub", "torch.jit", "torch.package", "torch.utils.cpp_extension")
# They count in any module, because packages re-export them.
_LOADING_NAMES: Final = frozenset({"load", "_load_from_bytes", "_load", "exec", "eval", "system"})


@dataclass(frozen=True, kw_only=True)
class GlobalsReport:
    """The globals of a pickle: those that tensors need, other classes, and those that run code.

    It is a report, not a permission: `other` may do anything, too, when Python loads the file.
    """

    usual: tuple[str, ...]
    other: tuple[str, ...]
    dangerous: tuple[str, ...]


def sort_globals(names: Names) -> GlobalsReport:
    """Sort the globals that a pickle names."""
    kinds: dict[str, list[str]] = {"usual": [], "other": [], "dangerous": []}
    for entry in names.named:
        kinds[_kind(entry)].append(str(entry)[:200])
    return GlobalsReport(**{kind: tuple(sorted(found)) for kind, found in kinds.items()})


def _kind(entry: Global) -> str:
    if entry in HARMLESS:
        return "usual"
    # Protocol 4 takes a name with points as attributes of attributes: ("a", "b.system").
    top = entry.module.partition(".")[0]
    last = entry.name.rpartition(".")[2]
    # Most builtins reach code sooner or later, so that only plain types are let off.
    if entry.module in _BUILTIN_MODULES:
        return "other" if entry.name in _PLAIN_BUILTINS else "dangerous"
    if top in _SYSTEM_MODULES or "__" in entry.name or last in _LOADING_NAMES:
        return "dangerous"
    if entry.module.startswith(_LOADERS):
        return "dangerous"
    return "other"
