"""Rewrite errors in the terms of Python: `steps=8` instead of `--steps 8`."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from sdcli.errors import OutputError, SdcliError, UsageError, UsageErrors
from sdcli.field_metadata import FieldInfo, field_infos, field_types
from sdcli.pipeline_spec import DTYPES
from sdcli.request import FIELD_TYPES, REQUEST_FIELDS, SIZE_INFO
from sdcli.run_flags import RUN_FLAGS

_RUN_INFOS: Final = field_infos(*RUN_FLAGS)
_INFOS: Final[Mapping[str, FieldInfo]] = {
    **_RUN_INFOS,
    **{name: info for name, info in REQUEST_FIELDS.items() if info.flags != SIZE_INFO.flags},
    SIZE_INFO.option_name: SIZE_INFO,
}
_TYPES: Final = {**field_types(*RUN_FLAGS), **FIELD_TYPES, SIZE_INFO.option_name: "str"}
_BY_FLAG: Final = {flag: name for name, info in _INFOS.items() for flag in info.flags} | {
    "--batch-size": "batch_size"
}
_CALLS: Final = {
    "sdcli schedulers list": "sdcli.schedulers()",
    "sdcli batch -h": "sdcli help python",
}
"""Commands that hints name, and what to type in Python instead."""

# A value is a number, a size, a name in quotes or capitals, or a word that options take.
_CHOICES: Final = sorted({word for info in _INFOS.values() for word in info.choices})
_WORDS: Final = "|".join((*DTYPES, "cpu", r"cuda(?::\d+)?", "mps", *_CHOICES))
_VALUE: Final = rf"'[^']*'|[\w.-]+/[\w.-]+|\w+=[\w,]+|\d[\w.]*\w|\d|[A-Z][\w+]*|(?:{_WORDS})\b"
_FLAG: Final = re.compile(rf"(?<![\w-])(--[a-z][a-z-]*|-[a-zA-Z](?=\s))(?:[ =]({_VALUE}))?")
_LABEL: Final = re.compile(r"\b(\w+) \((--[a-z-]+)\)")

_P = ParamSpec("_P")
_R = TypeVar("_R")


def python_errors(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate a function of the library: its errors have Python's terms, and show their hints."""

    @wraps(function)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except SdcliError as error:
            rewrite_error(error, kwargs)
            if isinstance(error, UsageErrors) and len(error.several) == 1:
                raise error.several[0] from None
            if isinstance(error, UsageError | OutputError):
                # The lines of sdcli that found a mistake of the caller are of no use to them.
                raise error.with_traceback(None) from None
            raise

    return wrapper


def rewrite_error(error: SdcliError, written: Container[str] = ()) -> None:
    """Replace options by arguments in an error, in place; its hint becomes a note, too.

    Python prints the notes of an exception below its message. `written` are the names of the
    arguments that the caller used.
    """
    for each in (*(error.several if isinstance(error, UsageErrors) else ()), error):
        each.message = python_terms(each.message, written)
        each.args = (each.message,)
        each.hint = each.hint and python_terms(each.hint, written)
        _add_notes(each)


def _add_notes(error: SdcliError) -> None:
    # An error that loading a model left behind is raised by every later call.
    if hasattr(error, "__notes__"):
        return
    several = error.several if isinstance(error, UsageErrors) else ()
    for each in several if len(several) > 1 else ():
        error.add_note(f"- {each.message}" + (f" ({each.hint})" if each.hint else ""))
    if error.hint:
        error.add_note(f"hint: {error.hint}")


def python_terms(text: str, written: Container[str] = ()) -> str:
    """Replace the options in a sentence by the arguments that Python has for them.

    An argument with two names has the one in `written`, else the option's: steps.
    """

    def label(match: re.Match[str]) -> str:
        # The width and the height of a request share one option.
        is_side = match[2] == SIZE_INFO.flag
        return match[1] if is_side else _argument_name(match[2], written) or match[1]

    for command, call in _CALLS.items():
        text = text.replace(command, call)
    text = _LABEL.sub(label, text)
    return _FLAG.sub(lambda match: _argument(match[0], match[1], match[2], written), text)


def _argument(text: str, flag: str, value: str | None, written: Container[str]) -> str:
    name = _argument_name(flag, written)
    if name is None:
        return text
    if _TYPES.get(_BY_FLAG[flag]) == "bool":
        return f"{name}=True" + (f" {value}" if value else "")
    if value is None:
        return name
    is_literal = value.startswith("'") or re.fullmatch(r"\d+(\.\d+)?", value)
    return f"{name}={value if is_literal else repr(value)}"


def _argument_name(flag: str, written: Container[str]) -> str | None:
    name = _BY_FLAG.get(flag)
    if name is None or name in written or name not in _INFOS:
        return name
    return _INFOS[name].option_name
