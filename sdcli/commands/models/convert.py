"""Define `sdcli models convert`: turn a pickled checkpoint into safetensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_dtype
from sdcli.inputs.paths import expand_user, output_path
from sdcli.terminal.printing import print_path
from sdcli.terminal.tables import shorten_list

if TYPE_CHECKING:
    from sdcli.workflows.convert_weights import Conversion

Source = Annotated[
    str, typer.Argument(metavar="IN", help="A .ckpt, .pt, .pth, .bin or .safetensors file.")
]
Target = Annotated[str, typer.Argument(metavar="OUT", help="The .safetensors file to write.")]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="Store floating-point tensors as float32, float16 or bfloat16. Default: unchanged.",
    ),
]


def convert(
    source: Source,
    target: Target,
    dtype: Dtype = None,
    force: flags.Force = False,
    quiet: flags.Quiet = False,
    json: flags.Json = False,
) -> None:
    """Convert a pickled checkpoint to safetensors.

    The file is read without running or importing anything in it. Tensors keep their names; whatever
    else the file has is left out and listed. A file that names functions which run code is refused.

    \b
    Examples:
      sdcli models convert sd-v1-4.ckpt sd-v1-4.safetensors
      sdcli models convert model.ckpt model-fp16.safetensors --dtype fp16
      sdcli models convert embedding.pt embedding.safetensors
    """
    from sdcli.workflows.convert_weights import convert_weights

    done = convert_weights(
        expand_user(source), output_path(target), dtype=parse_dtype(dtype), force=force
    )
    if not json and not quiet:
        _warn(done)
    print_path(
        str(done.path),
        json,
        schema="sdcli/converted/1",
        tensors=done.tensors,
        bytes=done.bytes,
        dropped=dict(done.dropped),
        other_globals=list(done.other_globals),
        overflowed=dict(done.overflowed),
    )


def _warn(done: Conversion) -> None:
    """Say what the new file lacks."""
    from sdcli.terminal.console import Console

    if done.dropped:
        names = [f"{name} ({kind})" for name, kind in done.dropped.items()]
        Console().warn(f"left out, not tensors: {shorten_list(names)}")
    if done.overflowed:
        count = sum(done.overflowed.values())
        Console().warn(f"{count} numbers became infinite, in {shorten_list(list(done.overflowed))}")
