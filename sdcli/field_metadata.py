"""Describe a field once: its flags, help, limits, aliases and its place in sweeps and records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Final

_KEY: Final = "sdcli"
_FIELDS: Final = "__dataclass_fields__"


@dataclass(frozen=True, kw_only=True)
class FieldInfo:
    """How people and files write one field.

    `flags` are its option's names on the command line, the long one first. `minimum` and `maximum`
    bound a number, both included; `choices` are the words it may be. `aliases` are further names in
    prompt files. `sweep` orders the axes of a sweep, the slowest with the lowest number; None means
    that the field takes one value. `a1111` is its key in A1111's parameters text. A field left out
    has the value of `from_model` in the model's defaults, or else `resolved`. A `counted` option is
    repeated: -vv. One that `needs_guidance` has no effect at a guidance scale of 1 or less, and one
    that `needs` other fields has none unless one of them is set. `off_flag` turns a switch off that
    is on by default. The value of an `is_path` field is relative to the file that it is written in.
    One that is `in_files_only` is no option of the command line, and one that is `repeatable` can
    be given several times there, all of it for the same image.
    """

    flags: tuple[str, ...]
    default: object = None
    help: str
    metavar: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    sweep: int | None = None
    a1111: str | None = None
    resolved: object = None
    from_model: str | None = None
    counted: bool = False
    needs_guidance: bool = False
    needs: tuple[str, ...] = ()
    off_flag: str | None = None
    is_path: bool = False
    in_files_only: bool = False
    repeatable: bool = False

    @property
    def flag(self) -> str:
        """The option's long name."""
        return self.flags[0]

    @property
    def option_name(self) -> str:
        """The option's name as Python, prompt files and settings write it: "guidance_rescale"."""
        return self.flag.removeprefix("--").replace("-", "_")


def setting(default: Any = MISSING, *flags: str, **info: Any) -> Any:
    """A dataclass field with a FieldInfo; without a `default` it must be given."""
    return field(default=default, metadata={_KEY: FieldInfo(flags=flags, default=default, **info)})


def field_infos(*classes: type) -> Mapping[str, FieldInfo]:
    """The FieldInfo of every field that has one, by the field's name, in their order."""
    return {
        f.name: f.metadata[_KEY] for cls in classes for f in own_first(cls) if _KEY in f.metadata
    }


def own_first(cls: type) -> list[Field[Any]]:
    """The fields of a dataclass, those that it inherits last."""
    inherited = {name for base in cls.__bases__ for name in getattr(base, _FIELDS, ())}
    return sorted(fields(cls), key=lambda f: f.name in inherited)


def field_types(*classes: type) -> Mapping[str, str]:
    """The type of every field as a word: "str", "int", "float" or "bool", without None."""
    return {f.name: str(f.type).removesuffix(" | None") for cls in classes for f in fields(cls)}


def spelling_key(name: str) -> str:
    """A name without the differences that do not matter: case, spaces and dashes."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())
