"""Groups of options in a command's signature."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from sdcli.commands.options.converters import PlainCommand
from sdcli.commands.options.request_flags import RequestFlags
from sdcli.commands.options.spec_flags import SpecFlags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.field_metadata import setting
from sdcli.pipeline_spec import PipelineSpec
from sdcli.run_flags import MessageFlags

COMMANDS = Path(__file__).parents[2] / "sdcli" / "commands"
MOST_PARAMETERS = 12


@dataclass(frozen=True, kw_only=True)
class Colors:
    """Two described fields, and one that typer describes."""

    front: str = setting("black", "--front", "-f", metavar="COLOR", help="Of the letters.")
    back: str | None = setting(None, "--back", help="Of the paper.", choices=("white", "grey"))
    width: Annotated[int, typer.Option("--width", help="In pixels.")] = 3


@expand_groups
def paint(*, text: str, colors: Colors, messages: MessageFlags, twice: bool = False) -> Any:
    """Paint a text."""
    return text, colors, messages, twice


def run(*argv: str) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command("paint", cls=PlainCommand)(paint)
    return app(args=list(argv), standalone_mode=False)


def test_a_group_becomes_an_instance_of_its_class() -> None:
    text, colors, messages, twice = run("hello", "-f", "red", "--width", "5", "-vv")
    assert (text, twice) == ("hello", False)
    assert colors == Colors(front="red", back=None, width=5)
    assert messages == MessageFlags(quiet=False, verbose=2)


def test_choices_are_checked() -> None:
    with pytest.raises(typer.BadParameter, match="is not one of white, grey"):
        run("hello", "--back", "blue")


def test_the_signature_lists_the_options_in_the_order_of_the_groups() -> None:
    names = list(inspect.signature(paint).parameters)
    assert names == ["text", "front", "back", "width", "quiet", "verbose", "twice"]
    assert paint.__doc__ == "Paint a text."


def test_the_options_of_a_request_are_its_fields_with_one_size() -> None:
    names = [parameter.name for parameter in RequestFlags.option_parameters()]
    assert len(names) == len(set(names))
    assert {"model", "steps", "guidance", "negative", "size", "seed", "offline"} <= set(names)
    assert not {"width", "height", "prompt", "num_inference_steps"} & set(names)


def test_the_options_of_a_spec_build_it() -> None:
    values = {p.name: p.default for p in SpecFlags.option_parameters()}
    assert SpecFlags(**values).spec() == PipelineSpec()
    assert SpecFlags(**{**values, "dtype": "fp16"}).spec().dtype == "float16"
    assert SpecFlags(**{**values, "dtype": "auto"}).spec().dtype is None


def test_no_command_lists_more_than_a_dozen_parameters() -> None:
    counts = {
        f"{path.stem}.{node.name}": len(node.args.args) + len(node.args.kwonlyargs)
        for path in COMMANDS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: n for name, n in counts.items() if n > MOST_PARAMETERS} == {}
