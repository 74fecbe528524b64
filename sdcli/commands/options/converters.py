"""Convert option values with the standard library instead of pydantic."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from sdcli.errors import quoted

_DASHES = frozenset("-–—−")
_TYPE_NAMES = {int: "a whole number", float: "a number"}


class PlainCommand(TyperCommand):
    """A command that converts its own values."""

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

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word = args[0]
        if word[:1] != "-" and self.get_command(ctx, word) is None and not ctx.resilient_parsing:
            from sdcli.commands.options.usage_hints import unknown_command_error

            raise unknown_command_error(word, ctx, args)
        return super().resolve_command(ctx, args)

    def get_params(self, ctx: Any) -> Any:
        return _use_plain_converters(super().get_params(ctx))


class _PlainConverter:
    """Convert text to one annotation: str, int, float, bool, a Literal, or a list of them."""

    def __init__(self, annotation: Any) -> None:
        is_list = get_origin(annotation) is list
        self._type = get_args(annotation)[0] if is_list else annotation

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._one(item, param, ctx) for item in value]
        return value if value is None else self._one(value, param, ctx)

    def _one(self, value: Any, param: Any, ctx: Any) -> Any:
        if get_origin(self._type) is Literal:
            choices = get_args(self._type)
            if value in choices:
                return value
            expected = f"one of {', '.join(choices)}"
        else:
            try:
                return self._type(value)
            except ValueError:
                expected = _TYPE_NAMES[self._type]
        raise typer.BadParameter(f"{quoted(value)} is not {expected}", ctx=ctx, param=param)


def _use_plain_converters(params: list[Any]) -> list[Any]:
    # Typer converts with pydantic, whose import takes longer than all else that `--help` or a usage
    # error does, and whose messages speak of "input". This sets a private attribute of typer's; if
    # it stops working, tests/test_startup.py fails, and only time is lost.
    for param in params:
        param._runtime_param = _PlainConverter(param.type_descriptor.annotation)
    return params
