"""Build typer's options from FieldInfo, and expand groups of options in a command's signature."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, get_type_hints

import typer

from sdcli.field_metadata import FieldInfo, field_infos


def to_option(info: FieldInfo, **more: Any) -> Any:
    """The typer option of a field; `more` are further arguments of `typer.Option`."""
    if info.counted:
        more = {"count": True, "show_default": False, **more}
    words = "|".join(info.choices) or None
    more = {"help": info.help, "metavar": info.metavar or words, **more}
    flag = f"{info.flag}/{info.off_flag}" if info.off_flag else info.flag
    return typer.Option(flag, *info.flags[1:], **more)


def group_option(group: type, name: str, **more: Any) -> Any:
    """The typer option of one field of a group, for a command that takes no more of it."""
    return to_option(field_infos(group)[name], **more)


def expand_groups(command: Callable[..., Any]) -> Callable[..., Any]:
    """Replace each parameter whose annotation is a group by the options of the group.

    A group is a dataclass whose fields have a FieldInfo or an `Annotated` option or are groups
    themselves, or a class with `option_parameters`. The command is called with an instance of it.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        annotation = hints[parameter.name]
        if not _is_group(annotation):
            parameters.append(parameter.replace(annotation=annotation))
            continue
        groups[parameter.name] = annotation
        parameters += group_parameters(annotation)

    @functools.wraps(command)
    def call(**values: Any) -> Any:
        built = {name: _build_group(group, values) for name, group in groups.items()}
        return command(**values, **built)

    # Typer reads both; keyword-only parameters may have defaults in any order.
    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    call.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    return call


def _build_group(group: Any, values: dict[str, Any]) -> Any:
    """Build a group from its options, which are removed from `values`."""
    if hasattr(group, "option_parameters"):
        return group(**{p.name: values.pop(p.name) for p in group.option_parameters()})
    hints = get_type_hints(group)
    return group(
        **{
            field.name: _build_group(hints[field.name], values)
            if _is_group(hints[field.name])
            else values.pop(field.name)
            for field in fields(group)
        }
    )


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and (
        is_dataclass(annotation) or hasattr(annotation, "option_parameters")
    )


def group_parameters(group: Any) -> list[inspect.Parameter]:
    """The parameters of a command that stand for a group's fields."""
    if hasattr(group, "option_parameters"):
        parameters: list[inspect.Parameter] = group.option_parameters()
        return parameters
    hints = get_type_hints(group, include_extras=True)
    infos = field_infos(group)
    found = []
    for field in fields(group):
        hint = hints[field.name]
        if _is_group(hint):
            found += group_parameters(hint)
            continue
        if field.name in infos:
            info = infos[field.name]
            option = to_option(info, min=info.minimum, max=info.maximum)
            hint = Annotated[_typer_type(hint, info), option]
        found.append(option_parameter(field.name, hint, field.default))
    return found


def option_parameter(name: str, annotation: Any, default: Any = MISSING) -> inspect.Parameter:
    """One keyword-only parameter of a command."""
    empty = inspect.Parameter.empty
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=empty if default is MISSING else default,
        annotation=annotation,
    )


def _typer_type(hint: Any, info: FieldInfo) -> Any:
    """The type for typer: a choice of words, or the field's own."""
    return Literal[info.choices] | None if info.choices else hint


def text_parameters(
    infos: Mapping[str, FieldInfo], types: Mapping[str, str], **more: Mapping[str, Any]
) -> list[inspect.Parameter]:
    """Parameters that take the fields as text, for sweeps; switches and choices stay what they are.

    `more` gives single fields further arguments of `typer.Option`.
    """
    found = []
    for name, info in infos.items():
        option = to_option(info, help=_with_default(info), **more.get(name, {}))
        if types.get(name) == "bool":
            # One that is on by default can also be turned on again, over a setting.
            switch: Any = bool | None if info.off_flag else bool
            default = None if info.off_flag else False
            found.append(option_parameter(info.option_name, Annotated[switch, option], default))
            continue
        kind: Any = Literal[info.choices] if info.choices else str
        if info.repeatable:
            kind = list[str]
        found.append(option_parameter(info.option_name, Annotated[kind | None, option], None))
    return found


def _with_default(info: FieldInfo) -> str:
    # As typer would write it: to typer, the default of an option that takes text is None.
    default = info.resolved if info.default is None else info.default
    return (
        info.help
        if isinstance(default, bool) or default in (None, "")
        else f"{info.help}  [default: {default}]"
    )
