"""Define `sdcli attention`: show which word of a prompt made which part of the image."""

from __future__ import annotations

from typing import Annotated

import typer

from sdcli.commands.attention.options import DrawFlags, MeasureFlags
from sdcli.commands.attention.report import report
from sdcli.commands.attention.sheet_writer import SheetWriter
from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_verbosity
from sdcli.commands.options.request_flags import RequestFlags
from sdcli.commands.options.target import read_target
from sdcli.commands.options.typer_options import expand_groups
from sdcli.errors import ExitCode
from sdcli.run_flags import MessageFlags, OutputFlags

Target = Annotated[
    str,
    typer.Argument(
        metavar="PROMPT|IMAGE",
        help="What to generate, or an image that sdcli made, which is generated again.",
    ),
]


@expand_groups
def attention(
    *,
    context: typer.Context,
    target: Target,
    measure: MeasureFlags,
    draw: DrawFlags,
    inputs: flags.Inputs = None,
    output: OutputFlags,
    json: flags.Json = False,
    messages: MessageFlags,
    request: RequestFlags,
) -> ExitCode:
    """Show which word of a prompt made which part of the image.

    Writes a sheet with the map of each word, and prints the share of the attention that
    each word gets. For colours and other describing words, use --causal.

    \b
    Examples:
      sdcli attention "a cat and a guitar on a blue background" --seed 7 -o sheet.png
      sdcli attention "a red circle and a blue star" --causal --words red,blue
      sdcli attention outputs/0001-a-cat-7.png --style spot
      sdcli attention "a cat and a guitar" --animate -o steps.webp
    """
    draw.check(measure)
    options = measure.options(by_step=draw.animate)
    from sdcli.terminal.console import Console
    from sdcli.workflows.measure_attention import MeasuringCallbacks
    from sdcli.workflows.measure_attention import measure as measure_image

    console = Console(verbosity=parse_verbosity(messages.quiet, messages.verbose))
    writer = SheetWriter(draw, output, json=json)
    wanted, recorded = read_target(
        target, context, request, inputs, console, purpose="attention measures"
    )
    with console.progress(1) as bar:
        callbacks = MeasuringCallbacks(on_step=bar.on_step, warn=console.warn)
        measured = measure_image(wanted, options, callbacks)
        for event in measured.result.events:
            console.warn(event)
        paths = writer.write(measured, console)
        bar.advance(1)
    if recorded is not None and recorded != measured.pixels_sha256:
        console.warn(f"{target}: the regenerated image is different (see sdcli replay --check)")
    report(measured, paths, console, json=json, quiet=messages.quiet)
    return ExitCode.OK
