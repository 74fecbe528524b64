"""Define `sdcli attention`: show which word of a prompt made which part of the image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from sdcli.commands.attention.options import DrawFlags, MeasureFlags
from sdcli.commands.attention.report import report
from sdcli.commands.attention.sheet_writer import SheetWriter
from sdcli.commands.options import flags
from sdcli.commands.options.config_defaults import setting_source
from sdcli.commands.options.parsing import parse_verbosity
from sdcli.commands.options.request_flags import RequestFlags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.errors import ExitCode, UsageError
from sdcli.inputs.image_suffixes import IMAGE_SUFFIXES
from sdcli.inputs.paths import expand_user
from sdcli.prompts.field_values import flag_values
from sdcli.request import GenerationRequest
from sdcli.run_flags import ExpansionFlags, MessageFlags, OutputFlags

if TYPE_CHECKING:
    from sdcli.terminal.console import Console

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
    wanted, recorded = _read_target(target, context, request, inputs, console)
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


def _read_target(
    target: str,
    context: typer.Context,
    flags_: RequestFlags,
    inputs: str | None,
    console: Console,
) -> tuple[GenerationRequest, str | None]:
    """The request, and the hash of the pixels that an unchanged record promises."""
    path = expand_user(target)
    if path.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(path):
        from sdcli.workflows.replay import read_image

        changes = _typed_changes(context, flags_)
        image = read_image(path, changes, inputs, console.warn)
        return image.request, None if changes else image.document["pixels_sha256"]
    if inputs is not None:
        raise UsageError(
            "--inputs is for an IMAGE, but this is a prompt",
            code="usage.inputs",
            hint="--image names the input image of a prompt",
        )
    template = flags_.template(context, ExpansionFlags())
    for note in template.notes({"prompt": (target,)}):
        console.warn(note)
    requests = list(template.expand({"prompt": (target,)}))
    if len(requests) != 1 or requests[0].count != 1:
        raise _several_images_error()
    return requests[0], None


def _typed_changes(context: typer.Context, flags_: RequestFlags) -> dict[str, object]:
    """The typed options as changes of a record: settings are for new images."""
    from_settings = {p.name for p in context.command.params if setting_source(context, p)}
    typed = {name: value for name, value in flags_.values.items() if name not in from_settings}
    axes = flag_values(typed)
    if any(len(values) != 1 for values in axes.values()) or axes.get("count", (1,))[0] != 1:
        raise _several_images_error()
    return {name: values[0] for name, values in axes.items()}


def _several_images_error() -> UsageError:
    return UsageError(
        "attention measures one image, and these options ask for several",
        code="usage.count",
        hint="leave out --count and lists of values",
    )
