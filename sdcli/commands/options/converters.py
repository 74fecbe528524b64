"""Convert option values with the standard library instead of pydantic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from sdcli.errors import quoted

_DASHES = frozenset("-–—−")
_TYPE_NAMES = {int: "a whole number", float: "a number"}


def _print_help(ctx: Any, param: Any, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from sdcli.terminal.output import print_text

        print_text(ctx.get_help())
        ctx.exit()


class PlainCommand(TyperCommand):
    """A command that converts its own values, and prints its help as everything else is printed."""

    def get_help(self, ctx: Any) -> str:
        return _fit_to_terminal(super().get_help(ctx))

    def get_help_option(self, ctx: Any) -> Any:
        return _use_own_help(super().get_help_option(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # Cheap, so that the module of the hints is imported for a suspicious word only.
        if any(word[:1] in _DASHES and word[1:2] != "-" and len(word) > 3 for word in args):
            from sdcli.commands.options.usage_hints import check_dashes

            check_dashes(self, args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> Any:
        return _use_plain_converters(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """A group of such commands."""

    def get_help(self, ctx: Any) -> str:
        return _fit_to_terminal(super().get_help(ctx))

    def get_help_option(self, ctx: Any) -> Any:
        return _use_own_help(super().get_help_option(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word = args[0]
        if word[:1] != "-" and self.get_command(ctx, word) is None and not ctx.resilient_parsing:
            from sdcli.commands.options.usage_hints import unknown_command_error

            raise unknown_command_error(word, ctx, args)
        return super().resolve_command(ctx, args)

    def get_params(self, ctx: Any) -> Any:
        return _use_plain_converters(super().get_params(ctx))


def _fit_to_terminal(text: str) -> str:
    from sdcli.terminal.markdown_text import fit_help
    from sdcli.terminal.tables import terminal_width

    return fit_help(text, terminal_width())


def _use_own_help(option: Any) -> Any:
    if option is not None:
        option.callback = _print_help
    return option


class _PlainConverter:
    """Convert text to one annotation: a simple type, a path, a choice, or a list of them."""

    def __init__(self, annotation: Any) -> None:
        is_list = get_origin(annotation) is list
        self._type = get_args(annotation)[0] if is_list else annotation
        self._choices = _choices(self._type)

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._one(item, param, ctx) for item in value]
        return value if value is None else self._one(value, param, ctx)

    def _one(self, value: Any, param: Any, ctx: Any) -> Any:
        if self._choices:
            if value in self._choices:
                return self._choices[value]
            expected = f"one of {', '.join(self._choices)}"
        else:
            try:
                number = self._type(value)
            except ValueError:
                expected = _TYPE_NAMES.get(self._type, "a valid value")
            else:
                excess = _limit_excess(number, param)
                if excess is None:
                    return number
                expected = excess
        raise typer.BadParameter(f"{quoted(value)} is not {expected}", ctx=ctx, param=param)


def _choices(annotation: Any) -> Mapping[str, Any]:
    """The words that an annotation allows, with their values; empty for one that is no choice."""
    if get_origin(annotation) is Literal:
        return {word: word for word in get_args(annotation)}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {str(member.value): member for member in annotation}
    return {}


def _limit_excess(value: Any, param: Any) -> str | None:
    """What a number must be that is beyond the limits of its option, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    low, high = getattr(param, "min", None), getattr(param, "max", None)
    if low is not None and value < low:
        return f"{low} or more"
    if high is not None and value > high:
        return f"{high} or less"
    return None


def _use_plain_converters(params: list[Any]) -> list[Any]:
    # Typer converts with pydantic, whose import takes longer than all else that `--help` or a usage
    # error does, and whose messages speak of "input". This sets a private attribute of typer's; if
    # it stops working, tests/test_startup.py fails, and only time is lost.
    for param in params:
        param._runtime_param = _PlainConverter(param.type_descriptor.annotation)
    return params
