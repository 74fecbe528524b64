"""What the words of a command line mean, said with the standard library.

Typer asks pydantic, whose import and set-up are more than all else that `--help` and a usage error
cost, and whose messages are about "input". This reaches into one private attribute of typer;
`tests/test_startup.py` fails when that stops working, and all that is lost then is time.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

_TYPE_NAMES = {int: "a whole number", float: "a number"}


class PlainCommand(TyperCommand):
    """A command that converts its own values."""

    def get_params(self, ctx: Any) -> Any:
        return _use_plain_converters(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """A group of such commands."""

    def get_params(self, ctx: Any) -> Any:
        return _use_plain_converters(super().get_params(ctx))


class _PlainConverter:
    """Words to values of one annotation: str, int, float, bool, a Literal, or a list of them."""

    def __init__(self, annotation: Any) -> None:
        listed = get_origin(annotation) is list
        self._kind = get_args(annotation)[0] if listed else annotation

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._one(item, param, ctx) for item in value]
        return value if value is None else self._one(value, param, ctx)

    def _one(self, value: Any, param: Any, ctx: Any) -> Any:
        if get_origin(self._kind) is Literal:
            choices = get_args(self._kind)
            if value in choices:
                return value
            what = f"one of {', '.join(choices)}"
        else:
            try:
                return self._kind(value)
            except ValueError:
                what = _TYPE_NAMES[self._kind]
        raise typer.BadParameter(f"{value!r} is not {what}", ctx=ctx, param=param)


def _use_plain_converters(params: list[Any]) -> list[Any]:
    for param in params:
        param._runtime_param = _PlainConverter(param.type_descriptor.annotation)
    return params
